"""Runs the steps of long work in a thread while the window stays alive."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any, Generic, TypeVar

import napari
from qtpy.compat import isalive
from qtpy.QtCore import QEventLoop, Qt, QThread, QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QProgressDialog, QWidget

T = TypeVar("T")

_AT_ONCE_S = 0.05
"""What is over after this long needs no event loop of its own."""
_SHOW_AFTER_S = 0.5
_POLL_MS = 20
_OURS = 1
"""What a loop returns when it was not the application that ended it."""


class Cancelled(Exception):
    """The work was given up: by the user, or because its window was closed."""


def run(steps: Generator[float, None, T], title: str) -> T:
    """What the steps return, or the exception that they raise.

    On the thread of a window they run in one of their own, with a progress dialog once they take
    longer than a moment; elsewhere they simply run. The thread has ended when this returns.

    Parameters
    ----------
    steps
        Yields the share that is done, 0 to 1. It is closed when the work is cancelled.
    title
        What the dialog says, such as "Reading scan.nii.gz".

    Raises
    ------
    Cancelled
        When the user, or the end of the window, stopped it.
    """
    work = _Work(steps)
    app = QApplication.instance()
    if not isinstance(app, QApplication) or QThread.currentThread() != app.thread():
        work.run()
        return work.result()
    thread = threading.Thread(target=work.run, name=title, daemon=True)
    thread.start()
    try:
        if not work.over.wait(_AT_ONCE_S):
            _wait(work, title)
    finally:
        work.cancelled.set()
        thread.join()
    return work.result()


class _Work(Generic[T]):
    """Steps on their way; shared by two threads, and known to Qt in neither."""

    def __init__(self, steps: Generator[float, None, T]) -> None:
        self.done = 0.0
        self.cancelled = threading.Event()
        self.over = threading.Event()
        self._steps = steps
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.cancelled.is_set():
                self.done = next(self._steps)
            self._steps.close()
            self._error = Cancelled()
        except StopIteration as end:
            self._result = end.value
        except BaseException as error:
            self._error = error  # for the caller, whatever it is
        finally:
            self.over.set()

    def result(self) -> T:
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None  # its traceback would keep this object, and so the voxels, alive


def _wait(work: _Work, title: str) -> None:
    """Serve the window until the work is over, or is no longer wanted."""
    parent = main_window()
    loop = QEventLoop()
    poll = QTimer(interval=_POLL_MS)
    dialog = _dialog(title, parent)

    def look() -> None:
        # a window that is closed takes its dialog along
        closed = parent is not None and not (isalive(parent) and parent.isVisible())
        if closed or dialog.wasCanceled():
            work.cancelled.set()
        else:
            dialog.setValue(round(1000 * work.done))
        if work.over.is_set():
            loop.exit(_OURS)

    poll.timeout.connect(look)
    poll.start()
    try:
        # no click or key reaches the window before the dialog stands in front of it
        QTimer.singleShot(round(1000 * (_SHOW_AFTER_S - _AT_ONCE_S)), lambda: loop.exit(_OURS))
        if loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents) != _OURS:
            return  # the application ends
        if not work.over.is_set() and not work.cancelled.is_set():
            dialog.show()
        if not work.over.is_set():
            loop.exec()
    finally:
        poll.stop()
        if isalive(dialog):
            dialog.hide()
            dialog.deleteLater()


def _dialog(title: str, parent: QWidget | None) -> QProgressDialog:
    dialog = QProgressDialog(f"{title} ...", "Cancel", 0, 1000, parent)
    dialog.setWindowTitle("SAM 3D")
    dialog.setWindowModality(Qt.WindowModality.WindowModal)
    dialog.setMinimumWidth(360)
    dialog.setMinimumDuration(2**31 - 1)  # when it is shown is decided here
    dialog.setAutoClose(False)
    dialog.setAutoReset(False)
    # while napari starts no other window is shown, and Qt ends with the last one that closes
    dialog.setAttribute(Qt.WidgetAttribute.WA_QuitOnClose, False)
    return dialog


def main_window() -> QWidget | None:
    """napari's window, when it is on the screen; of several the active one, else the newest."""
    windows = [w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow)]
    shown = [w for w in windows if w.isVisible()]
    viewer = napari.current_viewer()
    title = None if viewer is None else viewer.title
    shown.sort(key=lambda w: (w.isActiveWindow(), w.windowTitle() == title))
    return shown[-1] if shown else None
