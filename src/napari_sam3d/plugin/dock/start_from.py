"""Choose a label of any mask to go on from: a part of the Segment dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QSpinBox, QWidget

from napari_sam3d.plugin.dock.layer_watch import LayerWatch
from napari_sam3d.plugin.dock.parts import button, keep_narrow

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.session.session import Session

_LARGEST = 2**31 - 1


class StartFrom(QWidget):
    """A Labels layer of the viewer, one of its labels, and a button.

    Parameters
    ----------
    viewer
        Its Labels layers are offered.
    session
        Where the mask becomes an object.
    """

    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """Why the mask cannot be used."""

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._offered: list[Labels] = []
        self._followed: Labels | None = None
        self._picked = False
        self.layers = QComboBox()
        self.layers.setToolTip("A mask of this image: from a file, of another model, or painted")
        keep_narrow(self.layers)
        self.label = QSpinBox()
        self.label.setRange(1, _LARGEST)
        self.label.setToolTip(
            "Which label of it; follows the one that is selected in the layer, such as with the "
            "color picker of napari"
        )
        self.start = button(
            "Start from it",
            "Make this mask an object that points, boxes and scribbles change; the layer itself "
            "stays as it is. In the mask layer of the dock, the object goes on from how it looks",
        )
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setColumnStretch(1, 1)
        layout.addWidget(QLabel("Mask"), 0, 0)
        layout.addWidget(self.layers, 0, 1, 1, 2)
        layout.addWidget(QLabel("Label"), 1, 0)
        layout.addWidget(self.label, 1, 1)
        layout.addWidget(self.start, 1, 2)
        self._watch = LayerWatch(viewer, self)
        self._watch.changed.connect(self._refresh)
        self.layers.currentIndexChanged.connect(self._on_chosen)
        self.start.clicked.connect(self._on_start)
        self._refresh()

    def teardown(self) -> None:
        """Leave the viewer alone."""
        self._watch.close()
        self._follow(None)

    def _refresh(self) -> None:
        """Offer the layers that there are; the one of the dock only when there is no other."""
        self._offered = [it for it in self._viewer.layers if isinstance(it, Labels)]
        others = [it for it in self._offered if it != self._session.labels]
        chosen, self._picked = self._followed, self._picked and self._followed in self._offered
        if not self._picked and chosen not in others:
            chosen = next(iter([*others[::-1], *self._offered]), None)
        with QSignalBlocker(self.layers):
            self.layers.clear()
            self.layers.addItems([it.name for it in self._offered])
            self.layers.setCurrentIndex(-1 if chosen is None else self._offered.index(chosen))
        self._follow(chosen)

    def _on_chosen(self, index: int) -> None:
        self._picked = True
        self._follow(self._offered[index])

    def _follow(self, layer: Labels | None) -> None:
        self.start.setEnabled(layer is not None)
        if layer is self._followed:
            return
        if self._followed is not None:
            self._followed.events.selected_label.disconnect(self._on_selected)
        self._followed = layer
        if layer is not None:
            layer.events.selected_label.connect(self._on_selected)
            self._on_selected()

    def _on_selected(self) -> None:
        if self._followed is not None and self._followed.selected_label >= 1:
            self.label.setValue(self._followed.selected_label)

    def _on_start(self) -> None:
        layer, label = self._followed, self.label.value()
        if layer is None:
            return
        try:
            number = self._session.start_from(layer, label)
        except ValueError as error:
            self.refused.emit(str(error))
            return
        title = self._session.title(number)
        self.said.emit(f"{title} starts from {layer.name}, label {label}: prompts change it now.")
