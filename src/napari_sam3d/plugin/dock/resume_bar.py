"""One sentence and two buttons: whether to go on with work that was left unsaved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam3d.catalog import model_spec
from napari_sam3d.plugin.dock.parts import button, row
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.plugin.unsaved.autosave import Autosave
from napari_sam3d.plugin.unsaved.kept_file import Kept
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3d.plugin.files.exporting import SaveDialog

_LOOK_MS = 500
"""Moving the slice draws masks anew, too: one look is enough for many slices."""


class ResumeBar(QWidget):
    """Hidden unless there is something to resume."""

    resume_requested = Signal()
    discard_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setToolTip("Work on this image that was not saved when napari ended")
        self.resume = button("Resume", "Bring back its objects, points, masks, names and settings")
        self.discard = button("Discard", "Begin anew; this is not offered again")
        self.resume.clicked.connect(self.resume_requested)
        self.discard.clicked.connect(self.discard_requested)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addLayout(row(self.resume, self.discard))
        self.hide()

    def set_offer(self, sentence: str) -> None:
        """Ask this, or nothing when it is empty."""
        self.text.setText(sentence)
        self.setVisible(bool(sentence))


class Keeper(QObject):
    """Has a session saved whenever an operation is over, and resumes it.

    Parameters
    ----------
    session
        Whose work is kept.
    autosave
        Writes and reads it.
    """

    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """A sentence that must not be missed."""
    settings_resumed = Signal(object)
    """The `InferenceSettings` of the work that is resumed, before it is there."""

    def __init__(self, session: Session, autosave: Autosave, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.bar = ResumeBar()
        self.autosave, self._session = autosave, session
        # once control is back at the event loop, whatever was under way is whole
        self._now = QTimer(self, singleShot=True, interval=0)
        self._now.timeout.connect(autosave.save)
        self._look = QTimer(self, singleShot=True, interval=_LOOK_MS)
        self._look.timeout.connect(autosave.look_again)
        session.changed.connect(self.touch)
        session.prompts_changed.connect(self.touch)
        session.leaving.connect(autosave.save)
        autosave.painted.connect(self.touch)
        autosave.redrawn.connect(self._on_redrawn)
        autosave.image_changed.connect(self._on_image)
        autosave.failed.connect(self._on_failed)
        self.bar.resume_requested.connect(self._on_resume)
        self.bar.discard_requested.connect(self._on_discard)

    def touch(self, *_: object) -> None:
        """Something may have changed."""
        self._now.start()

    def watch(self, *signals: Any) -> None:
        """Signals after which there may be something to save."""
        for signal in signals:
            signal.connect(self.touch)

    def watch_saving(self, dialog: SaveDialog | None) -> None:
        """Masks that the user saves are not offered any more, until they change."""
        if dialog is not None:
            dialog.accepted.connect(lambda: self._on_saved(dialog.plan().layers))

    def close(self) -> None:
        """Save what there is, and let go of the session."""
        self._now.stop()
        self._look.stop()
        self._session.changed.disconnect(self.touch)
        self._session.prompts_changed.disconnect(self.touch)
        self._session.leaving.disconnect(self.autosave.save)
        self.autosave.look_again()
        self.autosave.close()

    def _on_redrawn(self) -> None:
        if not self._look.isActive():
            self._look.start()

    def _on_saved(self, layers: Sequence[Labels]) -> None:
        if self._session.labels in layers:
            self.autosave.forget()

    def _on_failed(self, sentence: str) -> None:
        self.refused.emit(sentence)

    def _on_image(self) -> None:
        kept, sentence = self.autosave.offer()
        self.bar.set_offer("" if kept is None else _question(kept))
        if sentence:
            self.said.emit(sentence)

    def _on_resume(self) -> None:
        try:
            kept = self.autosave.resume(self._on_settings)
        except ValueError as error:
            self.refused.emit(str(error))
            return
        self.bar.set_offer("")
        self.said.emit(f"Resumed {_count(kept)} of {_when(kept)}.")

    def _on_settings(self, kept: Kept) -> None:
        try:
            settings = InferenceSettings(**kept.settings)
            model_spec(settings.model)
        except (TypeError, ValueError):
            return  # of a model that is not there any more; the others are as good
        self.settings_resumed.emit(settings)

    def _on_discard(self) -> None:
        self.autosave.decline()
        self.bar.set_offer("")


def _question(kept: Kept) -> str:
    return f"Resume your unsaved work on {kept.title} of {_when(kept)} ({_count(kept)})?"


def _count(kept: Kept) -> str:
    used = sum(it.prompts.begun for it in kept.objects.values())
    return "1 object" if used == 1 else f"{used} objects"


def _when(kept: Kept) -> str:
    try:
        return time.strftime("%d %b, %H:%M", time.localtime(kept.saved_s))
    except (OverflowError, OSError, ValueError):  # a damaged date
        return "an unknown day"
