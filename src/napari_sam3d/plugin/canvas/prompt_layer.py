"""The Points layer that users click prompts into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Points
from napari.layers.base import ActionType
from psygnal import Signal

from napari_sam3d.plugin.canvas.clicking import Clicks
from napari_sam3d.plugin.canvas.marks_layer import MarksLayer
from napari_sam3d.plugin.canvas.tools import Tools
from napari_sam3d.plugin.layers.placing import transform
from napari_sam3d.prompts import Box, Point, Scribble
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

NAME = "SAM 3D prompts"
_LABELS = ("negative", "positive")
_SYMBOLS = {"positive": "cross", "negative": "hbar"}
_COLORS = {"positive": "lime", "negative": "red"}


class PromptLayer:
    """Turns the mouse into points, boxes and strokes, and points into a value.

    The layer has the transform of the image, so that its data are voxel coordinates. It stays a
    stock Points layer: select, move and delete work as everywhere in napari. Only what the left
    button does in add mode is replaced, by `clicks`. A second layer, `marks`, shows the rest.

    Parameters
    ----------
    image
        Layer whose transform is copied.
    volume
        The same image; points outside its grid are refused.
    viewer
        In which boxes, strokes and what is aimed at are shown; None for nowhere.

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
    boxed, scribbled
        Signals: the user drew a `Box`, or painted a `Scribble`.
    """

    edited = Signal()
    """The user added, moved, deleted or relabelled points."""
    refused = Signal(str)
    """What the user should know, such as why a click places nothing."""

    def __init__(self, image: Image, volume: Volume, viewer: ViewerModel | None = None) -> None:
        self.positive = self.takes_negative = True
        self.no_clicks = self.no_box = ""
        self._volume, self._muted = volume, False
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
        self.clicks.missed.connect(self._on_refused)
        self.marks = MarksLayer(viewer, self.layer, volume.grid.shape)
        self._tools = Tools(
            self.layer, self.clicks, self.marks, viewer, volume, self._kind, lambda: self.no_box
        )
        self._tools.pointed.connect(self.add)
        self._tools.refused.connect(self._on_refused)
        self.boxed, self.scribbled = self._tools.box.drawn, self._tools.scribble.drawn

    @property
    def tool(self) -> str:
        """What the mouse does: "point", "box" or "scribble"."""
        return self._tools.tool

    @tool.setter
    def tool(self, tool: str) -> None:
        self._tools.tool = tool

    @property
    def box_axis(self) -> int:
        """Across which the slice lay in which the last box was drawn."""
        return self._tools.box.axis

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of this; those that show boxes and strokes are there only if needed."""
        return (self.layer,) if self.marks.layer is None else (self.layer, self.marks.layer)

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
        """Put these in place of those that are shown, without `edited`."""
        self.marks.show(box, scribbles)
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
        """Leave stock layers behind, the one of boxes and strokes empty."""
        self.layer.mode = "pan_zoom"
        self._tools.close()
        self.marks.close()
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

    def _kind(self, other: bool) -> tuple[bool, str]:
        """What a click means, with Ctrl and without, and why the model does not take it."""
        positive = self.positive != other
        if self.no_clicks or positive or self.takes_negative:
            return positive, self.no_clicks
        return positive, "This model takes positive points only."

    def _on_refused(self, sentence: str) -> None:
        # not connected signal to signal: psygnal emits such a signal once, to learn its arguments
        self.refused.emit(sentence)

    def add(self, position_voxel: Sequence[float], positive: bool = True) -> None:
        """Add a point as a click does; `refused` when it is outside the image."""
        if not self._volume.grid.contains(position_voxel):
            self.refused.emit(f"That point is outside {self._volume.name}.")
            return
        sentence = self._kind(positive != self.positive)[1]
        if sentence:
            self.refused.emit(sentence)
            return
        label = _LABELS[positive]
        layer = self.layer
        # a selected point would be changed by what follows
        layer.selected_data = set()
        layer.feature_defaults = {"label": label}
        layer.current_symbol = _SYMBOLS[label]
        layer.add(position_voxel)
        layer.selected_data = set()
