"""What is tuned, how long and what it will be called: the settings of a training."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_sam3d.catalog import MODELS, ModelSpec, model_spec
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.labelled import Pair
from napari_sam3d.plugin.dock.adapter_list import AdapterList
from napari_sam3d.plugin.dock.form import SettingsForm
from napari_sam3d.plugin.dock.model_list import ModelList, model_choices
from napari_sam3d.plugin.dock.parts import button, fold, keep_narrow
from napari_sam3d.plugin.tuning.run_name import run_name, subject
from napari_sam3d.settings import EFFORTS, TrainSettings

if TYPE_CHECKING:
    from napari_sam3d.engine.training.rehearsal import Rehearsal

_ESTIMATE = (
    "Do three real steps on this computer, to tell how long all of them take; nothing is written"
)
_UNKNOWN = "Not known yet"
_ALWAYS = ("model", "adapter", "effort")
_TIMED = ("model", "adapter", "device", "precision", "accumulate", "objects", "clicks")
"""Settings on which the time of a step, or of a look, depends."""


def can_be_tuned(spec: ModelSpec) -> bool:
    """Whether there is a recipe for its network."""
    try:
        recipe_of(spec)
    except ValueError:
        return False
    return True


def tunable_choices(_: Any = None) -> list[tuple[str, str]]:
    """A text and a name for each model that can be tuned."""
    return [it for it in model_choices() if can_be_tuned(MODELS[it[1]])]


def effort_choices(_: Any = None) -> list[tuple[str, str]]:
    """Quick, normal and long, with their steps."""
    return [(f"{effort.capitalize()}: {steps} steps", effort) for effort, steps in EFFORTS.items()]


class TrainingChoice(QWidget):
    """Model, adapter to begin with, name, effort, and the rest in a fold.

    Attributes
    ----------
    form
        All settings.
    advanced
        The fold.
    """

    changed = Signal()
    """Other settings, or another name."""
    estimate_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        settings = TrainSettings()
        self._subject, self._typed = subject(()), False
        self._rehearsal: tuple[Rehearsal, TrainSettings] | None = None
        self._adapters = AdapterList(settings.model, self)
        self.form = SettingsForm(
            settings,
            choices={
                "model": tunable_choices,
                "adapter": self._adapters.choices,
                "effort": effort_choices,
                "device": ("auto", "cpu", "cuda", "mps"),
            },
        )
        self._adapters.attach(self.form.row("adapter"))
        self._models = ModelList(self.form.row("model"))
        self.name = QLineEdit()
        self.name.setToolTip(
            "What the adapter will be called; a name that is left alone follows the labels, the "
            "model and the time"
        )
        self.estimate = button(
            "Estimate the time",
            _ESTIMATE,
        )
        self.time = QLabel(_UNKNOWN)
        self.time.setWordWrap(True)
        self.time.setToolTip("How long the training will take on this computer")
        self.advanced = fold(
            "Advanced settings",
            _rows([it for it in self.form.rows if it.name not in _ALWAYS]),
            "Steps, learning rate, clicks, looks at what is held out, device",
        )
        self._lay_out()
        self.form.changed.connect(self._on_changed)
        self.name.textEdited.connect(self._on_typed)
        self.estimate.clicked.connect(self.estimate_requested)
        self.renew_name()

    def _lay_out(self) -> None:
        form = _form()
        for title, name in (("Model", "model"), ("Begin with", "adapter")):
            form.addRow(title, self._native(name))
        form.addRow("Name", self.name)
        form.addRow("Effort", self._native("effort"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        beside = QHBoxLayout()
        beside.addWidget(self.estimate)
        beside.addWidget(self.time, stretch=1)
        layout.addLayout(beside)
        layout.addWidget(self.advanced)

    def value(self) -> TrainSettings:
        return self.form.value()

    def set_value(self, settings: TrainSettings) -> None:
        """Use other settings; an adapter that is not here is left out.

        Raises
        ------
        ValueError
            When there is no such model, or it cannot be tuned.
        """
        recipe_of(model_spec(settings.model))
        self._adapters.show_model(settings.model)
        known = self._adapters.knows(settings.adapter)
        self.form.set_value(settings if known else replace(settings, adapter=""))

    def run_name(self) -> str:
        """What the user wants to call it."""
        return self.name.text().strip()

    def set_name(self, name: str) -> None:
        """Take a name, as if it had been typed."""
        self.name.setText(name)
        self._on_typed(name)

    def name_after(self, pairs: Sequence[Pair]) -> None:
        """Call it after what is labelled, unless the user has said how."""
        told = subject(pairs)
        if told != self._subject:
            self._subject = told
            if not self._typed:
                self.renew_name()

    def renew_name(self) -> None:
        """Suggest a name that is free."""
        self._typed = False
        now = datetime.datetime.now()
        self.name.setText(run_name(self._subject, self.value().model, now))
        self.name.setCursorPosition(0)

    def look_again(self) -> None:
        """The weights of models may have come."""
        self._models.refresh()

    def set_rehearsal(self, rehearsal: Rehearsal, settings: TrainSettings) -> None:
        """Tell the time that was found out, with these settings."""
        self._rehearsal = rehearsal, settings
        self._show_time()

    def forget_rehearsal(self) -> None:
        """It was about other volumes."""
        self._rehearsal = None
        self._show_time()

    def set_obstacle(self, obstacle: str) -> None:
        """Why no time can be estimated now; empty when it can."""
        self.estimate.setEnabled(not obstacle)
        self.estimate.setToolTip(obstacle or _ESTIMATE)

    def _on_changed(self, settings: TrainSettings) -> None:
        self._adapters.show_model(settings.model)
        self._models.look_at(model_spec(settings.model))
        if not self._typed:
            self.renew_name()
        self._show_time()
        self.changed.emit()

    def _on_typed(self, text: str) -> None:
        self._typed = bool(text.strip())
        self.changed.emit()

    def _show_time(self) -> None:
        """Of other numbers of steps it is told as well; of another network nothing is known."""
        settings = self.value()
        if self._rehearsal is not None:
            rehearsal, rehearsed = self._rehearsal
            if any(getattr(settings, name) != getattr(rehearsed, name) for name in _TIMED):
                self._rehearsal = None
                self.time.setText(_UNKNOWN)
            elif not rehearsal.fits:
                self.time.setText(rehearsal.sentence)
            else:
                self.time.setText(_about(rehearsal, settings))
                self.time.setToolTip(rehearsal.sentence)
        else:
            self.time.setText(_UNKNOWN)

    def _native(self, name: str) -> QWidget:
        it = self.form.row(name)
        if isinstance(it.native, QComboBox):
            keep_narrow(it.native)
        it.native.setToolTip(it.tooltip)
        return it.native


def _about(rehearsal: Rehearsal, settings: TrainSettings) -> str:
    minutes = rehearsal.minutes(settings)
    told = f"{minutes:.0f} min" if minutes >= 1 else f"{60 * minutes:.0f} s"
    memory = f"{rehearsal.peak_bytes / 1e9:.1f} GB of memory"
    return f"About {told} here, {memory}"


def _form() -> QFormLayout:
    it = QFormLayout()
    it.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return it


def _rows(rows: Sequence[Any]) -> QWidget:
    """Rows of magicgui under each other."""
    it = QWidget()
    layout = _form()
    layout.setContentsMargins(0, 0, 0, 0)
    it.setLayout(layout)
    for each in rows:
        if isinstance(each.native, QComboBox):
            keep_narrow(each.native)
        each.native.setToolTip(each.tooltip)
        if each.label:
            layout.addRow(each.label, each.native)
        else:
            layout.addRow(each.native)
    return it
