"""Where the crops of SAM-Med3D lie on the lattice of its voxels."""

from __future__ import annotations

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
