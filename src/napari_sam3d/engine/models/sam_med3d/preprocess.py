"""Crops of SAM-Med3D: 1.5 mm voxels, canonical axes, 128 a side, normalised, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nibabel.orientations import io_orientation
from torch import Tensor

from napari_sam3d.engine.models.sam_med3d.crops import SIZE

SPACING = 1.5
"""Voxel size the network was trained with, in millimetres."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """The whole image at the network's voxel size, in canonical axes, without its voxels.

    What torchio 0.20.6 makes of an image with `Resample` and then `ToCanonical`, which the released
    scripts call (infer_utils, f3de1fa); later versions of it give another lattice. The first corner
    of the image, in the order of its file, stays where it is. Oblique images stay oblique. What
    lies exactly midway between voxels, or exactly on the rim of the image, goes up here; in ITK
    its rounding errors decide.

    Parameters
    ----------
    source_shape, source_affine
        Of the image: its shape, and the 4 x 4 matrix from its voxels to (R, A, S) in millimetres.
    spacing
        Voxel size in millimetres.
    """

    source_shape: tuple[int, int, int]
    source_affine: np.ndarray
    spacing: float = SPACING

    @property
    def step(self) -> np.ndarray:
        """(3,) voxels of the image per voxel of the lattice, along the axes of the image."""
        return self.spacing / np.sqrt((self.source_affine[:3, :3] ** 2).sum(0))

    @property
    def axes(self) -> np.ndarray:
        """(3,) the axis of the image along each of (x, y, z) toward right, anterior, superior."""
        return np.argsort(io_orientation(self.source_affine)[:, 0])

    @property
    def reversed(self) -> np.ndarray:
        """(3,) whether the image runs against (x, y, z)."""
        return io_orientation(self.source_affine)[self.axes, 1] < 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (x, y, z)."""
        lengths = np.ceil(np.asarray(self.source_shape) / self.step).astype(int)
        lengths[np.asarray(self.source_shape) == 1] = 1
        x, y, z = lengths[self.axes]
        return int(x), int(y), int(z)

    @property
    def affine(self) -> np.ndarray:
        """4 x 4, voxels of the lattice to (R, A, S) in millimetres."""
        corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
        points = self.to_source(corners) @ self.source_affine[:3, :3].T
        affine = np.eye(4)
        affine[:3, :3] = (points[1:] - points[0]).T
        affine[:3, 3] = points[0] + self.source_affine[:3, 3]
        return affine

    def to_source(self, points: np.ndarray) -> np.ndarray:
        """Voxels (n, 3) of the lattice in (x, y, z) -> voxels of the image along its own axes."""
        turned = np.where(self.reversed, np.asarray(self.shape) - 1 - points, points)
        out = np.empty_like(turned, dtype=float)
        out[:, self.axes] = turned
        return (self.step - 1) / 2 + out * self.step

    def from_source(self, points: np.ndarray) -> np.ndarray:
        """Voxels (n, 3) of the image along its own axes -> voxels of the lattice in (x, y, z)."""
        index = ((np.asarray(points, float) - (self.step - 1) / 2) / self.step)[:, self.axes]
        return np.where(self.reversed, np.asarray(self.shape) - 1 - index, index)


def sample_crop(
    image: Any, lattice: Lattice, first: Sequence[int], size: int = SIZE, nearest: bool = False
) -> Tensor:
    """The crop (x, y, z) of an image on its own axes, in float32; zero outside the image.

    Reads only the block of `image` that the crop covers. Between voxels the image is linear, or
    constant for labels (`nearest`).
    """
    places = crop_places(lattice, first, size)
    windows, whole = [], True
    for (position, inside), n in zip(places, image.shape, strict=True):
        seen = position[inside]
        whole = whole and bool(seen.size)
        low, high = (np.floor(seen.min()), np.ceil(seen.max())) if seen.size else (0, 0)
        windows.append(slice(int(np.clip(low, 0, n - 1)), int(np.clip(high, 0, n - 1)) + 1))
    if not whole:
        return torch.zeros(size, size, size)
    out = torch.from_numpy(np.ascontiguousarray(image[tuple(windows)], dtype=np.float32))
    for axis, ((position, inside), window) in enumerate(zip(places, windows, strict=True)):
        out = _interpolate(out, axis, position - window.start, nearest)
        out.index_fill_(axis, torch.from_numpy(np.flatnonzero(~inside)), 0)
    x, y, z = (int(axis) for axis in lattice.axes)
    return out.permute(x, y, z).contiguous()


def crop_places(
    lattice: Lattice, first: Sequence[int], size: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each axis of the image: where the voxels of a crop are, and whether it has them."""
    along = np.asarray(first) + np.arange(size)[:, None]  # (size, 3) along (x, y, z)
    within = (along >= 0) & (along < np.asarray(lattice.shape))
    positions = lattice.to_source(along)
    places = []
    for axis, n in enumerate(lattice.source_shape):
        position = positions[:, axis]
        covered = (position >= -0.5) & (position < n - 0.5)
        places.append((position, covered & within[:, list(lattice.axes).index(axis)]))
    return places


def _interpolate(values: Tensor, axis: int, position: np.ndarray, nearest: bool) -> Tensor:
    last = values.shape[axis] - 1
    if nearest:
        index = np.clip(np.floor(position + 0.5), 0, last).astype(np.int64)
        return values.index_select(axis, torch.from_numpy(index))
    position = np.clip(position, 0, last)
    low = np.floor(position)
    weight = torch.from_numpy((position - low).astype(np.float32))
    below = torch.from_numpy(low.astype(np.int64))
    shape = [-1 if i == axis else 1 for i in range(3)]
    return torch.lerp(
        values.index_select(axis, below),
        values.index_select(axis, (below + 1).clamp(max=last)),
        weight.view(shape),
    )


def normalise(crop: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the voxels above zero, applied to all.

    The released scripts (torchio's ZNormalization with the mask `x > 0`): for CT, air and fat do
    not count. Where that leaves nothing to divide by, which torchio refuses, all voxels count, and
    a constant crop becomes zero.
    """
    counted = crop[crop > 0]
    if counted.numel() < 2 or not bool(counted.std() > 0):
        counted = crop.flatten()
    deviation = counted.std()
    centred = crop - counted.mean()
    return centred / deviation if bool(deviation > 0) else centred


def paste_crop(
    mask: np.ndarray, lattice: Lattice, first: Sequence[int], out: np.ndarray | None = None
) -> np.ndarray:
    """A crop's mask (x, y, z) on the voxels of the image, by the nearest voxel; else zero.

    As the released scripts resample it to the grid of the file. Shape `lattice.source_shape`;
    written into `out`, when there is one.
    """
    out = np.zeros(lattice.source_shape, mask.dtype) if out is None else out
    longest = max(lattice.source_shape)
    along = np.repeat(np.arange(longest)[:, None], 3, 1)  # the diagonal: axes are independent
    positions = lattice.from_source(along) - np.asarray(first)
    targets, sources = [], []
    for axis, n in enumerate(lattice.source_shape):
        turned = list(lattice.axes).index(axis)
        position = positions[:n, turned]
        size = mask.shape[turned]
        inside = np.flatnonzero((position >= -0.5) & (position < size - 0.5))
        targets.append(inside)
        sources.append(np.clip(np.floor(position[inside] + 0.5), 0, size - 1).astype(int))
    own = mask.transpose(np.argsort(lattice.axes))
    out[np.ix_(*targets)] = own[np.ix_(*sources)]
    return out
