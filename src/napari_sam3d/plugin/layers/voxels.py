"""Looking through large arrays of labels a slab at a time, without a copy of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_sam3d.volume import Window
from napari_sam3d.windows import around, bounding_box

_SLAB = 1 << 22
"""Voxels that are looked at together."""


def box_of(labels: Any, label_id: int) -> Window | None:
    """The smallest window (z, y, x) that holds a label; None when there is none."""
    boxes = []
    for first, slab in slabs(labels):
        if label_id < np.iinfo(slab.dtype).min or label_id > np.iinfo(slab.dtype).max:
            return None
        box = bounding_box(slab == label_id)
        if box is not None:
            z, y, x = box
            boxes.append((slice(first + z.start, first + z.stop), y, x))
    return around(boxes) if boxes else None


def painted(labels: Any) -> set[int]:
    """The labels that occur, without the background."""
    found: set[int] = set()
    for _, slab in slabs(labels):
        found.update(np.unique(slab[slab > 0]).tolist())
    return found


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
