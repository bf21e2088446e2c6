"""Sees to it that no training is lost with its dock, its window or the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from weakref import ref

from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QEventLoop, QObject, Qt, Signal
from qtpy.QtWidgets import QMainWindow, QMessageBox, QProgressDialog, QWidget

from napari_sam3d.engine.training.events import Failed, Finished
from napari_sam3d.plugin.files.questions import can_ask
from napari_sam3d.plugin.thread.trainer import Trainer

if TYPE_CHECKING:
    from napari_sam3d.engine.training.events import Event
    from napari_sam3d.plugin.thread.loading import Load
    from napari_sam3d.plugin.thread.tuning_work import LoadBase

W = TypeVar("W", bound=QWidget)
_LEFT: list[Guard] = []
"""Those whose dock was closed while they trained; the next Train dock shows the training."""


class Guard(QObject):
    """Keeps a trainer while its dock comes and goes, and asks before its window closes.

    A training goes on when its dock is closed, since napari does not ask before it takes a dock
    away; the next Train dock shows it again. Without a training the dock takes all along.

    Parameters
    ----------
    trainer
        Whose training is not to be lost.
    """

    closed = Signal()
    """The dock was closed."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.trainer = trainer
        # it outlives both
        self._dock: ref[QWidget] | None = None
        self._window: ref[QMainWindow] | None = None
        self._asking = False
        trainer.event.connect(self._on_event)

    @classmethod
    def take(cls, load: LoadBase | None = None, shares: Load | None = None) -> Guard:
        """That of a training whose dock was closed, else one with a new trainer."""
        return _LEFT.pop() if _LEFT else cls(Trainer(load, shares))

    def attend(self, dock: QWidget) -> None:
        """Watch over a dock, and over the window that it comes to be in."""
        self._dock = ref(dock)
        dock.installEventFilter(self)
        # a closed viewer destroys its docks without another word
        dock.destroyed.connect(self.trainer.stop)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Seen by Qt before the dock and the window see it."""
        kind = event.type() if event is not None else None
        if kind == QEvent.Type.Close:
            window = _there(self._window)
            if event is not None and window is watched and window is not None:
                if not self._may_close(window):
                    event.ignore()
                    return True
        elif kind in (QEvent.Type.Show, QEvent.Type.ParentChange):
            dock = _there(self._dock)
            if dock is watched and dock is not None:
                if kind == QEvent.Type.Show:
                    self._watch(dock)
                elif dock.parent() is None:
                    self._leave(dock)
        return False

    def _watch(self, dock: QWidget) -> None:
        """Watch the main window that it is in, in place of another one."""
        window: QWidget | None = dock
        while window is not None and not (isinstance(window, QMainWindow) and window.isWindow()):
            window = window.parentWidget()  # a dock that floats is a window of its own
        before = _there(self._window)
        if window is None or window is before:
            return
        if before is not None:
            before.removeEventFilter(self)
        self._window = ref(window)
        window.installEventFilter(self)

    def _leave(self, dock: QWidget) -> None:
        """The dock is gone."""
        if self._window is None:
            return  # it has never been there
        self._dock = None
        dock.removeEventFilter(self)
        dock.destroyed.disconnect(self.trainer.stop)
        self.closed.emit()
        if not self.trainer.trains:
            self.trainer.stop()
            return
        _LEFT.append(self)
        show_info(
            f"The training {self.trainer.name} goes on without its dock; open the Train dock again "
            "to see or stop it."
        )

    def _on_event(self, event: Event) -> None:
        """Say how a training ended that no dock shows."""
        if self._dock is not None:
            return
        if isinstance(event, Finished):
            show_info(f"{self.trainer.name}: {event.verdict}")
        elif isinstance(event, Failed):
            show_error(f"{self.trainer.name}: {event.sentence}")

    def _may_close(self, window: QMainWindow) -> bool:
        """Whether the window may be closed; asks when a training runs, and saves it."""
        if self._asking:
            return False
        if not self.trainer.trains:
            return True
        if not can_ask():  # such as at the end of a script
            self.trainer.close()
            return True
        self._asking = True
        try:
            # when a program closes the viewer, all but the frame is closed already
            if _is_whole(window) and not self._ask(window):
                return False
            self._save(window)
        finally:
            self._asking = False
        return True

    def _ask(self, window: QMainWindow) -> bool:
        """Whether to stop it and close."""
        step, steps = self.trainer.progress
        box = QMessageBox(window)
        box.setWindowTitle("SAM 3D")
        box.setIcon(QMessageBox.Icon.Question)
        box.setTextFormat(Qt.TextFormat.PlainText)
        at = f", step {step} of {steps}" if steps else ""
        box.setText(f"Training {self.trainer.name} runs{at}. Stop it and save, or go on training?")
        stop = box.addButton("Stop and save", QMessageBox.ButtonRole.AcceptRole)
        go_on = box.addButton("Go on training", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(go_on)
        box.setEscapeButton(go_on)
        box.exec()
        return box.clickedButton() == stop

    def _save(self, window: QMainWindow) -> None:
        """Stop, and serve the window until all is saved: a step can take long."""
        loop = QEventLoop()
        dialog = QProgressDialog(
            f"Stopping {self.trainer.name} after this step, and saving ...",
            "Close without waiting",
            0,
            0,
            window,
        )
        dialog.setWindowTitle("SAM 3D")
        dialog.setWindowModality(Qt.WindowModality.ApplicationModal)
        dialog.setMinimumDuration(0)
        dialog.canceled.connect(loop.quit)

        def look(state: str) -> None:
            if state == "idle":
                loop.quit()

        self.trainer.state_changed.connect(look)
        try:
            self.trainer.stop()
            if self.trainer.trains:
                dialog.show()
                loop.exec()
        finally:
            self.trainer.state_changed.disconnect(look)
            if isalive(dialog):
                dialog.hide()
                dialog.deleteLater()


def _there(widget: ref[W] | None) -> W | None:
    """What is referred to, while Qt has it."""
    found = None if widget is None else widget()
    return found if found is not None and isalive(found) else None


def _is_whole(window: QMainWindow) -> bool:
    """Whether what is in the window can still be used."""
    center = window.centralWidget()
    if center is None:
        return False
    here = Qt.FindChildOption.FindDirectChildrenOnly
    return any(it.isVisible() for it in center.findChildren(QWidget, options=here))
