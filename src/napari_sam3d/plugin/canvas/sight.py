"""A line of sight through the 3D view: where it runs in a layer, and the samples along it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3d.plugin.layers.arrays import level_of

if TYPE_CHECKING:
    from napari.layers import Image, Labels

_STEP = 0.5
"""Between samples, in voxels: the maximum of a blob is met to a quarter of a voxel."""
_PIECE = 64
"""Samples that are read as one box from arrays that know no other way."""


@dataclass(frozen=True)
class Sight:
    """What is under the cursor in the 3D view: a line in world coordinates.

    Attributes
    ----------
    position
        A point on the line; along the axes that are not displayed, where the sliders stand.
    direction
        Away from the viewer, of length one.
    displayed
        The three displayed axes.
    """

    position: np.ndarray
    direction: np.ndarray
    displayed: tuple[int, ...]

    @classmethod
    def of(cls, event: Any) -> Sight | None:
        """The line of sight of a mouse event of napari; None in the 2D view."""
        displayed = tuple(int(axis) for axis in event.dims_displayed)
        if event.view_direction is None or len(displayed) != 3:
            return None
        position = np.array(event.dims_point, float)
        position[list(displayed)] = np.asarray(event.position, float)[list(displayed)]
        return cls(position, np.asarray(event.view_direction, float), displayed)


@dataclass(frozen=True)
class Ray:
    """The part of a line of sight that runs through a layer, in its voxel coordinates.

    Attributes
    ----------
    near
        Where it enters, (layer.ndim,); whole numbers are voxel centres.
    far
        Where it leaves.
    axes
        The displayed axes of the layer, in the order in which they are displayed.
    """

    near: np.ndarray
    far: np.ndarray
    axes: tuple[int, ...]

    def at(self, fraction: float | np.ndarray) -> np.ndarray:
        """Points at these fractions of the way, (..., layer.ndim)."""
        return self.near + np.multiply.outer(fraction, self.far - self.near)

    def around(self, fraction: float, reach: float) -> Ray:
        """The piece this many voxels to both sides of a point."""
        share = reach / max(float(np.linalg.norm(self.far - self.near)), 1e-9)
        ends = np.clip([fraction - share, fraction + share], 0, 1)
        return Ray(self.at(ends[0]), self.at(ends[1]), self.axes)


def cross(layer: Image | Labels, sight: Sight) -> Ray | None:
    """Where a line of sight runs through a layer, less what its clipping planes hide.

    None where it misses the layer, or the layer is not three-dimensional in this view.
    """
    shape = level_of(layer).shape
    axes = tuple(axis - (len(sight.position) - layer.ndim) for axis in sight.displayed)
    if min(axes) < 0:
        return None
    start = np.asarray(layer.world_to_data(sight.position), float)
    along = np.asarray(layer.world_to_data(sight.position + sight.direction), float) - start
    for axis in set(range(layer.ndim)) - set(axes):
        if not -0.5 <= start[axis] < shape[axis] - 0.5:
            return None  # a time step that the layer does not have
        along[axis] = 0
    # keep what is beyond all of these: start[axis] + t * along[axis] >= -0.5, and so on
    kept = [(along[axis], -0.5 - start[axis]) for axis in axes]
    kept += [(-along[axis], start[axis] - shape[axis] + 0.5) for axis in axes]
    displayed = list(sight.displayed)
    for plane in layer.experimental_clipping_planes:
        if plane.enabled:
            # in displayed world coordinates, whatever its docstring says (napari#3874)
            normal = np.asarray(plane.normal, float)
            behind = np.asarray(plane.position, float) - sight.position[displayed]
            kept.append((normal @ sight.direction[displayed], normal @ behind))
    near, far = -np.inf, np.inf
    for slope, offset in kept:
        if abs(slope) < 1e-12:
            if offset > 0:
                return None
        elif slope > 0:
            near = max(near, offset / slope)
        else:
            far = min(far, offset / slope)
    if not near < far < np.inf:
        return None
    return Ray(start + near * along, start + far * along, axes)


@dataclass(frozen=True)
class Samples:
    """Values along a ray.

    Attributes
    ----------
    values
        As many as there are samples, near ones first.
    fractions
        Where they were taken, of the way along the ray.
    step
        Between two of them, in voxels of the level.
    """

    values: np.ndarray
    fractions: np.ndarray
    step: float


def sample(layer: Image | Labels, level: int, ray: Ray, linear: bool) -> Samples:
    """What lies along a ray, as a graphics card reads it.

    Parameters
    ----------
    layer
        Its array may be of any kind; no more of it is read than what the ray touches.
    level
        Of a multiscale layer, else 0.
    ray
        In voxels of level 0, as from `cross`.
    linear
        Whether to interpolate; else the nearest voxel is taken.
    """
    data = level_of(layer, level)
    near, far = (to_level(layer, level, end) for end in (ray.near, ray.far))
    length = float(np.linalg.norm(far - near))
    count = math.ceil(length / _STEP) + 1
    fractions = np.linspace(0, 1, count)
    points = near[:, None] + (far - near)[:, None] * fractions
    last = np.array(data.shape[: layer.ndim])[:, None] - 1
    index = np.clip(np.rint(points).astype(int), 0, last)
    if linear:
        axes = list(ray.axes)
        inside = np.clip(points[axes], 0, last[axes])
        low = np.floor(inside).astype(int)
        share = (inside - low)[:, None]  # (3, 1, n)
        index = np.repeat(index[:, None], 8, 1)  # (ndim, corners, n)
        index[axes] = np.minimum(low[:, None] + _CORNERS[:, :, None], last[axes][:, None])
        weights = np.where(_CORNERS[:, :, None], share, 1 - share).prod(0)
        corners = _take(data, index.reshape(layer.ndim, -1)).reshape(weights.shape)
        values = (corners * weights).sum(0)
    else:
        values = _take(data, index)
    return Samples(values, fractions, length / max(count - 1, 1))


_CORNERS = np.indices((2, 2, 2)).reshape(3, 8)


def to_level(layer: Image | Labels, level: int, voxel: np.ndarray) -> np.ndarray:
    """Voxel coordinates in a level of a multiscale layer, from those in level 0."""
    if not level:
        return voxel
    return (voxel + 0.5) / layer.downsample_factors[level] - 0.5


def _take(data: Any, index: np.ndarray) -> np.ndarray:
    """Voxels of an array by their indices, (ndim, n), neighbours next to each other."""
    if isinstance(data, np.ndarray):
        return np.asarray(data[tuple(index)])
    if hasattr(data, "vindex"):  # dask and zarr read the chunks that are touched
        return np.asarray(data.vindex[tuple(index)])
    pieces = []
    for start in range(0, index.shape[1], _PIECE):
        piece = index[:, start : start + _PIECE]
        low, high = piece.min(1), piece.max(1) + 1
        box = np.asarray(data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
        pieces.append(box[tuple(piece - low[:, None])])
    return np.concatenate(pieces)
