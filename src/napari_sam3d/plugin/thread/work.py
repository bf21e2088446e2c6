"""Long work, done bit by bit in the thread whenever no dock waits for an answer."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Generator
from typing import Any

from napari_sam3d.plugin.thread.jobs import sentence
from napari_sam3d.plugin.thread.loading import Apart


class Elsewhere:
    """What a work yields to have a call made in a thread of its own, such as a download.

    Nothing waits for it but the work, to which `yield` then returns what the call returned.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call


Steps = Generator[Elsewhere | None, Any, None]
"""The bits of a work."""


class Work:
    """A generator, of which each item is one turn at the thread; it knows nothing of Qt.

    Parameters
    ----------
    name
        What it is, in sentences about it: a noun, such as "training".
    steps
        Does a bit before each item. It is closed when it is told to stop.
    ended
        Called in the thread when it is over and all that it held is let go, with a sentence about
        what went wrong, or with an empty one.
    """

    def __init__(self, name: str, steps: Steps, ended: Callable[[str], None]) -> None:
        self.name = name
        self.stopped = False
        self.over = threading.Event()
        self._steps: Steps | None = steps
        self._ended = ended
        self._apart: Apart[Any] | None = None

    @property
    def can_go_on(self) -> bool:
        """Whether there is something to do now."""
        return self.stopped or self._apart is None or self._apart.over

    def advance(self, wake: Callable[[], None]) -> bool:
        """Do the next bit; whether there is more.

        Parameters
        ----------
        wake
            Called in any thread when something has come that the work waits for.
        """
        failure = ""
        try:
            item = self._next()
        except StopIteration:
            pass
        except Exception as error:
            failure = sentence(error, self.name)
            _forget(error)
        else:
            self._apart = None if item is None else Apart(item.call, wake)
            return True
        self._steps = self._apart = None
        _give_back()
        self.over.set()
        self._ended(failure)
        return False

    def _next(self) -> Elsewhere | None:
        assert self._steps is not None
        if self.stopped:
            self._steps.close()
            raise StopIteration
        if self._apart is None:
            return next(self._steps)
        try:
            result = self._apart.result()
        except Exception as error:
            return self._steps.throw(error)
        return self._steps.send(result)


def _forget(error: BaseException | None) -> None:
    """Drop what was at hand where it happened: whoever keeps the log keeps the error, too."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _give_back() -> None:
    """Free the graphics memory of what is no more: torch keeps it for itself."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
