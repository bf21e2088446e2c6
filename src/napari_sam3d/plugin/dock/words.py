"""How the dock speaks: in its status line, in napari's status bar, and in notifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.dock.parts import StatusLine


class Words:
    """Says what was done, and what was not.

    Parameters
    ----------
    line
        The status line of the dock.
    viewer
        Its status bar says the same.
    """

    def __init__(self, line: StatusLine, viewer: ViewerModel) -> None:
        self._line, self._viewer = line, viewer

    def say(self, sentence: str) -> None:
        """What was done, or is being done; nothing when that is empty."""
        if sentence:
            self._line.set_sentence(sentence)
            self._viewer.status = sentence

    def refuse(self, sentence: str) -> None:
        """Why something was not done, so that it is not missed."""
        self._line.set_sentence(sentence)
        show_error(sentence)

    def guarded(self, action: Callable[..., Any]) -> Callable[..., None]:
        """An action that refuses what it raises an error about."""

        def run(*args: Any) -> None:
            try:
                action(*args)
            except (ValueError, OSError) as error:
                self.refuse(str(error))

        return run
