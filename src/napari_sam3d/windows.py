"""Blocks of voxels by their windows: what they share, what holds several, and masks moved."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from napari_sam3d.volume import Shape3, Window


def between(low: Iterable[int], stop: Iterable[int]) -> Window:
    """From a first voxel to the one after the last, along each axis."""
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, stop, strict=True))
    return z, y, x


def shape_of(window: Window) -> Shape3:
    """How many voxels a window has along each axis."""
    z, y, x = (s.stop - s.start for s in window)
    return z, y, x


def bounding_box(mask: np.ndarray) -> Window | None:
    """The smallest window that holds a mask (bool, z, y, x); None when it is empty."""
    box: list[slice] = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        where = np.flatnonzero(mask.any(axis=others))
        if not where.size:
            return None
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    z, y, x = box
    return z, y, x


def around(windows: Iterable[Window]) -> Window:
    """The smallest window that holds all; those without a voxel do not count.

    Without any it is the empty one at the origin.
    """
    filled = [it for it in windows if all(s.stop > s.start for s in it)]
    if not filled:
        return (slice(0, 0),) * 3
    z, y, x = (
        slice(min(s.start for s in axis), max(s.stop for s in axis))
        for axis in zip(*filled, strict=True)
    )
    return z, y, x


def common(one: Window, other: Window) -> Window | None:
    """The voxels of both windows; None when there are none."""
    pairs = list(zip(one, other, strict=True))
    low, stop = [max(a.start, b.start) for a, b in pairs], [min(a.stop, b.stop) for a, b in pairs]
    return between(low, stop) if all(a < b for a, b in zip(low, stop, strict=True)) else None


def part_of(block: Window, window: Window) -> Window:
    """Which part of a block fills a window of the volume, when the block fills another one."""
    z, y, x = (
        slice(w.start - b.start, w.stop - b.start) for w, b in zip(window, block, strict=True)
    )
    return z, y, x


def within(block: Window, part: Window) -> Window:
    """The window of the volume that a part of a block fills: `part_of` the other way round."""
    z, y, x = (slice(b.start + p.start, b.start + p.stop) for b, p in zip(block, part, strict=True))
    return z, y, x


def moved(mask: np.ndarray, window: Window, target: Window) -> np.ndarray:
    """A mask (bool) on another window; False where it is not known."""
    out = np.zeros(shape_of(target), bool)
    shared = common(window, target)
    if shared is not None:
        out[part_of(target, shared)] = mask[part_of(window, shared)]
    return out
