"""The layer that shows boxes, strokes, and the voxel that a click would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Vectors

from napari_sam3d.plugin.canvas.marks import (
    box_lines,
    dot_lines,
    shown_of,
    single_voxels,
    stroke_lines,
)
from napari_sam3d.prompts import Box, Scribble
from napari_sam3d.volume import Point3

if TYPE_CHECKING:
    from napari.components import Dims, ViewerModel
    from napari.layers import Points

NAME = "SAM 3D boxes and strokes"
_COLORS = {True: (0.0, 1.0, 0.0, 1.0), False: (1.0, 0.0, 0.0, 1.0)}
_LINE_PX = 2.5
_DOT_PX = 4
"""Radius."""
_TILT = 1e-2
"""In pixels. napari draws a line in 3D as two strips; without it, both lie in one plane for lines
along two of the axes, and nothing of them is seen from the side."""


class MarksLayer:
    """Draws what is not a point, in 2D slices across any axis and in 3D.

    A stock Vectors layer that follows the view: what it holds is what is to be seen now. napari
    draws a line as wide as it is in data coordinates, so these are the world, in steps of the
    largest spacing (the sliders take the smallest of all layers), and not voxels.

    Parameters
    ----------
    viewer
        The viewer; without one, nothing is drawn.
    prompts
        Its transform is that of the voxels; the layer is made below it.
    shape
        Of the volume, in voxels.

    Attributes
    ----------
    layer
        None until there is something to show. One that the user removes is made anew.
    being_made
        napari makes every new layer the active one; this is while it does.
    """

    def __init__(
        self, viewer: ViewerModel | None, prompts: Points, shape: tuple[int, int, int]
    ) -> None:
        self.layer: Vectors | None = None
        self.being_made = False
        self._viewer = viewer
        self._prompts = prompts
        self._last = np.array(shape) - 1
        self._said: tuple[Box | None, tuple[Scribble, ...]] = (None, ())
        self._coming: Box | Scribble | None = None
        self._dot: tuple[Point3, bool] | None = None
        for event in self._events():
            event.connect(self._follow)

    def show(self, box: Box | None, scribbles: Sequence[Scribble] = ()) -> None:
        """Show these in place of those that were said before."""
        said = (box, tuple(scribbles))
        if said != self._said:
            self._said = said
            self._draw()

    def preview(self, coming: Box | Scribble | None) -> None:
        """Show what is being drawn, too."""
        if coming != self._coming:
            self._coming = coming
            self._draw()

    def dot(self, position_voxel: Point3 | None, positive: bool = True) -> None:
        """Show a voxel, in the colour of what a click would say of it."""
        dot = None if position_voxel is None else (position_voxel, positive)
        if dot != self._dot:
            self._dot = dot
            self._draw()

    def close(self) -> None:
        """Show nothing any more; the layer, if there is one, is left to the caller."""
        for event in self._events():
            event.disconnect(self._follow)
        self._said, self._coming, self._dot = (None, ()), None, None
        self._draw(anew=False)

    def _events(self) -> tuple:
        viewer, prompts = self._viewer, self._prompts
        if viewer is None:
            return ()
        dims, camera = viewer.dims.events, viewer.scene.camera.events
        moved = prompts.events.scale, prompts.events.translate, prompts.events.affine
        return dims.point, dims.order, dims.ndisplay, camera.zoom, *moved

    def _follow(self) -> None:
        # layers may be in the middle of being removed: none is made here
        self._draw(anew=False)

    def _draw(self, anew: bool = True) -> None:
        viewer = self._viewer
        if viewer is None:
            return
        pixel = 1 / viewer.scene.camera.zoom
        lines, colors = self._lines(pixel, viewer.dims)
        if self.layer is None or self.layer not in viewer.layers:
            if not (anew and len(lines)):
                return
            self._make(viewer)
        layer = self.layer
        assert layer is not None
        scale = float(layer.scale[0])
        width = _LINE_PX * pixel / scale
        if layer.edge_width != width:
            layer.edge_width = width
        if len(lines) or len(layer.data):
            # it is never larger than the image: no need for napari to lay out its sliders anew
            with layer.events.data.blocker():
                layer.data = np.stack([lines[:, 0], lines[:, 1] - lines[:, 0]], axis=1) / scale
        if len(lines) and not np.array_equal(layer.edge_color, colors):
            layer.edge_color = colors

    def _make(self, viewer: ViewerModel) -> None:
        layers, prompts = viewer.layers, self._prompts
        self.layer = Vectors(
            ndim=3,
            name=NAME,
            scale=(float(np.abs(self._steps()).max()),) * 3,
            units=prompts.units,
            axis_labels=prompts.axis_labels,
            vector_style="line",
            opacity=1,
            blending="translucent_no_depth",
        )
        self.being_made = True
        chosen, active = set(layers.selection), layers.selection.active
        layers.insert(layers.index(prompts) if prompts in layers else len(layers), self.layer)
        if active is None:
            layers.selection.clear()
            layers.selection.update(chosen)
        else:
            layers.selection.active = active
        self.being_made = False

    def _lines(self, pixel: float, dims: Dims) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the lines that are in view, in the world, (n, 2, 3), and their colours, (n, 4).

        Parameters
        ----------
        pixel
            Its size in the world.
        dims
            Of the viewer.
        """
        in_view, cut = shown_of(self._prompts, dims)
        if not in_view:
            return np.empty((0, 2, 3)), np.empty((0, 4))
        origin, step = np.asarray(self._prompts.data_to_world((0, 0, 0)), float), self._steps()
        box, scribbles = self._said
        dots: dict[bool, list] = {True: [], False: []}
        lines, kinds = [np.empty((0, 2, 3))], [True]
        for shape in (box, *scribbles, self._coming):
            if isinstance(shape, Box):
                lines.append(origin + box_lines(shape, cut) * step)
                kinds.append(True)
            elif isinstance(shape, Scribble):
                lines.append(origin + stroke_lines(shape.positions_voxel, cut) * step)
                kinds.append(shape.positive)
                dots[shape.positive].extend(single_voxels(shape.positions_voxel, cut))
        if self._dot is not None:
            dots[self._dot[1]].append(self._dot[0])
        for positive, voxels in dots.items():
            centers = origin + np.array(voxels, float).reshape(-1, 3) * step
            lines.append(dot_lines(centers, _DOT_PX * pixel))
            kinds.append(positive)
        colors = np.repeat([_COLORS[kind] for kind in kinds], [len(n) for n in lines], axis=0)
        ends = np.concatenate(lines)
        # what reached beyond the image would give napari's sliders more slices
        low, high = np.sort([origin, origin + self._last * step], axis=0)
        ends = np.clip(ends, low, high)
        if cut is None:
            inward = np.where(2 * ends[:, 1, 1] > (low + high)[1], -1, 1)
            ends[:, 1, 1] += _TILT * pixel * inward
        return ends, colors

    def _steps(self) -> np.ndarray:
        """World coordinates that one voxel along each axis takes."""
        return np.subtract(*(self._prompts.data_to_world((n,) * 3) for n in (1, 0)))
