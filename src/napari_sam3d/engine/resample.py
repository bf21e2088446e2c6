"""Moving images between grids, and the intensities a network is given."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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
        (z, y, x) array on `source`, any real dtype.
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
    block = image[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    values = _as_float(block)
    offset = offset - start

    if average and not nearest:
        factors = [max(1, min(int(s + 1e-6), n)) for s, n in zip(step, values.shape, strict=True)]
        if max(factors) > 1:
            values = _average(values, factors)
            shrink = np.asarray(factors, float)
            linear = linear / shrink[:, None]
            offset = (offset - (shrink - 1) / 2) / shrink

    if np.abs(linear - np.diag(np.diag(linear))).max() < _ALIGNED:
        out = values
        for axis in range(3):
            out = _interpolate_axis(
                out, axis, linear[axis, axis], offset[axis], target.shape[axis], nearest
            )
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


def _as_float(block: np.ndarray | Tensor) -> Tensor:
    if isinstance(block, Tensor):
        return block.float()
    return torch.from_numpy(np.ascontiguousarray(block, dtype=np.float32))


def _average(values: Tensor, factors: list[int]) -> Tensor:
    """Mean over blocks; the last block of an axis is filled up by repeating the border."""
    pad: list[int] = []
    for n, f in zip(reversed(values.shape), reversed(factors), strict=True):
        pad += [0, -n % f]
    padded = F.pad(values[None, None], pad, mode="replicate")
    return F.avg_pool3d(padded, tuple(factors))[0, 0]


def _interpolate_axis(
    values: Tensor, axis: int, step: float, first: float, length: int, nearest: bool
) -> Tensor:
    position = first + step * torch.arange(length, dtype=torch.float64, device=values.device)
    last = values.shape[axis] - 1
    if nearest:
        return values.index_select(axis, (position + 0.5).floor().clamp(0, last).long())
    position = position.clamp(0, last)
    low = position.floor().clamp(max=max(last - 1, 0)).long()
    weight = (position - low).float().view([-1 if i == axis else 1 for i in range(3)])
    below = values.index_select(axis, low)
    above = values.index_select(axis, (low + 1).clamp(max=last))
    return torch.lerp(below, above, weight.expand_as(below))


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
