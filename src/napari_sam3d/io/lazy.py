"""Voxels that stay on disk until they are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_sam3d.io.values import Values

_CHUNK_BYTES = 32 << 20


def lazy(stored: np.ndarray, values: Values) -> Any:
    """A dask array of the values of a memory map, converted as they are asked for.

    A chunk is a volume of a series; of a single volume, some of its slices.

    Parameters
    ----------
    stored
        Memory-mapped numbers (i, j, k, ...).
    values
        What becomes of them.
    """
    import dask.array as da

    chunks = [*stored.shape[:3], *(1 for _ in stored.shape[3:])]
    if stored.ndim == 3:
        slice_bytes = max(1, stored.shape[0] * stored.shape[1] * values.dtype.itemsize)
        chunks[2] = max(1, _CHUNK_BYTES // slice_bytes)
    numbers = da.from_array(stored, chunks=tuple(chunks), name=False, asarray=False)
    if values.convert is None:
        return numbers.astype(values.dtype)
    return numbers.map_blocks(values.convert, dtype=values.dtype, meta=np.empty(0, values.dtype))
