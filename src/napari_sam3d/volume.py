"""Volumes and the grids they live on: the only description of space in the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_sam3d.io import NiftiSource

Shape3 = tuple[int, int, int]
Point3 = tuple[float, float, float]
Window = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a (z, y, x) array are in the world.

    The axes point toward inferior, posterior and left; the world is in millimetres along the
    same directions, (-S, -A, -R) of the patient. Integer voxel coordinates are voxel centres.

    Parameters
    ----------
    shape
        Number of voxels along each axis, (z, y, x).
    affine
        4 x 4 matrix from homogeneous voxel to homogeneous world coordinates, float64.
    """

    shape: Shape3
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"A grid needs three axes of at least one voxel, not shape {shape}.")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("A grid needs a finite 4 x 4 affine.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        # the directions decide, not the voxel size: cubes of a nanometre are fine in millimetres
        if not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise ValueError("The affine of a grid must be invertible; this one is singular.")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_spacing(
        cls, shape: Sequence[int], spacing: Sequence[float], origin: Sequence[float] = (0, 0, 0)
    ) -> Grid:
        """Axis-aligned grid from voxel size (mm) and the world position of voxel (0, 0, 0) (mm)."""
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = origin
        z, y, x = shape
        return cls((z, y, x), affine)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @cached_property
    def inverse(self) -> np.ndarray:
        """4 x 4 matrix from world to voxel coordinates."""
        return np.linalg.inv(self.affine)

    @property
    def spacing(self) -> Point3:
        """Voxel size along each axis, in millimetres."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, in millilitres."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def extent_mm(self) -> np.ndarray:
        """Edge lengths of the whole grid, (3,), in millimetres."""
        return np.asarray(self.shape) * np.asarray(self.spacing)

    @property
    def center_voxel(self) -> np.ndarray:
        """Voxel coordinates of the middle of the grid, (3,)."""
        return (np.asarray(self.shape) - 1) / 2

    def to_world(self, points_voxel: np.ndarray) -> np.ndarray:
        """World coordinates in mm of voxel coordinates, (..., 3) -> (..., 3)."""
        return np.asarray(points_voxel, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_voxel(self, points_mm: np.ndarray) -> np.ndarray:
        """Voxel coordinates of world coordinates in mm, (..., 3) -> (..., 3)."""
        return np.asarray(points_mm, float) @ self.inverse[:3, :3].T + self.inverse[:3, 3]

    def contains(self, point_voxel: Sequence[float]) -> bool:
        """Whether a voxel coordinate lies inside a voxel of the grid."""
        p = np.asarray(point_voxel, float)
        return bool((p >= -0.5).all() and (p < np.asarray(self.shape) - 0.5).all())

    def patch(self, center_voxel: Sequence[float], shape: Shape3, extent: Sequence[float]) -> Grid:
        """Grid of `shape` voxels that covers a box of this grid, along the same axes.

        Parameters
        ----------
        center_voxel
            Centre of the box, in voxel coordinates of this grid.
        shape
            Number of voxels of the new grid.
        extent
            Edge lengths of the box, in voxels of this grid (need not be whole numbers).
        """
        step = np.asarray(extent, float) / np.asarray(shape)
        first = np.asarray(center_voxel, float) - step * (np.asarray(shape) - 1) / 2
        affine = self.affine @ _scale_shift(step, first)
        return Grid(shape, affine)

    def window(self, window: Window) -> Grid:
        """Grid of the sub-array `array[window]`; the slices have start and stop, no step."""
        starts = [s.start for s in window]
        z, y, x = (s.stop - s.start for s in window)
        return Grid((z, y, x), self.affine @ _scale_shift(np.ones(3), np.asarray(starts)))

    def layer_transform(self) -> tuple[Point3, Point3]:
        """Scale and translation (mm) for a napari layer.

        napari draws rotated layers wrongly in 2D, so the rotation of an oblique grid is left out,
        turning the volume about its centre.
        """
        scale = np.asarray(self.spacing)
        translate = self.to_world(self.center_voxel) - scale * self.center_voxel
        return tuple(scale.tolist()), tuple(translate.tolist())

    @property
    def tilt_deg(self) -> float:
        """Angle between the grid and the closest unrotated one, in degrees."""
        axes = self.affine[:3, :3] / np.asarray(self.spacing)
        cosines = np.clip(np.abs(axes).max(axis=0), -1, 1)
        return float(np.degrees(np.arccos(cosines.min())))


def _scale_shift(step: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.diag([*step, 1.0])
    matrix[:3, 3] = shift
    return matrix


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image on a grid.

    Parameters
    ----------
    data
        Array (z, y, x) of any real dtype; may be a read-only memory map, or a dask array of what
        memory does not hold.
    grid
        Where its voxels are; `grid.shape == data.shape`.
    name
        What messages call it: a file or a layer.
    source
        The NIfTI file it came from, when there is one; exports copy its header.
    coarser
        The same image with larger voxels, finest first, where it is stored so, too.
    step
        Which volume of a series it is: an index along each axis before the last three.
    """

    data: np.ndarray
    grid: Grid
    name: str = "volume"
    source: NiftiSource | None = field(default=None, repr=False)
    coarser: tuple[Volume, ...] = field(default=(), repr=False)
    step: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise ValueError(
                f"{self.name}: the array has shape {tuple(self.data.shape)}, "
                f"its grid {self.grid.shape}."
            )

    def at(self, spacing: Sequence[float]) -> Volume:
        """The coarsest of its levels whose voxels are no larger than this, in millimetres."""
        wanted = np.asarray(spacing) * (1 + 1e-6)
        fit = (it for it in reversed(self.coarser) if (np.asarray(it.grid.spacing) <= wanted).all())
        return next(fit, self)
