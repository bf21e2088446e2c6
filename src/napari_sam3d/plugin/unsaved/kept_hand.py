"""Strokes of the brush as JSON and bytes, and back: what was set by hand stays so when resumed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_sam3d.plugin.session.hand_blocks import Block
from napari_sam3d.plugin.session.hand_edits import Stroke
from napari_sam3d.volume import Shape3, Window


def strokes_to_parts(strokes: Sequence[Stroke]) -> tuple[list[dict[str, Any]], bytes]:
    """Where the strokes are, and the voxels of all of them one after the other."""
    parts: list[bytes] = []
    described = []
    for stroke in strokes:
        blocks = []
        for block in stroke.blocks:
            dtype = block.before.dtype
            parts.append(np.packbits(block.mask).tobytes())
            parts += [it.astype(dtype).tobytes() for it in (block.before, block.after)]
            blocks.append({"window": window_to_json(block.window), "dtype": dtype.name})
        described.append({"blocks": blocks, "forgotten": sorted(map(int, stroke.forgotten))})
    return described, b"".join(parts)


def strokes_from_parts(
    described: Sequence[dict[str, Any]], voxels: bytes, shape: Shape3
) -> tuple[Stroke, ...]:
    """The strokes; ValueError when the parts do not belong together."""
    strokes, at = [], 0
    for stroke in described:
        blocks = []
        for block in stroke["blocks"]:
            window = window_from_json(block["window"], shape)
            size = [s.stop - s.start for s in window]
            count, dtype = math.prod(size), np.dtype(str(block["dtype"]))
            if dtype.kind not in "iu" or count == 0:
                raise ValueError("no labels")
            bits = np.frombuffer(voxels, np.uint8, (count + 7) // 8, at)
            at += len(bits)
            before = np.frombuffer(voxels, dtype, count, at).reshape(size)
            after = np.frombuffer(voxels, dtype, count, at + before.nbytes).reshape(size)
            at += 2 * before.nbytes
            mask = np.unpackbits(bits, count=count).astype(bool).reshape(size)
            blocks.append(Block(window, mask, before, after))
        strokes.append(Stroke(tuple(blocks), frozenset(int(n) for n in stroke["forgotten"])))
    if at != len(voxels):
        raise ValueError("voxels of no stroke")
    return tuple(strokes)


def window_to_json(window: Window) -> list[list[int]]:
    """First voxel and the one after the last along each axis."""
    return [[int(s.start), int(s.stop)] for s in window]


def window_from_json(bounds: Sequence[Sequence[int]], shape: Shape3) -> Window:
    """The window; ValueError when it leaves a volume of this shape."""
    z, y, x = (slice(int(low), int(high)) for low, high in bounds)
    if any(not 0 <= s.start <= s.stop <= n for s, n in zip((z, y, x), shape, strict=True)):
        raise ValueError("a window outside")
    return z, y, x
