"""Voxels that were set by hand, as blocks: one to a stroke where they lie close."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_sam3d.volume import Window
from napari_sam3d.windows import around, between, bounding_box, common, part_of, shape_of, within

_LOOSE = 8
"""A block may hold so many times more voxels than were set; else it is split."""
_SMALL = 4096
"""Voxels of a block that is not worth splitting."""


@dataclass(frozen=True, eq=False)
class Block:
    """Voxels that were set.

    Parameters
    ----------
    window
        Where the block sits in the volume.
    mask
        Which of its voxels were set.
    before, after
        What they were and became; `after` may be one number in the shape of the mask.
    """

    window: Window
    mask: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def common(self, box: Window) -> tuple[Window, Window] | None:
        """What it shares with a box: as a window of the block, and as one of the box."""
        shared = common(self.window, box)
        return None if shared is None else (part_of(self.window, shared), part_of(box, shared))

    def holds(self, data: np.ndarray, values: np.ndarray) -> bool:
        """Whether all its voxels are `values` in the volume."""
        first = np.unravel_index(np.argmax(self.mask), self.mask.shape)
        at = tuple(w.start + i for w, i in zip(self.window, first, strict=True))
        if data[at] != values[first]:  # the usual case, at no cost
            return False
        return bool(np.all((data[self.window] == values) | ~self.mask))


def block_at(window: Window, mask: np.ndarray, before: np.ndarray, after: Any) -> list[Block]:
    """The blocks of voxels that were set in a window; `before` and `after` have its shape.

    A window that is mostly empty is split, so that memory follows the voxels, not their distance.
    """
    mask = mask & (before != after)
    tight = bounding_box(mask)
    if tight is None:
        return []
    window = within(window, tight)
    mask, before, after = mask[tight], before[tight], np.broadcast_to(after, mask.shape)[tight]
    if mask.size <= max(_SMALL, _LOOSE * int(np.count_nonzero(mask))):
        return [Block(window, mask, before.copy(), after if 0 in after.strides else after.copy())]
    axis = int(np.argmax(mask.shape))
    middle = np.array(mask.shape)
    middle[axis] //= 2
    start = np.where(np.arange(mask.ndim) == axis, middle, 0)
    return [
        block
        for half in (between((0, 0, 0), middle), between(start, mask.shape))
        for block in block_at(within(window, half), mask[half], before[half], after[half])
    ]


def listed(indices: Sequence[np.ndarray], before: np.ndarray, after: np.ndarray) -> list[Block]:
    """The blocks of voxels that were set one by one."""
    low = [int(i.min()) for i in indices]
    size = [int(i.max()) + 1 - a for i, a in zip(indices, low, strict=True)]
    if np.prod(size, dtype=float) > max(_SMALL, _LOOSE * before.size):
        axis = int(np.argmax(size))
        first = indices[axis] < low[axis] + size[axis] // 2
        return [
            block
            for half in (first, ~first)
            for block in listed([i[half] for i in indices], before[half], after[half])
        ]
    at = tuple(i - a for i, a in zip(indices, low, strict=True))
    mask = np.zeros(size, bool)
    mask[at] = True
    whole = np.zeros((2, *size), np.result_type(before, after))
    whole[0][at], whole[1][at] = before, after
    hull = between(low, np.add(low, size))
    return block_at(hull, mask, whole[0], whole[1])


def together(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of one stroke as one, where they lie close; a voxel may have been set twice."""
    if len(blocks) < 2:
        return list(blocks)
    hull = around(it.window for it in blocks)
    size = shape_of(hull)
    count = sum(np.count_nonzero(it.mask) for it in blocks)
    if math.prod(size) > max(_SMALL, _LOOSE * count):
        return list(blocks)
    mask = np.zeros(size, bool)
    whole = np.zeros((2, *size), np.result_type(*(it.before for it in blocks)))
    for it in blocks:
        here = part_of(hull, it.window)
        new = it.mask & ~mask[here]
        whole[0][here][new] = it.before[new]
        whole[1][here][it.mask] = it.after[it.mask]
        mask[here] |= it.mask
    return block_at(hull, mask, whole[0], whole[1])
