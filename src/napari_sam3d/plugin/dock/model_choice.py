"""The model of the dock and its settings: rows for what is chosen often, a fold for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from magicgui.widgets import Widget
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget

from napari_sam3d.catalog import model_spec
from napari_sam3d.plugin.dock.adapter_choice import AdapterChoice
from napari_sam3d.plugin.dock.adding import ask_and_add
from napari_sam3d.plugin.dock.form import SettingsForm
from napari_sam3d.plugin.dock.model_list import ModelList, model_choices
from napari_sam3d.plugin.dock.parts import button, fold, keep_narrow
from napari_sam3d.plugin.session.availability import describe
from napari_sam3d.settings import InferenceSettings

_SELDOM = ("device", "precision", "slices")


class ModelChoice(QObject):
    """Which model is asked, and how.

    Attributes
    ----------
    form
        All settings.
    adapter
        With which adapter, and its files; seen where the model can be tuned.
    more
        Folded: where the network runs, and weights of the user's.
    threshold, finishing
        What is made of the network's answer.
    spec
        The model that is chosen.
    """

    changed = Signal(object)
    """The new `InferenceSettings`; `spec` is that of their model."""
    model_changed = Signal(object)
    """The new `ModelSpec`, before `changed`."""
    add_requested = Signal()
    weights_added = Signal(str)
    """Name of a model for which the user has added weights, before it is chosen."""
    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """Why something was not done with a file."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        settings = InferenceSettings()
        self._adapters = AdapterChoice(settings.model, parent)
        self.form = SettingsForm(
            settings,
            choices={
                "model": model_choices,
                "device": ("auto", "cpu", "cuda", "mps"),
                "adapter": self._adapters.names.choices,
            },
            sliders=("threshold",),
        )
        self.spec = model_spec(self.value().model)
        self.row = self.form.row("model")
        self._adapters.attach(self.form.row("adapter"))
        self.adapter = self._adapters.row
        self._list = ModelList(self.row)
        keep_narrow(self.row.native)
        self.add_weights = button(
            "Add weights...", "Choose a file of weights, of whatever model; it is recognised"
        )
        self.threshold = _rows([self.form.row("threshold")])
        self._more = _rows([self.form.row(name) for name in _SELDOM], self.add_weights)
        apart = ("model", "adapter", "threshold", *_SELDOM)
        self.finishing = _rows([row for row in self.form.rows if row.name not in apart])
        self.more = fold(
            "Device and weights", self._more, "Where the network runs, and weights of your own"
        )
        self.add_weights.clicked.connect(self.add_requested)
        self.form.changed.connect(self._on_changed)
        self._adapters.chosen.connect(self._choose)
        self._adapters.gone.connect(self._load_anew)
        self._adapters.said.connect(self.said)
        self._adapters.refused.connect(self.refused)
        self._show_rows()

    def value(self) -> InferenceSettings:
        return self.form.value()

    def set_value(self, settings: InferenceSettings) -> None:
        """Use other settings; ValueError for a model that does not exist.

        An adapter that is not here is left out.
        """
        self._adapters.show_model(model_spec(settings.model))
        known = self._adapters.names.knows(settings.adapter)
        self.form.set_value(settings if known else replace(settings, adapter=""))

    def look_again(self) -> None:
        """The weights of the model may have come."""
        self._list.look_at(self.spec)

    def refresh(self) -> None:
        """Weights of any model may have come."""
        self._list.refresh()

    def ask_for_weights(self) -> None:
        """Let the user add weights, and choose their model; ValueError or OSError as they are."""
        name = ask_and_add(self.value().model, self._parent)
        if name:
            self.weights_added.emit(name)
            self._list.refresh()
            self.set_value(replace(self.value(), model=name))
            self.said.emit(f"Added the weights. {describe(model_spec(name))}")

    def _on_changed(self, settings: InferenceSettings) -> None:
        spec = model_spec(settings.model)
        if spec != self.spec:
            self.spec = spec
            self._adapters.show_model(spec)
            settings = self.form.value()
            self._list.refresh()
            self._show_rows()
            self.model_changed.emit(spec)
            self.said.emit(describe(spec))
        self._adapters.show_chosen()
        self.changed.emit(settings)

    def _show_rows(self) -> None:
        """What only some models have."""
        slices, form = self.form.row("slices").native, self._more.layout()
        assert isinstance(form, QFormLayout)
        for it in (slices, form.labelForField(slices)):  # QFormLayout.setRowVisible needs Qt 6
            it.setVisible(self.spec.way == "slices")
        self._adapters.show_model(self.spec)

    def _choose(self, model: str, adapter: str) -> None:
        self.set_value(replace(self.value(), model=model, adapter=adapter))

    def _load_anew(self, adapter: str) -> None:
        """Another file bears the name of an adapter, or none."""
        settings = self.value()
        self.weights_added.emit(settings.model)
        if settings.adapter == adapter:  # asks again
            self.set_value(replace(settings, adapter=""))
            self.set_value(settings)


def _rows(rows: Sequence[Widget], *more: QWidget) -> QWidget:
    """Settings one below the other, and what follows them."""
    it = QWidget()
    layout = QFormLayout(it)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for row in rows:
        if isinstance(row.native, QComboBox):
            keep_narrow(row.native)
        row.native.setToolTip(row.tooltip)  # of a slider with its number, magicgui tells a part
        if row.label:
            layout.addRow(row.label, row.native)
        else:
            layout.addRow(row.native)
    for widget in more:
        layout.addRow("", widget)
    return it
