"""What a layer may bear as its data: arrays of any kind, in memory or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Image, Labels


class Blocks:
    """An array of zarr, HDF5 or the like: what is asked of it comes as NumPy, nothing else is read.

    Each has its own way of indexing, and some have none but blocks. In dask, which has one for all,
    each access takes time for every chunk that there is.

    Parameters
    ----------
    array
        Anything with a shape, a type and blocks of voxels.
    step
        Indices along its first axes, of which the last three are left.
    """

    def __init__(self, array: Any, step: tuple[int, ...] = ()) -> None:
        self._array, self._step = array, step
        self.shape = tuple(int(n) for n in array.shape[len(step) :])
        self.dtype, self.ndim = np.dtype(array.dtype), len(self.shape)
        chunks = getattr(array, "chunks", None)
        sizes = self.shape if chunks is None else [_first(it) for it in chunks[len(step) :]]
        self.chunks = tuple(
            (*(size,) * (n // size), *((n % size,) if n % size else ()))
            for n, size in zip(self.shape, sizes, strict=True)
        )

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        return np.asarray(self._array[(*self._step, *index)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[(slice(None),) * self.ndim].astype(dtype or self.dtype, copy=False)

    def take(self, index: int, axis: int, **_: Any) -> np.ndarray:
        """One slice across an axis."""
        return self[tuple(index if i == axis else slice(None) for i in range(self.ndim))]

    def transpose(self, order: Sequence[int]) -> Any:
        """A dask array with the axes in another order."""
        import dask.array as da

        return da.from_array(self, chunks=self.chunks, name=False).transpose(order)


def as_array(data: Any, step: tuple[int, ...] = ()) -> Any:
    """NumPy and dask as they are, `Blocks` of arrays that are neither; nothing is read.

    Parameters
    ----------
    data
        An array of any kind, or what NumPy makes one of.
    step
        Indices along its first axes, of which the last three are left.
    """
    if hasattr(data, "__dask_graph__") and hasattr(data, "data"):  # an xarray on dask
        data = data.data
    if isinstance(data, np.ndarray) or hasattr(data, "__dask_graph__"):
        return data[step] if step else data
    if isinstance(data, Blocks) and not step:
        return data
    if all(hasattr(data, name) for name in ("shape", "dtype", "__getitem__")):
        return Blocks(data, step)
    return as_array(np.asarray(data), step)


def level_of(layer: Image | Labels, level: int = 0) -> Any:
    """The array of a layer; of a multiscale one this level, the finest by default."""
    return layer.data[level] if layer.multiscale else layer.data


def _first(size: Any) -> int:
    """Of chunks that are all alike, or listed one by one."""
    return int(size[0] if isinstance(size, Sequence) else size)
