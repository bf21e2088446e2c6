"""Looking through large arrays of labels a slab at a time, without a copy of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_sam3d.volume import Window

_SLAB = 1 << 22
"""Voxels that are looked at together."""


def box_of(labels: Any, label_id: int) -> Window | None:
    """The smallest window (z, y, x) that holds a label; None when there is none."""
    low, high = np.array(labels.shape), np.zeros(3, int)
    for first, slab in slabs(labels):
        if label_id < np.iinfo(slab.dtype).min or label_id > np.iinfo(slab.dtype).max:
            return None
        found = slab == label_id
        if not found.any():
            continue
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            where = np.flatnonzero(found.any(axis=others)) + (first if axis == 0 else 0)
            low[axis], high[axis] = min(low[axis], where[0]), max(high[axis], where[-1] + 1)
    if not high.all():
        return None
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def widened(labels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy of another type; of zeros that nobody ever touched it takes no memory."""
    out = np.zeros(labels.shape, dtype)
    for index in np.ndindex(labels.shape[:-2]):
        plane = labels[index]
        rows = np.flatnonzero(plane.any(axis=1))
        out[index][rows] = plane[rows]
    return out


def slabs(labels: Any, step: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Number of the first slice, and `step` slices, from the first to the last of (z, y, x)."""
    step = step or max(1, _SLAB // max(1, int(np.prod(labels.shape[1:]))))
    for first in range(0, labels.shape[0], step):
        yield first, np.asarray(labels[first : first + step])
