"""Events of a training, no more of them than an eye can follow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam3d.engine.training.events import Looking, Step

if TYPE_CHECKING:
    from napari_sam3d.engine.training.events import Event

EVERY_S = 0.1
"""Between two steps, or two tidings of a look, that are told."""


class Thinned:
    """Passes events on in their order; steps that come too fast are told together.

    Of a look the newest tidings are told; of steps the newest, with the mean of the losses and
    seconds of all since the one before. Everything else is told at once.

    Parameters
    ----------
    tell
        Told what is left.
    clock
        Seconds, by which it is judged what is too fast.
    """

    def __init__(
        self, tell: Callable[[Event], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._tell, self._clock = tell, clock
        self._steps: list[Step] = []
        self._look: Looking | None = None
        self._last = float("-inf")

    def __call__(self, event: Event) -> None:
        """Tell this, now or together with the next ones."""
        if isinstance(event, Looking) and event.found is not None:  # whose mask is wanted
            self._look = None
            self.flush()
            self._tell(event)
            return
        if not isinstance(event, Looking if self._look else Step):
            self.flush()
        if isinstance(event, Step):
            self._steps.append(event)
        elif isinstance(event, Looking):
            self._look = event
        else:
            self._tell(event)
            return
        if self._clock() - self._last >= EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Tell what was held back."""
        steps, look = self._steps, self._look
        self._steps, self._look = [], None
        if look is not None:
            self._tell(look)
        elif steps:
            loss = sum(it.loss for it in steps) / len(steps)
            seconds = sum(it.seconds for it in steps) / len(steps)
            self._tell(replace(steps[-1], loss=loss, seconds=seconds))
        else:
            return
        self._last = self._clock()
