"""An array that is not in memory, and tells what was read of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class SpyArray:
    """As arrays of zarr and HDF5 are: slices and numbers in, NumPy out, no lists of indices.

    Its voxels are computed: a bright ball in the middle.

    Parameters
    ----------
    shape
        Voxels along each axis.
    chunks
        Voxels of a chunk along each axis; a chunk is read as a whole.
    dtype
        Of the voxels.
    radius
        Of the ball, in voxels.
    """

    def __init__(
        self, shape: Sequence[int], chunks: Sequence[int], dtype: str = "uint8", radius: float = 12
    ) -> None:
        self.shape, self.chunks, self.dtype = tuple(shape), tuple(chunks), np.dtype(dtype)
        self.ndim, self.radius = len(self.shape), radius
        self.reads: list[tuple[slice, ...]] = []

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Any) -> np.ndarray:
        given = index if isinstance(index, tuple) else (index,)
        given = (*given, *[slice(None)] * (self.ndim - len(given)))
        whole = [
            slice(*it.indices(n)[:2]) if isinstance(it, slice) else slice(int(it), int(it) + 1)
            for it, n in zip(given, self.shape, strict=True)
        ]
        assert all(it.step in (None, 1) for it in given if isinstance(it, slice))
        if all(it.stop > it.start for it in whole):  # dask looks at an empty block for its type
            self.reads.append(tuple(whole))
        away = sum(
            (i - n / 2) ** 2
            for i, n in zip(np.ogrid[tuple(whole[-3:])], self.shape[-3:], strict=True)
        )
        ball = (200 * (away < self.radius**2)).astype(self.dtype)
        block = np.broadcast_to(ball, [it.stop - it.start for it in whole])
        return block[tuple(slice(None) if isinstance(it, slice) else 0 for it in given)].copy()

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise AssertionError("the whole array was asked for")

    @property
    def voxels_read(self) -> int:
        """Of all reads together."""
        return sum(int(np.prod([it.stop - it.start for it in window])) for window in self.reads)

    def chunks_read(self) -> list[tuple[int, ...]]:
        """Each chunk as often as it was read."""
        return [
            tuple(it.start // n for it, n in zip(window, self.chunks, strict=True))
            for window in self.reads
        ]
