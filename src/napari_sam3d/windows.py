"""Blocks of voxels by their windows: what holds several, and masks moved from one to another."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from napari_sam3d.volume import Window


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


def moved(mask: np.ndarray, window: Window, target: Window) -> np.ndarray:
    """A mask (bool) on another window; False where it is not known."""
    out = np.zeros(tuple(s.stop - s.start for s in target), bool)
    pairs = list(zip(window, target, strict=True))
    common = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs]
    if all(low < high for low, high in common):
        into = tuple(
            slice(low - b.start, high - b.start)
            for (low, high), (_, b) in zip(common, pairs, strict=True)
        )
        part = tuple(
            slice(low - a.start, high - a.start)
            for (low, high), (a, _) in zip(common, pairs, strict=True)
        )
        out[into] = mask[part]
    return out
