"""The Train dock: a handful of labelled volumes, one button, a better model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam3d.engine.adapter_facts import read_facts
from napari_sam3d.engine.places import adapter_path
from napari_sam3d.plugin.dock.parts import Column, fold
from napari_sam3d.plugin.dock.words import Words
from napari_sam3d.plugin.tuning.guard import Guard
from napari_sam3d.plugin.tuning.next_case import NextCase
from napari_sam3d.plugin.tuning.pair_table import Entry
from napari_sam3d.plugin.tuning.preparing import Preparing
from napari_sam3d.plugin.tuning.resuming import Resuming
from napari_sam3d.plugin.tuning.run_controls import RunControls
from napari_sam3d.plugin.tuning.running import Running
from napari_sam3d.plugin.tuning.segment_dock import open_segment
from napari_sam3d.plugin.tuning.verdict_bar import stacked
from napari_sam3d.settings import TrainSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.thread.trainer import Trainer
    from napari_sam3d.plugin.thread.tuning_work import LoadBase


@dataclass(frozen=True)
class _Left:
    """What a closed dock had."""

    entries: tuple[Entry, ...]
    settings: TrainSettings


_LEFT: WeakKeyDictionary[Any, _Left] = WeakKeyDictionary()
"""By viewer: a dock that is opened again has what it had."""


class TrainWidget(QWidget):
    """Dock that ties pairs, checks, settings and the trainer together.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    load
        Brings the network to be tuned, in the trainer's thread; the engine's by default.
    trainer
        Does the work; one of its own by default, or that of a training whose dock was closed.

    Attributes
    ----------
    pairs
        The table of labelled pairs.
    run
        The buttons.
    progress
        Curves, and how far it is.
    next_case
        Volumes that the tuned model is applied to, and that become pairs.
    sections
        The parts that scroll, from top to bottom.
    """

    def __init__(
        self,
        napari_viewer: ViewerModel,
        load: LoadBase | None = None,
        trainer: Trainer | None = None,
    ) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.guard = Guard.take(load) if trainer is None else Guard(trainer)
        self.trainer = self.guard.trainer
        self.preparing = Preparing(napari_viewer, self.trainer, self)
        self.running = Running(napari_viewer, self.trainer, self)
        self.pairs, self.checks = self.preparing.pairs, self.preparing.checks
        self.choice, self.verdict = self.preparing.choice, self.running.bar
        self.run, self.progress = RunControls(), self.running.view
        self.resuming = Resuming(self.pairs, self)
        self.next_case = NextCase(napari_viewer, self.pairs)
        self.pair_section = fold(
            "Training pairs",
            stacked(self.pairs, self.preparing.chooser),
            "Images with labels of their objects, to learn from",
        )
        self.check_section = fold(
            "Checks", self.checks, "What is right and wrong with the pairs, and repairs"
        )
        self.sections: list[QWidget] = [
            self.verdict,
            self.pair_section,
            self.check_section,
            self.choice,
            self.progress,
            fold(
                "Apply to the next case",
                self.next_case,
                "Have the tuned model propose masks in other volumes, correct them, and learn "
                "from these, too",
            ),
        ]
        layout = QVBoxLayout(self)
        layout.addWidget(Column(self.sections))
        layout.addWidget(self.run)
        self.words = Words(self.run.status, napari_viewer)
        self._connect()
        self._restore()
        self._unfold(True)
        self._show_state()

    def value(self) -> TrainSettings:
        return self.choice.value()

    def set_value(self, settings: TrainSettings) -> None:
        """Use other settings; ValueError for a model that cannot be tuned."""
        self.choice.set_value(settings)

    def teardown(self) -> None:
        """Leave the viewer and the trainer alone; a training goes on."""
        _LEFT[self._viewer] = _Left(self.pairs.entries(), self.value())
        self.trainer.failed.disconnect(self._on_failed)
        self.trainer.state_changed.disconnect(self._show_state)
        self.trainer.progressed.disconnect(self.run.set_progress)
        self.preparing.close()
        self.running.close()
        self.next_case.teardown()

    def _connect(self) -> None:
        words, run, trainer = self.words, self.run, self.trainer
        for part in (self.preparing, self.running, self.resuming, self.next_case):
            part.said.connect(words.say)
            part.refused.connect(words.refuse)
        self.preparing.obstacle_changed.connect(self._show_state)
        trainer.failed.connect(self._on_failed)
        trainer.state_changed.connect(self._show_state)
        trainer.progressed.connect(run.set_progress)
        run.start_requested.connect(self._on_start)
        run.stop_requested.connect(self._on_stop)
        run.resume_requested.connect(self.resuming.ask)
        run.folder_requested.connect(self.running.open_folder)
        self.resuming.ready.connect(self._on_ready)
        self.running.progressed.connect(run.set_progress)
        self.running.begun.connect(self._on_begun)
        self.running.begun.connect(self.preparing.ask_again)
        self.running.over.connect(self._on_over)
        self.verdict.use_requested.connect(words.guarded(self._on_use))
        self.next_case.train_requested.connect(words.guarded(self._on_again))
        self.guard.attend(self)
        self.guard.closed.connect(self.teardown)

    def _restore(self) -> None:
        """What an earlier dock of this window had, and the training that it left."""
        left = _LEFT.pop(self._viewer, None)
        if left is not None:
            self.set_value(left.settings)
            self.pairs.set_entries(left.entries)
        self.running.take_over(self.pairs.entries())

    def _show_state(self, *_: object) -> None:
        self.run.set_state(self.trainer.state, self.preparing.obstacle)

    def _on_stop(self) -> None:
        self.resuming.forget()
        self.trainer.stop()
        self.preparing.give_up()

    def _on_start(self) -> None:
        settings, name = self.value(), self.choice.run_name()
        self.words.say(f"Loading {settings.model}...")
        self.running.start(settings, self.pairs.entries(), name)
        self._show_state()

    def _on_ready(self, settings: TrainSettings, entries: list[Entry], name: str) -> None:
        self.words.say(f"Going on with {name}...")
        self.running.start(settings, entries, name, resume=True)
        self._show_state()

    def _on_begun(self) -> None:
        self._unfold(False)
        QTimer.singleShot(0, self._to_progress)

    def _to_progress(self) -> None:
        column = self.findChild(Column)
        if column is not None:
            column.ensureWidgetVisible(self.progress)

    def _on_over(self) -> None:
        self.choice.renew_name()
        self.next_case.set_adapter(self.running.name)
        self.choice.look_again()
        self.preparing.check_soon()
        column = self.findChild(Column)
        if column is not None:
            column.verticalScrollBar().setValue(0)  # where the verdict is

    def _on_failed(self, sentence: str) -> None:
        self.resuming.forget()
        if self.running.waits and not self.trainer.trains:
            self.running.fail(sentence)
        else:
            self.preparing.fail(sentence)

    def _on_use(self) -> None:
        """Choose the model with its adapter in the Segment dock, which is opened when needed."""
        adapter = self.running.name
        model = read_facts(adapter_path(adapter)).model
        segment = open_segment(self._viewer)
        segment.set_value(replace(segment.value(), model=model, adapter=adapter))
        self.words.say(f"The Segment dock uses {model} with {adapter} now.")

    def _on_again(self, model: str, adapter: str) -> None:
        """Make ready to train once more, from where the adapter stands."""
        if model:
            self.set_value(replace(self.value(), model=model, adapter=adapter))
        self._unfold(True)
        column = self.findChild(Column)
        if column is not None:
            column.ensureWidgetVisible(self.choice)
        self.words.say(f"Ready to train on {len(self.pairs.value())} pairs; press Start.")

    def _unfold(self, unfolded: bool) -> None:
        """What is needed before a training makes room for its curves."""
        for section in (self.pair_section, self.check_section):
            if unfolded:
                section.expand(animate=False)
            else:
                section.collapse(animate=False)
