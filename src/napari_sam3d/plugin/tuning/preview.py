"""What the model in training makes of a held-out volume, as a layer: a part of the Train dock."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_sam3d.plugin.dock.parts import button, row
from napari_sam3d.plugin.layers.convert import layer_data
from napari_sam3d.plugin.layers.placing import transform
from napari_sam3d.plugin.layers.voxels import widened
from napari_sam3d.plugin.tuning.layer_pairs import PREVIEW
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.engine.training.events import Preview

Find = Callable[[str], tuple[Volume | None, Image | None]]
_PART = re.compile(r"(.+), slices (\d+) to \d+")
"""What slices of a volume are called, where too few volumes are there to hold whole ones out."""


class PreviewLayer(QWidget):
    """Refreshes a Labels layer at each look, where the held-out volume is open.

    Parameters
    ----------
    viewer
        Where it is shown.
    find
        The volume of a name, and the Image layer that shows it; None where there is none.
    """

    said = Signal(str)
    """A sentence for the status line."""

    def __init__(self, viewer: ViewerModel, find: Find) -> None:
        super().__init__()
        self._viewer, self._find = viewer, find
        self._name = ""
        self._held_out: tuple[str, ...] = ()
        self._shown: tuple[str, int] = ("", -1)
        self.layer: Labels | None = None
        self.visible = QCheckBox("Show preview")
        self.visible.setToolTip(
            "A layer of what the model finds in a held-out volume, after five clicks on each "
            "object; drawn anew at each look"
        )
        self.visible.setChecked(True)
        self.keep = QCheckBox("Keep it")
        self.keep.setToolTip("Off: the layer goes when the training is over")
        self.open = button(
            "Show held-out volume", "Open the volume that the model is judged on, to see its masks"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row(self.visible, self.keep))
        layout.addWidget(self.open)
        self.visible.toggled.connect(self._on_visible)
        self.open.clicked.connect(self._on_open)
        viewer.layers.events.removed.connect(self._on_layers)
        viewer.layers.events.inserted.connect(self._on_layers)

    def begin(self, name: str, held_out: tuple[str, ...]) -> None:
        """A training has begun."""
        if self.layer is not None and not self.keep.isChecked():
            self._remove()
        self.layer = None
        whole = dict.fromkeys(part_of(it)[0] for it in held_out)
        self._name, self._held_out, self._shown = name, tuple(whole), ("", -1)
        self._look()

    def show_found(self, found: Preview, step: int) -> None:
        """Draw one object of a look; of several held-out volumes the first that is open."""
        name, first = part_of(found.volume)
        if name != self._open_name():
            return
        volume, image = self._find(name)
        if volume is None or image is None:
            return
        if self.layer is None:
            self._add(image, volume)
        layer = self.layer
        assert layer is not None
        if self._shown != (name, step):  # the masks of an earlier look
            self._shown = (name, step)
            layer.data[:] = 0
        if found.label > np.iinfo(layer.data.dtype).max:
            layer.data = widened(layer.data, np.min_scalar_type(found.label))
        layer.data[first:][found.window][found.mask] = found.label
        layer.refresh(extent=False, highlight=False, thumbnail=False)

    def end(self) -> None:
        """The training is over."""
        if not self.keep.isChecked():
            self._remove()
        self.layer = None
        self._held_out = ()
        self._look()

    def leave(self) -> None:
        """Leave the viewer alone."""
        self._viewer.layers.events.removed.disconnect(self._on_layers)
        self._viewer.layers.events.inserted.disconnect(self._on_layers)
        self.end()

    def _open_name(self) -> str:
        return next((it for it in self._held_out if self._find(it)[1] is not None), "")

    def _add(self, image: Image, volume: Volume) -> None:
        """The layer, without a word about which one is selected."""
        self.layer = Labels(
            np.zeros(volume.grid.shape, np.uint8),
            name=f"preview: {self._name}",
            opacity=0.6,
            visible=self.visible.isChecked(),
            metadata={PREVIEW: True},
            **transform(image),
        )
        self.layer.editable = False
        self._insert(self.layer)

    def _insert(self, layer: Layer) -> None:
        selection = self._viewer.layers.selection
        active, chosen = selection.active, set(selection)
        self._viewer.layers.append(layer)
        if active is not None:
            selection.active = active
        elif chosen:
            self._viewer.layers.selection = chosen

    def _remove(self) -> None:
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_visible(self, visible: bool) -> None:
        if self.layer is not None:
            self.layer.visible = visible

    def _on_open(self) -> None:
        for name in self._held_out:
            volume, image = self._find(name)
            if volume is not None and image is None:
                self._insert(Layer.create(*layer_data(volume, as_labels=False)))
                self.said.emit(f"{name} is held out; its masks appear at the next look.")
                return

    def _on_layers(self, event: Any) -> None:
        if event.value is self.layer and self.layer not in self._viewer.layers:
            self.layer = None  # the user has removed it; the next look brings another
            self._shown = ("", -1)
        self._look()

    def _look(self) -> None:
        """The button has a use while none of the held-out volumes is open."""
        known = [self._find(it) for it in self._held_out]
        closed = [volume for volume, image in known if volume is not None and image is None]
        self.open.setEnabled(bool(closed) and len(closed) == len(known))


def part_of(name: str) -> tuple[str, int]:
    """The volume that something is a part of, and its first slice there."""
    told = _PART.fullmatch(name)
    return (name, 0) if told is None else (told[1], int(told[2]))
