"""A training from its start to its verdict: what the trainer tells becomes what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QWidget

from napari_sam3d.engine.places import adapter_file, runs_folder
from napari_sam3d.engine.training.events import (
    Event,
    Failed,
    Finished,
    Looking,
    Saved,
    Started,
    Validated,
    Warned,
)
from napari_sam3d.plugin.dock.activity import Activity
from napari_sam3d.plugin.tuning.open_volume import open_image
from napari_sam3d.plugin.tuning.pair_table import Entry
from napari_sam3d.plugin.tuning.progress_view import ProgressView
from napari_sam3d.plugin.tuning.record import Record
from napari_sam3d.plugin.tuning.verdict_bar import VerdictBar
from napari_sam3d.settings import TrainSettings
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.thread.trainer import Trainer


class Running(QObject):
    """Shows one training after the other.

    Parameters
    ----------
    viewer
        Where the preview is shown.
    trainer
        Does the work.

    Attributes
    ----------
    model
        What is tuned.
    """

    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """A sentence that must not be missed."""
    progressed = Signal(float)
    """The share that is done, 0 to 1."""
    begun = Signal()
    """It is under way, and has a folder."""
    over = Signal()
    """It has ended, however it did."""

    def __init__(self, viewer: ViewerModel, trainer: Trainer, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._trainer = viewer, trainer
        self._entries: tuple[Entry, ...] = ()
        self.record = Record()
        self._waits, self._judged = False, False
        self.name, self.model = trainer.name, TrainSettings().model
        self.bar = VerdictBar()
        self.view = ProgressView(viewer, self._find)
        self.view.preview.said.connect(self.said)
        self._activity = Activity(self)
        self._activity.cancelled.connect(trainer.stop)
        # once it is known whether the trainer has more to say of its end
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._on_stopped)
        trainer.event.connect(self._on_event)
        trainer.state_changed.connect(self._on_state)
        trainer.downloading.connect(self._on_downloading)
        self.bar.folder_requested.connect(self.open_folder)

    @property
    def waits(self) -> bool:
        """Whether a training of this dock was begun and has not ended."""
        return self._waits

    def start(
        self, settings: TrainSettings, entries: Sequence[Entry], name: str, resume: bool = False
    ) -> None:
        """Begin a training, or go on with one."""
        self._expect(settings, entries, name)
        self._trainer.start(settings, [it.pair for it in entries], name, resume)

    def take_over(self, entries: Sequence[Entry]) -> None:
        """Show the training that another dock began."""
        if self._trainer.trains:
            events = tuple(self._trainer.events)
            self._expect(TrainSettings(), entries, self._trainer.name)
            for event in events:
                self._on_event(event)

    def fail(self, sentence: str) -> None:
        """It cannot begin, or ended by an error of the program."""
        self._later.stop()
        self._end("problem", sentence, "Failed")
        self.refused.emit(sentence)

    def open_folder(self) -> None:
        """Show the files of the training, or of all trainings."""
        folder = runs_folder() / self.name if self.name else runs_folder()
        if not folder.is_dir():
            folder = runs_folder()
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def close(self) -> None:
        """Leave the viewer and the trainer alone."""
        self._later.stop()
        self._activity.end()
        self.view.leave()
        trainer = self._trainer
        trainer.event.disconnect(self._on_event)
        trainer.state_changed.disconnect(self._on_state)
        trainer.downloading.disconnect(self._on_downloading)

    def _expect(self, settings: TrainSettings, entries: Sequence[Entry], name: str) -> None:
        self.bar.hide()
        self.name, self.model, self._entries = name, settings.model, tuple(entries)
        self.record = Record(settings.validate_every)
        self._waits, self._judged = True, False
        self._activity.show(f"Tuning {name}")

    def _on_event(self, event: Event) -> None:
        if not self._waits:
            return
        self.record.add(event)
        match event:
            case Started():
                self.view.begin(self.record)
                self.view.preview.begin(event.name, event.held_out)
                self.begun.emit()
                self.said.emit(f"Tuning {event.name}; clicks in the Segment dock go first.")
            case Looking() if event.found is not None:
                self.view.preview.show_found(event.found, event.step)
            case Validated() if event.step:
                self.said.emit(self.record.newest())
            case Saved():
                return
            case Warned():
                self.said.emit(event.sentence)
            case Finished():
                state = "good" if event.adapter is not None else "warning"
                self._end(state, event.verdict, "Finished")
                self.said.emit(event.verdict)
                return
            case Failed():
                kept = ""
                if event.adapter is not None:
                    kept = f" The best so far is kept: {event.adapter}."
                self._end("problem", f"{event.sentence}{kept}", "Failed")
                self.refused.emit(event.sentence)
                return
        self._activity.show(f"Tuning {self.name}", self.record.share)
        self.progressed.emit(self.record.share)
        self.view.refresh()

    def _on_state(self, state: str) -> None:
        if not self._waits or self._trainer.trains:
            return
        if self._judged:
            self._leave()
        else:
            self._later.start()

    def _on_stopped(self) -> None:
        """It has ended without a word: it was told to."""
        if not self._waits or self._judged:
            return
        step, best = self.record.step, self.record.best
        if self.record.started is None:
            said = f"{self.name} was stopped before it began."
        else:
            said = f"Stopped and saved after step {step}; Resume... goes on from there."
        if self._has_adapter() and best is not None:
            said += f" The best so far, of step {best.step}, can be used."
        self._end("warning", said, "Stopped")
        self.said.emit(said)

    def _on_downloading(self, done: int, total: int) -> None:
        of = f" of {total / 1e6:.0f}" if total else ""
        self.said.emit(f"Downloading the weights of {self.model}: {done / 1e6:.0f}{of} MB")

    def _end(self, state: str, sentence: str, how: str) -> None:
        self._judged = True
        self._activity.end()
        if self.record.started is not None:
            self.view.end(how)
        self.view.preview.end()
        known = (runs_folder() / self.name).is_dir()
        self.bar.set_verdict(state, sentence, self._has_adapter(), known)
        if not self._trainer.trains:
            self._leave()

    def _leave(self) -> None:
        if self._waits:
            self._waits = False
            self.over.emit()

    def _has_adapter(self) -> bool:
        return adapter_file(self.name).is_file()

    def _find(self, name: str) -> tuple[Volume | None, Image | None]:
        """A volume that it learns from or is judged on, and the layer that shows it."""
        for it in self._entries:
            if it.pair.name == name:
                image = it.match.image if it.match is not None else None
                return it.pair.volume, open_image(self._viewer, it.pair.volume, image)
        return None, None
