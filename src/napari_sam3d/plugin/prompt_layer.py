"""The Points layer that users click prompts into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Points
from napari.layers.base import ActionType
from psygnal import Signal

from napari_sam3d.plugin.clicking import Clicks
from napari_sam3d.prompts import Box, Point, Scribble
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.layers import Image, Layer

NAME = "SAM 3D prompts"
_LABELS = ("negative", "positive")
_SYMBOLS = {"positive": "cross", "negative": "hbar"}
_COLORS = {"positive": "lime", "negative": "red"}


class PromptLayer:
    """Turns clicks into points, and points into a value.

    The layer has the transform of the image, so that its data are voxel coordinates. It stays a
    stock Points layer: select, move and delete work as everywhere in napari. Only what a click in
    add mode does is replaced, by `clicks`.

    Parameters
    ----------
    image
        Layer whose transform is copied.
    volume
        The same image; points outside its grid are refused.

    Attributes
    ----------
    clicks
        The mouse, in 2D and 3D.
    positive
        What a click means.
    takes_negative
        Whether the model knows negative points.
    no_clicks
        Why the model knows no points at all; empty when it does.
    no_box
        Why the model knows no box; empty when it does.
    """

    edited = Signal()
    """The user added, moved, deleted or relabelled points."""
    boxed = Signal(Box)
    """The user drew a box."""
    scribbled = Signal(Scribble)
    """The user painted a stroke."""
    refused = Signal(str)
    """A click that places nothing, and why."""

    def __init__(self, image: Image, volume: Volume) -> None:
        self.positive = True
        self.takes_negative = True
        self.no_clicks = self.no_box = ""
        self._volume = volume
        self._muted = False
        self.layer = Points(
            ndim=3,
            name=NAME,
            features=pd.DataFrame({"label": pd.Categorical([], categories=list(_LABELS))}),
            feature_defaults={"label": "positive"},
            face_color="label",
            face_color_cycle=_COLORS,
            border_color="black",
            border_width=0.05,
            symbol="cross",
            size=max(5, max(volume.grid.shape) / 25),
            # px; a lower limit near the upper one would draw borders only (vispy 0.17)
            canvas_size_limits=(2, 20),
            projection_mode="all",
            blending="translucent_no_depth",  # in 3D a mask would hide the points inside it
            **transform(image),
        )
        self.layer.events.data.connect(self._on_data)
        self.layer.events.features.connect(self._on_features)
        self.clicks = Clicks(self.layer, image)
        self.clicks.clicked.connect(self._on_clicked)
        self.clicks.missed.connect(self._on_missed)

    def points(self) -> tuple[Point, ...]:
        """The points as they are in the layer, oldest first."""
        labels = self.layer.features["label"]
        return tuple(
            Point((float(z), float(y), float(x)), label != "negative")
            for (z, y, x), label in zip(self.layer.data, labels, strict=True)
        )

    def show(
        self,
        points: tuple[Point, ...],
        box: Box | None = None,
        scribbles: Sequence[Scribble] = (),
    ) -> None:
        """Put these points in place of those in the layer, without `edited`."""
        labels = [_LABELS[point.positive] for point in points]
        positions = np.array([point.position_voxel for point in points], float).reshape(-1, 3)
        self._muted = True
        try:
            self.layer.selected_data = set()
            self.layer.data = positions
            self.layer.features = pd.DataFrame(
                {"label": pd.Categorical(labels, categories=list(_LABELS))}
            )
            self.layer.refresh_colors()
            if labels:
                self.layer.symbol = [_SYMBOLS[label] for label in labels]
        finally:
            self._muted = False

    def arm(self) -> None:
        """Make a click add a point."""
        self.layer.mode = "add"

    def close(self) -> None:
        """Leave a stock Points layer behind."""
        self.layer.mode = "pan_zoom"
        self.clicks.close()
        self.layer.events.data.disconnect(self._on_data)
        self.layer.events.features.disconnect(self._on_features)

    def _on_data(self, event: Any) -> None:
        done = (ActionType.ADDED, ActionType.REMOVED, ActionType.CHANGED)
        if event.action in done and not self._muted:
            self.edited.emit()

    def _on_features(self) -> None:
        # napari resizes features in the middle of an edit; that edit reports itself when done
        if not self._muted and len(self.layer.features) == len(self.layer.data):
            self.edited.emit()

    def _on_clicked(self, voxel: np.ndarray, other: bool) -> None:
        """Ctrl gives the other kind of point."""
        self.add(voxel.tolist(), self.positive != other)

    def _on_missed(self, sentence: str) -> None:
        # not connected signal to signal: psygnal emits such a signal once, to learn its arguments
        self.refused.emit(sentence)

    def add(self, position_voxel: Sequence[float], positive: bool = True) -> None:
        """Add a point as a click does; `refused` when it is outside the image."""
        if not self._volume.grid.contains(position_voxel):
            self.refused.emit(f"That point is outside {self._volume.name}.")
            return
        if self.no_clicks:
            self.refused.emit(self.no_clicks)
            return
        if not positive and not self.takes_negative:
            self.refused.emit("This model takes positive points only.")
            return
        label = _LABELS[positive]
        layer = self.layer
        # a selected point would be changed by what follows
        layer.selected_data = set()
        layer.feature_defaults = {"label": label}
        layer.current_symbol = _SYMBOLS[label]
        layer.add(position_voxel)
        layer.selected_data = set()


def follow(layer: Layer, image: Image) -> None:
    """Give a layer the transform of an image."""
    for key, value in transform(image).items():
        setattr(layer, key, value)


def moves(image: Image) -> tuple:
    """The events of an image that moves."""
    return image.events.scale, image.events.translate, image.events.affine


def transform(layer: Image) -> dict[str, Any]:
    """What places a layer in the world, as keyword arguments for another layer."""
    keys = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {key: getattr(layer, key) for key in keys}
