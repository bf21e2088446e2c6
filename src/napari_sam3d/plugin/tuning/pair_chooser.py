"""Which labels belong to which image, where the layers themselves do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget

from napari_sam3d.plugin.dock.layer_watch import LayerWatch
from napari_sam3d.plugin.dock.parts import button, keep_narrow
from napari_sam3d.plugin.tuning.layer_pairs import Match, images_of, labels_of

if TYPE_CHECKING:
    from napari.components import ViewerModel


class PairChooser(QWidget):
    """An Image layer, a Labels layer, and a button; hidden until it is asked for.

    Parameters
    ----------
    viewer
        Its layers are offered.
    """

    chosen = Signal(object)
    """A `Match`."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._images: list[Image] = []
        self._labels: list[Labels] = []
        self.images, self.labels = QComboBox(), QComboBox()
        self.images.setToolTip("The image that the labels belong to")
        self.labels.setToolTip("The labels of its objects")
        for box in (self.images, self.labels):
            keep_narrow(box)
        self.add = button("Add pair", "Add this image with these labels, as they are now")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setColumnStretch(1, 1)
        for line, (title, box) in enumerate((("Image", self.images), ("Labels", self.labels))):
            layout.addWidget(QLabel(title), line, 0)
            layout.addWidget(box, line, 1)
        layout.addWidget(self.add, 2, 0, 1, 2)
        self._watch = LayerWatch(viewer, self)
        self._watch.changed.connect(self._refresh)
        self.add.clicked.connect(self._on_add)
        self.hide()

    def ask_about(self, unclear: Sequence[Labels]) -> None:
        """Have the user choose an image for these labels; hide when there are none."""
        self._refresh()
        if unclear:
            self.labels.setCurrentIndex(self._labels.index(unclear[0]))
        self.setVisible(bool(unclear and self._images))

    def close_viewer(self) -> None:
        """Leave the viewer alone."""
        self._watch.close()

    def _refresh(self) -> None:
        image, labels = self._at(self._images, self.images), self._at(self._labels, self.labels)
        self._images, self._labels = images_of(self._viewer), labels_of(self._viewer)
        _offer(self.images, self._images, image)
        _offer(self.labels, self._labels, labels)
        if not (self._images and self._labels):
            self.hide()

    @staticmethod
    def _at(layers: Sequence[Any], box: QComboBox) -> Any:
        index = box.currentIndex()
        return layers[index] if 0 <= index < len(layers) else None

    def _on_add(self) -> None:
        image, labels = self._at(self._images, self.images), self._at(self._labels, self.labels)
        if image is not None and labels is not None:
            self.chosen.emit(Match(image, labels))


def _offer(box: QComboBox, layers: Sequence[Any], chosen: Any) -> None:
    """List layers; the one that was chosen stays so."""
    box.clear()
    box.addItems([it.name for it in layers])
    if chosen in layers:
        box.setCurrentIndex(layers.index(chosen))
