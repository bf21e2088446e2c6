"""The box tool: a rectangle in a slice with a depth, or two opposite corners."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from psygnal import Signal

from napari_sam3d.prompts import Box
from napari_sam3d.volume import Grid


class BoxTool:
    """Boxes by the mouse.

    Parameters
    ----------
    grid
        Of the volume; boxes are cut off where they reach beyond it.
    name
        Of the volume, for sentences.
    obstacle
        Why no box can be said now; empty when one can.

    Attributes
    ----------
    first
        The voxel of the first of two corners.
    axis
        Across which the slice lay in which the last box was drawn.
    """

    drawn = Signal(Box)
    coming = Signal(object)
    """The box that would be drawn now; None without one."""
    refused = Signal(str)

    def __init__(self, grid: Grid, name: str, obstacle: Callable[[], str]) -> None:
        self.first: np.ndarray | None = None
        self.axis = 0
        self._grid, self._name, self._obstacle = grid, name, obstacle
        self._press: tuple[np.ndarray, int] | None = None
        self._box: Box | None = None

    def begin(self, voxel: np.ndarray, axis: int, control: bool) -> bool:
        """A press in a slice across an axis; False when no box may be drawn."""
        if self._is_refused(self._obstacle()):
            return False
        self._press, self._box = (voxel, axis), None
        return True

    def move(self, voxel: np.ndarray) -> None:
        """The drag goes on."""
        if self._press is not None:
            start, axis = self._press
            self._box = deep_box(start, voxel, axis, self._grid)
            self.coming.emit(self._box)

    def end(self, dragged: bool) -> None:
        """The release, after a drag or at the place of the press."""
        if self._press is None:
            return
        axis, self._press = self._press[1], None
        if dragged:
            self._finish(self._box, axis)

    def corner(self, voxel: np.ndarray, axis: int | None) -> None:
        """A click, in a slice across an axis or in 3D: the first corner, or the second."""
        outside = (
            "" if self._grid.contains(voxel.tolist()) else f"That corner is outside {self._name}."
        )
        if self._is_refused(self._obstacle() or outside):
            return
        if self.first is None:
            self.first = voxel
            self.coming.emit(_box(voxel, voxel))
        else:
            self._finish(self._between(voxel, axis), 0 if axis is None else axis)

    def hover(self, voxel: np.ndarray | None, axis: int | None) -> None:
        """The mouse moves: show the box up to there."""
        if self.first is not None and self._press is None:
            if voxel is None or not self._grid.contains(voxel.tolist()):
                voxel = self.first
            self.coming.emit(self._between(voxel, axis))

    def give_up(self) -> None:
        """Forget the corner and the drag."""
        self.first = self._press = self._box = None
        self.coming.emit(None)

    def _between(self, voxel: np.ndarray, axis: int | None) -> Box | None:
        """The box with the first corner; two in one slice are as a drag in it."""
        assert self.first is not None
        if axis is not None and voxel[axis] == self.first[axis]:
            return deep_box(self.first, voxel, axis, self._grid)
        return _box(self.first, voxel)

    def _finish(self, box: Box | None, axis: int) -> None:
        self.give_up()
        if not self._is_refused("" if box else f"That box is outside {self._name}.") and box:
            self.axis = axis
            self.drawn.emit(box)

    def _is_refused(self, sentence: str) -> bool:
        if sentence:
            self.refused.emit(sentence)
        return bool(sentence)


def deep_box(start: np.ndarray, end: np.ndarray, axis: int, grid: Grid) -> Box | None:
    """The box about a rectangle in a slice, None when it lies outside the grid.

    It is about as deep, in millimetres, as the shorter edge of the rectangle is long: as many
    slices to both sides, as far as there are any.

    Parameters
    ----------
    start, end
        Voxels in opposite corners; the first says which slice it is.
    axis
        Across which the slice lies.
    grid
        Of the volume.
    """
    low, high = np.minimum(start, end), np.maximum(start, end)
    edges = (high - low + 1) * np.array(grid.spacing)
    shorter = np.delete(edges, axis).min()
    more = max(0, round((shorter / grid.spacing[axis] - 1) / 2))
    low[axis], high[axis] = start[axis] - more, start[axis] + more
    last = np.array(grid.shape) - 1
    if not 0 <= start[axis] <= last[axis] or (high < 0).any() or (low > last).any():
        return None
    return _box(np.maximum(low, 0), np.minimum(high, last))


def _box(a: np.ndarray, b: np.ndarray) -> Box:
    (z, y, x), high = np.minimum(a, b).tolist(), np.maximum(a, b).tolist()
    return Box((z, y, x), tuple(high))
