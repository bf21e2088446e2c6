"""Volumes that memory need not hold: they are read a piece at a time, and few voxels stay."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.volume import Grid, Volume
from napari_sam3d.windows import between

PIECE = 1 << 22
"""Voxels that are read at once, unless a single chunk of the array has more."""
_SMALL = 1 << 26
"""Voxels of an image that is read as a whole for a sample."""
_BLOCKS = 5
"""Blocks of a sample along each axis."""
_MOMENT = 1 << 28
"""Voxels that a first look may cover; a volume of 512 x 512 x 1000 has fewer."""


def read(image: Any, start: Sequence[int], stop: Sequence[int]) -> Tensor:
    """A block as float32."""
    block = image[between(start, stop)]
    if isinstance(block, Tensor):
        return block.float()
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite
        return torch.from_numpy(np.ascontiguousarray(block, dtype=np.float32))


def averaged(
    image: Any, start: Sequence[int], stop: Sequence[int], factors: Sequence[int]
) -> Tensor:
    """Means over boxes of a block; the last box of an axis is filled by repeating the border.

    What is not finite does not count; where nothing else is in a box, the mean is not-a-number.

    Parameters
    ----------
    image
        Array or tensor (z, y, x) of any real dtype; in chunks, each is read once.
    start, stop
        First voxel of the block, and the one after the last.
    factors
        Voxels of a box along each axis.
    """
    sizes = [b - a for a, b in zip(start, stop, strict=True)]
    boxes = [-(-int(n) // f) for n, f in zip(sizes, factors, strict=True)]
    device = image.device if isinstance(image, Tensor) else None
    out, missing = torch.zeros(boxes, device=device), torch.zeros(boxes, device=device)
    for low, high in pieces(image, start, stop, factors):
        values = read(image, low, high)
        whole = bool(torch.isfinite(values.sum()))  # quicker than a look at each
        ends = low, high, start, stop
        box = between(
            [(a - s) // f for a, s, f in zip(low, start, factors, strict=True)],
            [-(-(b - s) // f) for b, s, f in zip(high, start, factors, strict=True)],
        )
        if not whole:
            finite = torch.isfinite(values)
            missing[box] += _shares((~finite).float(), ends, factors)
            values = torch.where(finite, values, 0.0)
        out[box] += _shares(values, ends, factors)
    if not bool(missing.any()):
        return out
    return torch.where(missing < 1 - 1e-6, out / (1 - missing).clamp(min=1e-6), torch.nan)


def picked(image: Any, planes: Sequence[np.ndarray]) -> Tensor:
    """The voxels where some planes across each axis meet, float32.

    Parameters
    ----------
    image
        Array (z, y, x).
    planes
        Their indices along each axis, rising.
    """
    start, stop = [int(p[0]) for p in planes], [int(p[-1]) + 1 for p in planes]
    out = torch.zeros([len(p) for p in planes])
    for low, high in pieces(image, start, stop):
        ends = [np.searchsorted(p, (a, b)) for p, a, b in zip(planes, low, high, strict=True)]
        if any(a == b for a, b in ends):
            continue
        inside = [p[a:b] - first for p, (a, b), first in zip(planes, ends, low, strict=True)]
        values = read(image, low, high)
        out[between(*zip(*ends, strict=True))] = values[np.ix_(*inside)].cpu()
    return out


def pieces(
    image: Any, start: Sequence[int], stop: Sequence[int], steps: Sequence[int] = (1, 1, 1)
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """First voxels, and those after the last, of pieces of a block that end where chunks do.

    Where there are no chunks, they end after whole steps.
    """
    sizes = [int(b - a) for a, b in zip(start, stop, strict=True)]
    groups, room = [], PIECE
    for axis, (low, high) in enumerate(zip(start, stop, strict=True)):
        across = math.prod(sizes[axis + 1 :])
        edges = _edges(image, axis, low, high, steps[axis])
        groups.append(_groups(edges, max(1, room // across)))
        room = max(1, room // max(b - a for a, b in groups[-1]))
    for spans in itertools.product(*groups):
        yield tuple(a for a, _ in spans), tuple(b for _, b in spans)


def sampled(image: Any, most: int) -> np.ndarray:
    """Some voxels (n,) from all over an image: every so many-th along each axis.

    Of an image in chunks, for which this would read all of them, they are blocks of neighbours,
    unless the whole is not large.

    Parameters
    ----------
    image
        Array (z, y, x).
    most
        About how many.
    """
    size = math.prod(image.shape)
    step = max(1, round((size / most) ** (1 / 3)))
    if isinstance(image, np.ndarray) or size <= _SMALL:
        return np.asarray(image[::step, ::step, ::step]).ravel()
    edge = max(1, round((most / _BLOCKS**3) ** (1 / 3)))
    middles = (np.arange(_BLOCKS) + 0.5) / _BLOCKS
    spans = [
        [slice(a, a + edge) for a in np.clip(middles * n - edge / 2, 0, n).astype(int).tolist()]
        for n in image.shape
    ]
    return np.concatenate([np.asarray(image[at]).ravel() for at in itertools.product(*spans)])


def affordable(volume: Volume, patches: Iterable[Grid]) -> Iterator[Grid]:
    """The patches of a growing row that are looked at in a moment; the first one in any case.

    Of a volume that has coarser levels these are all.
    """
    for number, patch in enumerate(patches):
        seen = volume.at(patch.spacing)
        covered = np.minimum(patch.extent_mm / np.asarray(seen.grid.spacing), seen.grid.shape)
        if number and float(np.prod(covered)) > _MOMENT:
            return
        yield patch


def _shares(values: Tensor, ends: Sequence[Sequence[int]], factors: Sequence[int]) -> Tensor:
    """What a piece adds to the mean of each box that it meets."""
    zeros, repeats = [], []
    for low, high, start, stop, factor in reversed(list(zip(*ends, factors, strict=True))):
        back = -(high - start) % factor
        zeros += [(low - start) % factor, 0 if high == stop else back]
        repeats += [0, back if high == stop else 0]
    padded = values[None, None]
    if any(repeats):
        padded = F.pad(padded, repeats, mode="replicate")
    if any(zeros):
        padded = F.pad(padded, zeros)
    return F.avg_pool3d(padded, tuple(factors))[0, 0]


def _edges(image: Any, axis: int, low: int, high: int, step: int) -> np.ndarray:
    """Where a block may be cut along an axis: between chunks, or after whole steps."""
    chunks = getattr(image, "chunks", None)
    if chunks is None:
        return np.array([*range(low, high, step), high])
    between = np.cumsum(chunks[axis])
    return np.array([low, *between[(between > low) & (between < high)], high])


def _groups(edges: np.ndarray, longest: int) -> list[tuple[int, int]]:
    """Spans between edges, as long as they may be; of at least one step."""
    spans, at = [], 0
    while at < len(edges) - 1:
        following = int(np.searchsorted(edges, edges[at] + longest, side="right")) - 1
        following = max(following, at + 1)
        spans.append((int(edges[at]), int(edges[following])))
        at = following
    return spans
