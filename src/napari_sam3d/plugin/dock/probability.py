"""How likely voxels belong to the current object, as a layer: a part of the Segment dock."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_sam3d.plugin.layers.placing import transform
from napari_sam3d.prompts import Found

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_sam3d.engine.prediction import Prediction
    from napari_sam3d.plugin.session.session import Session
    from napari_sam3d.volume import Grid, Window

_LOG = logging.getLogger(__name__)
PROBABILITY = "napari_sam3d_probability"
"""Key in the metadata of the layer."""
_NOT_GRADED = "This model says yes or no to each voxel; there is no probability to show."


class ProbabilityLayer(QWidget):
    """A check box, and the layer that it stands for.

    The layer has the voxels about the object only. It is made of what the model has said, in a
    thread, and follows the current object.

    Parameters
    ----------
    session
        Whose current object is shown.
    viewer
        Where.
    """

    said = Signal(str)
    """Why nothing is shown."""
    _done = Signal(object, object)

    def __init__(self, session: Session, viewer: ViewerModel) -> None:
        super().__init__()
        self._session, self._viewer = session, viewer
        self.layer: Image | None = None
        self._logits: np.ndarray | None = None
        self.box = QCheckBox("Show probability")
        self.box.setToolTip(
            "A layer of how likely each voxel belongs to this object, by the model's own judgement"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        self._pool = ThreadPoolExecutor(1, "napari-sam3d-probability")
        # one look at the end of what may be many changes
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._look)
        self._done.connect(self._on_done)
        self.box.toggled.connect(self._soon)
        session.changed.connect(self._soon)
        session.mask_changed.connect(self._soon)
        viewer.layers.events.removed.connect(self._on_removed)

    def close_layer(self) -> None:
        """End the thread, leave the session alone and take the layer out of the viewer."""
        self._session.changed.disconnect(self._soon)
        self._session.mask_changed.disconnect(self._soon)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._later.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._remove()

    def _soon(self, *_: Any) -> None:
        self._later.start()

    def _look(self) -> None:
        session = self._session
        shown = session.object.shown if self.box.isChecked() else None
        if shown is None or isinstance(shown, Found) or session.volume is None:
            self._logits = None
            self._remove()
        elif shown.logits is not self._logits:
            self._logits = shown.logits
            if shown.graded:
                future = self._pool.submit(_compute, shown, session.volume.grid)
                future.add_done_callback(partial(self._tell, shown.logits))
            else:
                self._remove()
                self.said.emit(_NOT_GRADED)

    def _tell(self, logits: np.ndarray, future: Future) -> None:
        """In the thread: hand the result over."""
        if future.cancelled():
            return
        failed = future.exception()
        if failed is not None:
            _LOG.error("The probability cannot be shown", exc_info=failed)
            return
        try:
            self._done.emit(logits, future.result())
        except RuntimeError:
            pass  # the window was closed meanwhile

    def _on_done(self, logits: np.ndarray, result: tuple[np.ndarray, Window]) -> None:
        if logits is self._logits and self._session.labels is not None:
            self._show(*result)

    def _show(self, block: np.ndarray, window: Window) -> None:
        """Show a block where it lies, without a word about which layer is selected."""
        image, labels = self._session.image, self._session.labels
        if block.size == 0 or image is None or labels is None:
            self._remove()
            return
        placed = transform(labels)
        start = [float(s.start) for s in window]
        shift = np.subtract(labels.data_to_world(start), labels.data_to_world([0.0] * 3))
        placed["translate"] = labels.translate + np.linalg.solve(labels.affine.linear_matrix, shift)
        if self.layer is not None and not _turned_alike(self.layer, labels):
            self._remove()
        if self.layer is not None:
            self.layer.data = block
            if not np.array_equal(self.layer.translate, placed["translate"]):
                self.layer.translate = placed["translate"]  # each such line draws it again
            return
        self.layer = Image(
            block,
            name=f"{image.name}_prob",
            colormap="viridis",
            blending="translucent",
            opacity=0.5,
            contrast_limits=(0, 1),
            metadata={PROBABILITY: True},
            **placed,
        )
        layers = self._viewer.layers
        active = layers.selection.active
        layers.insert(layers.index(labels) if labels in layers else len(layers), self.layer)
        layers.selection.active = active

    def _remove(self) -> None:
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_removed(self, event: Any) -> None:
        if self.layer is not None and self.layer == event.value:
            self.layer = self._logits = None
            self.box.setChecked(False)


def _turned_alike(one: Layer, other: Layer) -> bool:
    """Whether two layers are placed alike, up to a shift."""
    return np.allclose(one.affine.affine_matrix, other.affine.affine_matrix) and all(
        np.allclose(getattr(one, key), getattr(other, key)) for key in ("scale", "rotate", "shear")
    )


def _compute(prediction: Prediction, grid: Grid) -> tuple[np.ndarray, Window]:
    from napari_sam3d.engine.prediction import probability

    return probability(prediction, grid)
