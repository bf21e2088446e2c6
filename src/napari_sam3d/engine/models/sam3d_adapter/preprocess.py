"""3DSAM-adapter's way from a stored volume to a patch and from a patch to a mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.engine.models.sam3d_adapter.tasks import Task

_ANISOTROPIC = 8.0  # largest over smallest spacing from which slices are resampled first
_THRESHOLD = 0.5


def prepare(stored: Tensor, spacing: tuple[float, float, float], task: Task) -> Tensor:
    """Normalised image (d, h, w) of 1 mm voxels from an array as NIfTI stores it.

    Parameters
    ----------
    stored
        Array in its stored order; orientation is not looked at, as in the released code.
    spacing
        Voxel sizes of the stored axes, in millimetres.
    task
        Order of axes and intensities.
    """
    image = torch.nan_to_num(stored.float(), nan=0.0).permute(task.axes)
    return normalise(to_millimetres(image, tuple(spacing[axis] for axis in task.axes)), task)


def to_millimetres(image: Tensor, spacing: tuple[float, ...]) -> Tensor:
    """Image (d, h, w) resampled to voxels of 1 mm; the size is rounded down.

    Parameters
    ----------
    image
        (d, h, w).
    spacing
        Voxel sizes along (d, h, w), in millimetres.
    """
    deep, high, wide = (float(s) for s in spacing)
    stages = [(deep, high, wide)]
    if max(spacing) / min(spacing) > _ANISOTROPIC:
        stages = [(1.0, high, wide), (deep, 1.0, 1.0)]
    out = image[None, None]
    for scale in stages:
        # kept for parity: positions follow the spacing itself, not the rounded size
        out = F.interpolate(out, scale_factor=scale, mode="trilinear", align_corners=False)
    return out[0, 0]


def normalise(image: Tensor, task: Task) -> Tensor:
    """Intensities clipped and scaled by the constants of the task."""
    return (image.clamp(*task.clip) - task.mean) / task.std


@dataclass(frozen=True, eq=False)
class Crop:
    """A patch (d, h, w), its first voxel in the image, and the points (n, 3) within it."""

    patch: Tensor
    start: tuple[int, int, int]
    points: Tensor


def crop(image: Tensor, points: Tensor, size: int) -> Crop:
    """The patch around points, filled up with zeros where it leaves the image.

    Zero is the mean intensity after `normalise`. A point may lie outside of the patch when the
    points are further apart than it is wide.

    Parameters
    ----------
    image
        (d, h, w).
    points
        (n, 3) whole voxels (d, h, w) of the image.
    size
        Voxels of the patch along each axis.
    """
    centre = (points.amax(0) + points.amin(0)) // 2
    first = centre.long() - size // 2
    d, h, w = (int(v) for v in first)
    patch = image.new_zeros(size, size, size)
    outer, inner = _overlap((d, h, w), size, image.shape)
    patch[inner] = image[outer]
    return Crop(patch, (d, h, w), points - first)


def paste(
    values: Tensor, start: tuple[int, int, int], shape: tuple[int, ...] | torch.Size
) -> Tensor:
    """An image (d, h, w) of `shape` that is zero but for a patch that begins at `start`."""
    out = values.new_zeros(shape)
    outer, inner = _overlap(start, values.shape[0], shape)
    out[outer] = values[inner]
    return out


def to_native(chance: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Mask (d, h, w) on the stored grid from probabilities on the grid of 1 mm."""
    return native_chance(chance, shape) > _THRESHOLD


def native_chance(chance: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Probabilities resampled to another number of voxels of the same box."""
    return F.interpolate(chance[None, None], shape, mode="trilinear", align_corners=False)[0, 0]


def prompt_labels(labels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Labels (d, h, w) on the grid of the resampled image, from which test points are drawn."""
    return F.interpolate(labels[None, None].float(), shape, mode="nearest")[0, 0]


def _overlap(
    start: tuple[int, int, int], size: int, shape: tuple[int, ...] | torch.Size
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a patch meets the image, in voxels of the image and of the patch."""
    low = [max(a, 0) for a in start]
    high = [max(low[i], min(a + size, shape[i])) for i, a in enumerate(start)]
    outer = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    inner = tuple(slice(a - first, b - first) for a, b, first in zip(low, high, start, strict=True))
    return outer, inner
