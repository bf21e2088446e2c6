"""The list of models in the dock: where the weights of each are, and what it takes."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import Widget
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_sam3d.catalog import MODELS, ModelSpec, model_spec
from napari_sam3d.plugin.session.availability import describe, entry


def model_choices(_: Any = None) -> list[tuple[str, str]]:
    """A text and a name for each model."""
    return [(entry(spec), name) for name, spec in MODELS.items()]


class ModelList:
    """Keeps the texts of the row of models up to date.

    Parameters
    ----------
    row
        A magicgui combo box with `model_choices`.
    """

    def __init__(self, row: Any) -> None:
        self._row = row
        self._help = row.tooltip
        self._shown: dict[str, str] = {}
        self.refresh()

    def look_at(self, spec: ModelSpec) -> None:
        """Look again where the weights of one model are, which takes no time."""
        if self._shown[spec.name] != entry(spec):
            self.refresh()

    def refresh(self) -> None:
        """Look again where all weights are."""
        box = _combo_box(self._row)
        texts = {name: text for text, name in model_choices()}
        if texts != self._shown:
            self._shown = texts
            for at in range(box.count()):
                name = box.itemData(at)
                box.setItemText(at, texts[name])
                box.setItemData(at, describe(model_spec(name)), Qt.ItemDataRole.ToolTipRole)
            view = box.view()
            if view is not None:  # as wide as its texts, however narrow the dock is
                bar = view.verticalScrollBar()
                width = view.sizeHintForColumn(0) + (bar.sizeHint().width() if bar else 0)
                view.setMinimumWidth(width + 2 * view.frameWidth())
        self._row.tooltip = f"{describe(model_spec(self._row.value))}\n{self._help}"


def _combo_box(row: Widget) -> QComboBox:
    box = row.native
    assert isinstance(box, QComboBox)
    return box
