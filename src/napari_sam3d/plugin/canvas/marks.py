"""Boxes, strokes and single voxels as lines: what of them a view shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.prompts import Box

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer


@dataclass(frozen=True)
class Cut:
    """The slice that is shown.

    Attributes
    ----------
    axis
        Across which it lies.
    at
        Where, in voxels; whole numbers at voxel centres.
    """

    axis: int
    at: float


def shown_of(layer: Layer, dims: Dims) -> tuple[bool, Cut | None]:
    """Whether a three-dimensional layer can be seen, and the slice that is, which 3D has not."""
    hidden = hidden_axes(dims.displayed, dims.ndim)
    if len(hidden) != 1:
        return not hidden, None
    (axis,) = hidden
    return True, Cut(axis, float(layer.world_to_data(dims.point)[axis]))


def hidden_axes(displayed: Iterable[int], ndim: int) -> set[int]:
    """Axes of a volume, the last three of `ndim`, that are not displayed."""
    return {0, 1, 2} - {axis - (ndim - 3) for axis in displayed}


def box_lines(box: Box, cut: Cut | None = None) -> np.ndarray:
    """The 12 edges of a box, (n, 2, 3), or the 4 sides of what a slice cuts out of it.

    They run along the outer faces of its voxels.
    """
    low, high = (np.array(corner, float) for corner in box.voxels())
    if cut is not None and not low[cut.axis] <= np.floor(cut.at + 0.5) <= high[cut.axis]:
        return np.empty((0, 2, 3))
    sides = np.stack([low - 0.5, high + 0.5], axis=1)
    if cut is not None:
        sides[cut.axis] = cut.at
    lines = []
    for axis in {0, 1, 2} - {None if cut is None else cut.axis}:
        begin = [sorted(set(side)) for side in sides.tolist()]
        begin[axis] = begin[axis][:1]
        for corner in product(*begin):
            lines.append((corner, (*corner[:axis], sides[axis, 1], *corner[axis + 1 :])))
    return np.array(lines, float)


def stroke_lines(positions: Sequence[Sequence[float]], cut: Cut | None = None) -> np.ndarray:
    """From voxel to voxel of a stroke, (n, 2, 3); of a slice, between those that it holds.

    In 3D the way is taken along one axis after the other: napari draws a line as two strips, and
    only for these none is ever seen from its side.
    """
    path = np.array(positions, float).reshape(-1, 3)
    ends = np.stack([path[:-1], path[1:]], axis=1)
    if cut is not None:
        held = _held(path, cut)
        ends = ends[held[:-1] & held[1:]]
        ends[:, :, cut.axis] = cut.at
        return ends
    corners = np.repeat(ends[:, :1], 4, axis=1)
    for axis in range(3):
        corners[:, axis + 1 :, axis] = ends[:, 1:, axis]
    steps = np.stack([corners[:, :-1], corners[:, 1:]], axis=2).reshape(-1, 2, 3)
    return steps[(steps[:, 0] != steps[:, 1]).any(1)]


def single_voxels(positions: Sequence[Sequence[float]], cut: Cut | None = None) -> np.ndarray:
    """The voxels of a stroke from which no line goes, (n, 3)."""
    path = np.array(positions, float).reshape(-1, 3)
    if cut is None:
        return path if len(path) == 1 else path[:0]
    held = np.concatenate([[False], _held(path, cut), [False]])
    return path[(held[1:-1] & ~held[:-2] & ~held[2:])]


def dot_lines(centers: np.ndarray, radius: float) -> np.ndarray:
    """Lines that look like a ball, from all sides, (n, 2, 3)."""
    lines = []
    for axis, others in enumerate(((1, 2), (0, 2), (0, 1))):
        for a, b in ((0, 0), (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)):
            line = np.zeros((2, 3))
            line[:, list(others)] = a, b
            line[:, axis] = np.array([-1, 1]) * np.sqrt(1 - a * a - b * b)
            lines.append(line)
    return (centers[:, None, None] + radius * np.array(lines)).reshape(-1, 2, 3)


def _held(path: np.ndarray, cut: Cut) -> np.ndarray:
    """Which voxels lie in the slice."""
    return np.asarray(np.floor(path[:, cut.axis] + 0.5) == np.floor(cut.at + 0.5))
