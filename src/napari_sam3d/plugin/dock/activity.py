"""What the dock is doing, as a bar in napari's activity dock."""

from __future__ import annotations

import time

from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, QTimer, Signal

_SHOW_AFTER_S = 0.3
"""What is over sooner shows no bar."""
_LOOK_MS = 100
_STEPS = 100


class Activity(QObject):
    """A bar with a Cancel button while something takes longer than a moment.

    napari handles events whenever a bar changes, so bars are touched by a timer of our own only,
    and whatever comes meanwhile is looked at in the next turn.
    """

    cancelled = Signal()
    """The user pressed the Cancel button of the bar."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._what = ""
        self._share: float | None = None
        self._since = 0.0
        self._bar: cancelable_progress | None = None
        self._looking = False
        self._timer = QTimer(self, interval=_LOOK_MS)
        self._timer.timeout.connect(self._look)

    @property
    def is_on(self) -> bool:
        """Whether something is being done."""
        return bool(self._what)

    def show(self, what: str, share: float | None = None) -> None:
        """Say what is being done, and the share that is done, 0 to 1; None when nobody knows."""
        if not self._what:
            self._since = time.perf_counter()
            self._timer.start()
        self._what, self._share = what, share

    def set_share(self, share: float) -> None:
        """Say how much of it is done."""
        self._share = share

    def end(self) -> None:
        """It is over, however it ended."""
        self._what = ""
        self._timer.stop()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _look(self) -> None:
        if self._looking or time.perf_counter() - self._since < _SHOW_AFTER_S:
            return
        self._looking = True
        try:
            if self._bar is None:
                self._open()
            elif self._bar.is_canceled:
                self.end()
                self.cancelled.emit()
            else:
                self._update(self._bar)
        finally:
            self._looking = False

    def _open(self) -> None:
        bar = cancelable_progress(desc=self._what, total=0 if self._share is None else _STEPS)
        if self._what and self._bar is None:
            self._bar = bar
        else:  # it was over before the bar was there
            bar.close()

    def _update(self, bar: cancelable_progress) -> None:
        what, share = self._what, self._share
        total, done = (0, 0) if share is None else (_STEPS, round(_STEPS * share))
        if bar.desc != f"{what}: ":
            bar.set_description(what)
        if bar.total != total and self._bar is not None:
            bar.total = total
        if bar.n != done and self._bar is not None:
            bar.update(done - bar.n)
