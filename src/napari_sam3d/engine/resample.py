"""Moving images between grids, and the intensities a network is given."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.engine.pieces import PIECE, averaged, picked, read
from napari_sam3d.volume import Grid

_ALIGNED = 1e-6  # voxels of shear or rotation per voxel below which two grids share their axes


def resample(
    image: np.ndarray | Tensor,
    source: Grid,
    target: Grid,
    *,
    fill: float | None = None,
    nearest: bool = False,
    average: bool = True,
) -> Tensor:
    """Values of `image` at the voxel centres of `target`, by trilinear interpolation.

    Only the part of `image` that `target` covers is read. Where the target is coarser, source
    voxels are averaged first, so that nothing is skipped.

    Parameters
    ----------
    image
        (z, y, x) array on `source`, any real dtype; it may be a dask array, whose chunks are read
        a few at a time.
    source, target
        Grids with one world.
    fill
        Value outside the source; None continues the border.
    nearest
        Take the closest voxel instead, for label maps.
    average
        Whether to average; released networks were trained on images where it was not done.

    Returns
    -------
    Tensor
        float32, shape `target.shape`, on the device of `image` (CPU for arrays).
    """
    to_source = source.inverse @ target.affine
    linear, offset = to_source[:3, :3], to_source[:3, 3]
    last = np.asarray(target.shape) - 1
    corners = np.array(np.meshgrid(*[(0, n) for n in last], indexing="ij")).reshape(3, -1).T
    reach = corners @ linear.T + offset
    step = np.abs(linear).sum(1)  # source voxels passed per target voxel, per source axis
    margin = np.ceil(step).astype(int)
    start = np.clip(np.floor(reach.min(0)).astype(int) - margin, 0, np.asarray(source.shape) - 1)
    stop = np.clip(np.ceil(reach.max(0)).astype(int) + margin + 1, start + 1, source.shape)
    aligned = np.abs(linear - np.diag(np.diag(linear))).max() < _ALIGNED
    size = stop - start
    factors = [1, 1, 1]
    if average and not nearest:
        factors = [max(1, min(int(s + 1e-6), int(n))) for s, n in zip(step, size, strict=True)]
    offset = offset - start
    ways = []
    if max(factors) > 1:
        values = averaged(image, start, stop, factors)
        shrink = np.asarray(factors, float)
        linear = linear / shrink[:, None]
        offset = (offset - (shrink - 1) / 2) / shrink
        size = np.asarray(values.shape)
    if aligned:
        ways = [
            _Way.along(linear[i, i], offset[i], target.shape[i], int(size[i]), nearest)
            for i in range(3)
        ]
    if max(factors) == 1 and ways and size.prod() > PIECE and not isinstance(image, Tensor):
        planes = [way.planes() for way in ways]
        values = picked(image, [p + a for p, a in zip(planes, start, strict=True)])
        ways = [way.among(p) for way, p in zip(ways, planes, strict=True)]
    elif max(factors) == 1:
        values = read(image, start, stop)
    if ways:
        out = values
        for axis, way in enumerate(ways):
            out = way.interpolate(out, axis)
    else:
        out = _interpolate_affine(values, linear, offset, target.shape, nearest)
    if fill is not None:
        _fill_outside(out, to_source, source.shape, fill)
    return out


def inside(source: Grid, target: Grid) -> Tensor:
    """Which voxels of `target` have their centre in `source`, bool."""
    out = torch.ones(target.shape)
    _fill_outside(out, source.inverse @ target.affine, source.shape, 0.0)
    return out > 0


@dataclass(frozen=True, eq=False)
class _Way:
    """Between which voxels of an axis each new one lies.

    Parameters
    ----------
    low, above
        Their indices.
    weight
        How much of the second; None for nothing.
    """

    low: np.ndarray
    above: np.ndarray
    weight: np.ndarray | None

    @classmethod
    def along(cls, step: float, first: float, length: int, size: int, nearest: bool) -> _Way:
        """New voxels at `first`, `first + step`, ... of an axis of `size` voxels."""
        position = first + step * np.arange(length)
        last = size - 1
        if nearest:
            closest = np.clip(np.floor(position + 0.5), 0, last).astype(int)
            return cls(closest, closest, None)
        position = np.clip(position, 0, last)
        low = np.minimum(np.floor(position), max(last - 1, 0)).astype(int)
        return cls(low, np.minimum(low + 1, last), position - low)

    def planes(self) -> np.ndarray:
        """Indices that are needed, rising."""
        return np.union1d(self.low, self.above)

    def among(self, planes: np.ndarray) -> _Way:
        """The same way through an array of these planes alone."""
        return replace(
            self, low=np.searchsorted(planes, self.low), above=np.searchsorted(planes, self.above)
        )

    def interpolate(self, values: Tensor, axis: int) -> Tensor:
        low, above = (torch.as_tensor(i, device=values.device) for i in (self.low, self.above))
        below = values.index_select(axis, low)
        if self.weight is None:
            return below
        weight = torch.as_tensor(self.weight, dtype=torch.float32, device=values.device)
        shape = [-1 if i == axis else 1 for i in range(3)]
        return torch.lerp(
            below, values.index_select(axis, above), weight.view(shape).expand_as(below)
        )


def _interpolate_affine(
    values: Tensor, linear: np.ndarray, offset: np.ndarray, shape: tuple[int, ...], nearest: bool
) -> Tensor:
    axes = [torch.arange(n, dtype=torch.float64, device=values.device) for n in shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    position = index @ torch.as_tensor(linear.T).to(index) + torch.as_tensor(offset).to(index)
    size = torch.tensor(values.shape, dtype=torch.float64, device=values.device)
    grid = ((2 * position + 1) / size - 1).flip(-1)  # grid_sample wants (x, y, z)
    mode = "nearest" if nearest else "bilinear"
    sampled = F.grid_sample(
        values[None, None],
        grid[None].float(),
        mode=mode,
        padding_mode="border",
        align_corners=False,
    )
    return sampled[0, 0]


def _fill_outside(out: Tensor, to_source: np.ndarray, shape: tuple[int, ...], fill: float) -> None:
    linear = to_source[:3, :3]
    if np.abs(linear - np.diag(np.diag(linear))).max() < _ALIGNED:
        for axis, n in enumerate(out.shape):
            position = to_source[axis, 3] + linear[axis, axis] * np.arange(n)
            outside = np.flatnonzero((position < -0.5) | (position >= shape[axis] - 0.5))
            out.index_fill_(axis, torch.as_tensor(outside, device=out.device), fill)
        return
    index = np.stack(np.meshgrid(*[np.arange(n) for n in out.shape], indexing="ij"), -1)
    position = index @ linear.T + to_source[:3, 3]
    outside = ((position < -0.5) | (position >= np.asarray(shape) - 0.5)).any(-1)
    out[torch.as_tensor(outside, device=out.device)] = fill


def normalise(patch: Tensor) -> Tensor:
    """Intensities clipped at their 0.5 and 99.5 percentiles, then mean 0 and deviation 1.

    Not-a-number becomes the median. The percentiles are taken from at most some 30,000 voxels.
    """
    finite = torch.isfinite(patch)
    if not bool(finite.all()):
        known = patch[finite]
        patch = torch.where(finite, patch, known.median() if known.numel() else patch.new_zeros(()))
    sample = patch.flatten()[:: max(1, math.ceil(patch.numel() / 30_000))]
    low, high = torch.quantile(sample, torch.tensor([0.005, 0.995], device=patch.device))
    clipped = patch.clamp(low, high)
    return (clipped - clipped.mean()) / clipped.std().clamp(min=1e-6)
