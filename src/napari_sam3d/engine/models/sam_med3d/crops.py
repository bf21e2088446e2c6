"""Where the crops of SAM-Med3D lie on the lattice of its voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIZE = 128
"""Voxels along an edge of a crop."""


def crop_about(points: np.ndarray, size: int = SIZE) -> np.ndarray:
    """First voxel (3,) of the crop about the middle of the box of points (n, 3).

    The rule of torchio's CropOrPad about a mask, which the released scripts apply to the label.
    Without a label the clicks take its place. The crop may begin before the lattice and end after.
    """
    points = np.rint(points).astype(int)
    return (points.min(0) + points.max(0) + 1 - size) // 2


def crop_holds(first: np.ndarray, points: np.ndarray, size: int = SIZE) -> bool:
    """Whether all points (n, 3) are inside the crop: then it need not move."""
    inside = np.rint(points) - first
    return bool(((inside >= 0) & (inside < size)).all())


def neighbour_crops(
    mask: np.ndarray,
    first: np.ndarray,
    lattice_shape: Sequence[int],
    points: np.ndarray | None = None,
) -> list[np.ndarray]:
    """First voxels of the crops that follow an object which runs out of its crop.

    The paper's rule for objects larger than a crop: half a crop further toward each border that the
    mask touches, the prompts kept in sight.

    Parameters
    ----------
    mask
        bool (x, y, z), the mask on the crop at `first`.
    first
        (3,) first voxel of the crop on the lattice.
    lattice_shape
        Of the whole lattice: beyond it nothing follows.
    points
        (n, 3) on the lattice: crops move less where they would lose them. None lets them go, for
        objects that go on past them and are prompted from the mask already found.
    """
    found = []
    for axis, size in enumerate(mask.shape):
        for side, at in ((-1, 0), (1, -1)):
            goes_on = first[axis] > 0 if side < 0 else first[axis] + size < lattice_shape[axis]
            if not goes_on or not mask.take(at, axis).any():
                continue
            moved = np.array(first)
            moved[axis] += side * (size // 2)
            if points is not None:
                along = np.rint(points[:, axis]).astype(int)
                moved[axis] = np.clip(moved[axis], along.max() + 1 - size, along.min())
            if (moved != first).any():
                found.append(moved)
    return found
