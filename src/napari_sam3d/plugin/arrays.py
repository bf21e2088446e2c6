"""What a layer may bear as its data: arrays of any kind, as NumPy or dask."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_array(data: Any) -> Any:
    """NumPy, or dask of what is not in memory; nothing is read.

    Arrays of zarr, HDF5 and others each have their own way of indexing, and some read one block at
    a time only; dask has one for all.

    Parameters
    ----------
    data
        Anything with a shape, a type and voxels, or what NumPy makes an array of.
    """
    if isinstance(data, np.ndarray):
        return data
    import dask.array as da

    if isinstance(data, da.Array):
        return data
    if hasattr(data, "__dask_graph__"):  # an xarray on dask
        return data.data
    if not all(hasattr(data, name) for name in ("shape", "dtype", "__getitem__")):
        return np.asarray(data)
    chunks = getattr(data, "chunks", None)
    return da.from_array(data, chunks=chunks or "auto", name=False)
