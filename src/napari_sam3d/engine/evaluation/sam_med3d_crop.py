"""The crop about an object on which the scripts of SAM-Med3D click, and its way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from napari_sam3d.engine.models.sam_med3d.crops import crop_about
from napari_sam3d.engine.models.sam_med3d.preprocess import (
    Lattice,
    crop_places,
    paste_crop,
    sample_crop,
)
from napari_sam3d.io.affine import stored_view
from napari_sam3d.io.source import RAS_TO_WORLD, NiftiSource, fresh_source
from napari_sam3d.volume import Grid, Point3, Volume, Window
from napari_sam3d.windows import between


@dataclass(frozen=True, eq=False)
class Stored:
    """A volume as its file holds it, which decides where the lattice of a crop begins.

    Parameters
    ----------
    volume
        One without a file is taken as if it were written to one.
    """

    volume: Volume

    @cached_property
    def source(self) -> NiftiSource:
        """How its axes are stored."""
        return self.volume.source or fresh_source(self.volume.grid)

    @cached_property
    def lattice(self) -> Lattice:
        """Its voxels of 1.5 mm in canonical axes."""
        return Lattice(self.source.stored_shape, self.source.affine)

    def view(self, array: np.ndarray) -> np.ndarray:
        """An array (z, y, x) of the volume in the order of the file."""
        return stored_view(array, self.source.display_to_stored)


@dataclass(frozen=True, eq=False)
class ObjectCrop:
    """A cube of voxels of the lattice, (x, y, z) toward right, anterior, superior.

    Parameters
    ----------
    stored
        The volume.
    first
        First voxel of the lattice, (3,); the crop may begin before the lattice and end after it.
    size
        Voxels along an edge.
    """

    stored: Stored
    first: np.ndarray
    size: int

    def sample(self, array: np.ndarray, nearest: bool = False) -> Tensor:
        """An array (z, y, x) of the volume on the crop; zero where the volume has nothing."""
        return sample_crop(
            self.stored.view(array), self.stored.lattice, self.first.tolist(), self.size, nearest
        )

    def paste(self, mask: np.ndarray) -> np.ndarray:
        """A mask (x, y, z) of the crop on the voxels (z, y, x) of the volume, by the nearest."""
        out = np.zeros(self.stored.volume.grid.shape, mask.dtype)
        paste_crop(mask, self.stored.lattice, self.first.tolist(), self.stored.view(out))
        return out

    def position(self, voxel: np.ndarray) -> Point3:
        """Where a voxel (3,) of the crop is, in voxels (z, y, x) of the volume."""
        index = self.stored.lattice.to_source(np.asarray(voxel)[None] + self.first)
        z, y, x = np.round(self.stored.source.to_display(index[0]), 6).tolist()
        return z, y, x

    @cached_property
    def covered(self) -> Window:
        """The block (x, y, z) of the crop where the volume has voxels."""
        places = crop_places(self.stored.lattice, self.first.tolist(), self.size)
        inside = [np.flatnonzero(places[axis][1]) for axis in self.stored.lattice.axes]
        return between([it[0] for it in inside], [it[-1] + 1 for it in inside])

    @cached_property
    def volume(self) -> Volume:
        """What it covers as a volume of its own, in our axes, where it is in the world."""
        data = self.sample(self.stored.volume.data).numpy()[self.covered]
        stop = np.array([s.stop for s in self.covered])
        turn = np.zeros((4, 4))
        turn[[0, 1, 2], [2, 1, 0]] = -1
        turn[:3, 3] = self.first + stop - 1
        turn[3, 3] = 1
        shown = np.ascontiguousarray(_turned(data))
        grid = Grid(shown.shape, RAS_TO_WORLD @ self.stored.lattice.affine @ turn)
        return Volume(shown, grid, self.stored.volume.name)

    def to_volume(self, voxel: np.ndarray) -> Point3:
        """A voxel (3,) of the crop in voxels (z, y, x) of `volume`."""
        stop = np.array([s.stop for s in self.covered])
        z, y, x = (stop - 1 - voxel)[::-1].astype(float).tolist()
        return z, y, x

    def from_volume(self, mask: np.ndarray) -> np.ndarray:
        """A mask (z, y, x) of `volume` on the whole crop, (x, y, z)."""
        out = np.zeros((self.size,) * 3, mask.dtype)
        out[self.covered] = _turned(mask)
        return out


def crop_of(
    stored: Stored, labels: np.ndarray, label: int, window: Window, size: int
) -> ObjectCrop | None:
    """The crop about the middle of an object's box on the lattice; None when no voxel is left.

    Parameters
    ----------
    stored
        The volume.
    labels, label
        (z, y, x) of the volume, and the value of the object.
    window
        The block of `labels` that holds it.
    size
        Voxels along an edge of the crop.
    """
    lattice = stored.lattice
    corners = stored.source.to_stored(_ends(window))
    index, seen = [], []
    places = crop_places(lattice, (0, 0, 0), max(lattice.shape))
    for (position, inside), on_axis in zip(places, corners.T, strict=True):
        nearest = np.floor(position + 0.5).astype(int)
        taken = np.flatnonzero(inside & (nearest >= on_axis.min()) & (nearest <= on_axis.max()))
        index.append(nearest[taken])
        seen.append(taken)
    own = stored.view(labels)[np.ix_(*index)] == label
    if not own.any():
        return None
    box = np.empty((2, 3))
    for x, axis in enumerate(lattice.axes):
        others = tuple(other for other in range(3) if other != axis)
        box[:, x] = seen[axis][np.flatnonzero(own.any(axis=others))[[0, -1]]]
    return ObjectCrop(stored, crop_about(box, size), size)


def _ends(window: Window) -> np.ndarray:
    """First and last voxel of a window, (2, 3)."""
    return np.array([[it.start for it in window], [it.stop - 1 for it in window]])


def _turned(block: np.ndarray) -> np.ndarray:
    """From axes toward (R, A, S) to ours, toward (I, P, L), and from ours to them."""
    return np.flip(block).transpose(2, 1, 0)
