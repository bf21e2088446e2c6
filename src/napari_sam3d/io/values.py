"""From the numbers of a file to the values they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from napari_sam3d.io.errors import NiftiError
from napari_sam3d.io.header import Layout

_LARGEST32 = float(np.finfo(np.float32).max)
_INFINITE = 0x7FFF  # the exponent of infinity among 128-bit numbers


@dataclass(frozen=True, eq=False)
class Values:
    """What becomes of the stored numbers.

    Parameters
    ----------
    dtype
        Of the values, in native byte order.
    convert
        From an array of stored numbers to one of values; None when the numbers are the values,
        but for their byte order.
    """

    dtype: np.dtype
    convert: Callable[[np.ndarray], np.ndarray] | None = None


def values_of(layout: Layout, name: str, warnings: list[str]) -> Values:
    """How to read the numbers of a file.

    Scaled numbers of at most 16 bits become float32, others float64, and so do all that might
    overflow. Complex numbers become their magnitude.
    """
    native = layout.dtype.newbyteorder("=")
    if native.kind == "V":
        warnings.append("Its 128-bit numbers were rounded to 64 bits.")
        dtype = np.dtype(np.float64)
    elif native.kind == "c":
        warnings.append("Its voxels are complex numbers; their magnitude is shown.")
        dtype = np.dtype(f"f{native.itemsize // 2}")
    elif layout.scaling is None:
        return Values(native)
    else:
        dtype = _scaled_type(native, *layout.scaling)
    return Values(dtype, partial(_convert, layout=layout, dtype=dtype, name=name))


def _scaled_type(native: np.dtype, slope: float, inter: float) -> np.dtype:
    largest = float(np.finfo(native).max if native.kind == "f" else np.iinfo(native).max) + 1
    fits = largest * abs(slope) + abs(inter) <= _LARGEST32
    narrow = native.itemsize <= 2 or native == np.float32
    return np.dtype(np.float32 if narrow and fits else np.float64)


def _convert(raw: np.ndarray, *, layout: Layout, dtype: np.dtype, name: str) -> np.ndarray:
    numbers = _float128(raw, layout.endian, name) if raw.dtype.kind == "V" else raw
    with np.errstate(all="ignore"):  # infinite and undefined values are the file's own
        if layout.scaling is not None:
            slope, inter = layout.scaling
            wide = np.complex128 if numbers.dtype.kind == "c" else np.float64
            numbers = numbers.astype(wide) * slope + inter
        if numbers.dtype.kind == "c":
            numbers = np.abs(numbers)
        return numbers.astype(dtype)


def _float128(raw: np.ndarray, endian: str, name: str) -> np.ndarray:
    """128-bit floats as float64.

    NIfTI calls them "long double", which is IEEE's quadruple precision on some machines and
    Intel's 80 bits with padding on most. A number of the first kind has its exponent in the
    first 16 bits, one of the second kind in the 48 bits further on.
    """
    parts = np.ascontiguousarray(raw).view(np.uint16).reshape(*raw.shape, 8)
    if endian == ">":
        parts = parts.byteswap()[..., ::-1]  # least significant first
    if not parts.any():
        return np.zeros(raw.shape)
    if _plausible(parts[..., 7]):  # quadruple: sign, 15 bits of exponent, 112 of fraction
        top = parts[..., 7].astype(np.uint64)
        fraction = _join(parts[..., 3:7]) >> np.uint64(12)
    elif _plausible(parts[..., 4]):  # Intel: the leading bit of the fraction is written out
        top = parts[..., 4].astype(np.uint64)
        fraction = (_join(parts[..., 0:4]) << np.uint64(1)) >> np.uint64(12)
    else:
        raise NiftiError(
            f"{name} has 128-bit numbers of an unknown kind; convert them to 64-bit numbers."
        )
    exponent = (top & np.uint64(_INFINITE)).astype(np.int64)
    exponent = np.where(exponent == _INFINITE, 2047, exponent - 16383 + 1023)  # to 11 bits
    bits = (top >> np.uint64(15)) << np.uint64(63) | fraction
    bits |= np.maximum(exponent, 0).astype(np.uint64) << np.uint64(52)
    return np.where(exponent > 0, bits, np.uint64(0)).view(np.float64)


def _plausible(top: np.ndarray) -> bool:
    """Whether all are the upper 16 bits of zero or of a number that 64 bits can hold."""
    exponent = top & _INFINITE
    common = (exponent > 16383 - 1023) & (exponent <= 16383 + 1023)
    return bool((common | (exponent == 0) | (exponent == _INFINITE)).all() and common.any())


def _join(parts: np.ndarray) -> np.ndarray:
    """Four 16-bit parts, least significant first, as 64 bits."""
    wide = parts.astype(np.uint64)
    shifts = np.arange(4, dtype=np.uint64) * np.uint64(16)
    return np.bitwise_or.reduce(wide << shifts, axis=-1)
