"""The first bytes of a NIfTI file: is it one, and how are its voxels packed?"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import BinaryIO

import numpy as np
from nibabel import Nifti1Header as Header  # which Nifti2Header is a kind of
from nibabel import Nifti2Header
from nibabel.nifti1 import data_type_codes

from napari_sam3d.io.affine import plain_affine
from napari_sam3d.io.errors import NiftiError
from napari_sam3d.io.source import fresh_header

_RGB, _RGBA, _FLOAT128 = 128, 2304, 1536
_LONGEST_EXTENSIONS = 16 << 20  # bytes


@dataclass(frozen=True)
class Layout:
    """How the voxels of a file are packed.

    Parameters
    ----------
    shape
        Stored (i, j, k), then the lengths of the further axes.
    axes
        Letters of the further axes: T for time, C for components.
    dtype
        Of one stored number, in the byte order of the file; 16 void bytes for float128.
    endian
        That byte order, "<" or ">".
    colors
        Numbers per voxel: 1, or 3 and 4 for colours.
    offset
        Byte where the voxels begin.
    scaling
        Slope and intercept, or None when the numbers are the values.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: np.dtype
    endian: str
    colors: int
    offset: int
    scaling: tuple[float, float] | None

    @property
    def count(self) -> int:
        """How many numbers are stored."""
        return prod(self.shape) * self.colors

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


def parse_header(stream: BinaryIO, name: str, pair: bool, warnings: list[str]) -> Header:
    """The header as it is on disk, once its identity is certain.

    Parameters
    ----------
    stream
        At its first byte; left behind the header.
    name
        What messages call the file.
    pair
        Whether the voxels are in another file. Headers without a magic are ANALYZE's then.
    warnings
        Sentences are added here.
    """
    raw = stream.read(348)
    if len(raw) < 348:
        raise NiftiError(
            f"{name} is not a NIfTI file: it holds {len(raw)} bytes and a header alone needs 348; "
            "copy the file again."
        )
    for endian in "<>":
        length = int(np.frombuffer(raw[:4], f"{endian}i4")[0])
        if length == 540 and raw[4:8] in (b"n+2\0", b"ni2\0"):
            raw += stream.read(540 - 348)
            if len(raw) < 540:
                raise NiftiError(f"{name} is cut off inside its header; copy the file again.")
            _check_pair(raw[4:8] == b"ni2\0", pair, name, warnings)
            return Nifti2Header(raw, endian, check=False)
        if length != 348:
            continue
        if raw[344:348] in (b"n+1\0", b"ni1\0"):
            _check_pair(raw[344:348] == b"ni1\0", pair, name, warnings)
            return Header(raw, endian, check=False)
        if pair:
            warnings.append(
                "This is an ANALYZE file, which does not tell left from right; it is shown as "
                "stored from right to left."
            )
            return _from_analyze(Header(raw, endian, check=False), name)
    raise NiftiError(
        f"{name} is not a NIfTI file, whatever its name says; convert it to NIfTI first."
    )


def _check_pair(said: bool, pair: bool, name: str, warnings: list[str]) -> None:
    if said and not pair:
        warnings.append("It is marked as one half of a .hdr/.img pair.")
    if pair and not said:
        raise NiftiError(f"{name} is marked as a single file, not as half of a pair; name it .nii.")


@np.errstate(all="ignore")  # odd numbers are looked at, not warned of
def _from_analyze(old: Header, name: str) -> Header:
    """A NIfTI header that says what an ANALYZE one means, by nibabel's convention."""
    i, j, k = [*_shape(old, name), 1][:3]
    affine = plain_affine(old, (i, j, k))
    header = fresh_header((1, 1, 1), affine).as_byteswapped(old.endianness)
    for field in ("dim", "datatype", "bitpix", "vox_offset"):
        header[field] = old[field]
    header["magic"] = header.pair_magic
    header["pixdim"][4:] = old["pixdim"][4:]
    header["scl_slope"] = old["scl_slope"]  # where SPM keeps its scale factor
    return header


def layout(header: Header, name: str, warnings: list[str]) -> Layout:
    """Shape, number type and place of the voxels; NiftiError for what cannot be read."""
    shape = _shape(header, name)
    axes = [axis for axis, n in zip("TC", shape[3:5], strict=False) if n > 1]
    lengths = [n for n in shape[3:5] if n > 1]
    if "C" in axes and "T" in axes:
        warnings.append("It has five dimensions; time and components have a slider each.")
    code = int(header["datatype"])
    if code not in data_type_codes.dtype or code in (0, 1):
        raise NiftiError(
            f"{name} has the voxel type {code}{' (single bits)' * (code == 1)}, which cannot be "
            "read; convert it to whole numbers or floats."
        )
    colors = {_RGB: 3, _RGBA: 4}.get(code, 1)
    if colors > 1:
        dtype = np.dtype(np.uint8)
    elif code == _FLOAT128:
        dtype = np.dtype("V16")
    else:
        dtype = data_type_codes.dtype[code].newbyteorder(header.endianness)
    if dtype.itemsize not in (1, 2, 4, 8, 16) or (dtype.kind == "V" and code != _FLOAT128):
        raise NiftiError(
            f"{name} has voxels of type {data_type_codes.label[code]}, which is too rare to be "
            "read; convert them to 64-bit numbers."
        )
    if int(header["bitpix"]) != colors * dtype.itemsize * 8:
        warnings.append("It states a wrong number of bits per voxel, which was left out.")
    spatial = (*shape[:3], 1)[:3]
    return Layout(
        shape=(*spatial, *lengths),
        axes=tuple(axes),
        dtype=dtype,
        endian=">" if header.endianness == ">" else "<",
        colors=colors,
        offset=_offset(header, name, warnings),
        scaling=None if colors > 1 else scaling_of(header, warnings),
    )


def read_extensions(
    stream: BinaryIO, header: Header, end: int | None, warnings: list[str]
) -> bytes:
    """The extensions behind a header, as they are on disk; empty when there are none.

    Parameters
    ----------
    stream
        Just behind the header.
    header
        Its byte order is theirs.
    end
        Byte where they have to end; None for the end of the file.
    warnings
        Sentences are added here.
    """
    flag = stream.read(4)
    room = _LONGEST_EXTENSIONS if end is None else min(end - stream.tell(), _LONGEST_EXTENSIONS)
    if len(flag) < 4 or not flag[0] or room < 16:
        return b""
    raw = stream.read(room)
    at = 0
    while at + 8 <= len(raw) and any(raw[at : at + 16]):  # zeros pad up to the voxels
        size = int(np.frombuffer(raw, f"{header.endianness}i4", 1, at)[0])
        if size < 16 or at + size > len(raw):
            warnings.append("Its header extensions are damaged and were left out.")
            return b""
        at += size
    return raw[:at]


def _shape(header: Header, name: str) -> list[int]:
    """Lengths of the axes, at least two, without ones at the end."""
    dim = [int(n) for n in header["dim"]]
    ndim = dim[0]
    if not 1 <= ndim <= 7:
        raise NiftiError(
            f"{name} is damaged: its header claims {ndim} dimensions; copy the file again."
        )
    shape = dim[1 : ndim + 1]
    if min(shape) < 1:
        sides = " x ".join(map(str, shape))
        raise NiftiError(
            f"{name} is damaged: its header claims {sides} voxels; copy the file again."
        )
    if len(shape) < 2:
        raise NiftiError(
            f"{name} is a single line of {shape[0]} voxels; choose an image of two or more "
            "dimensions."
        )
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) > 5:
        sides = " x ".join(map(str, shape))
        raise NiftiError(
            f"{name} has {len(shape)} dimensions ({sides}); at most five can be shown, "
            "save a part of it to a file of its own."
        )
    return shape


def _offset(header: Header, name: str, warnings: list[str]) -> int:
    """Byte where the voxels begin, in their file."""
    magic = bytes(header["magic"].tobytes()[:3])
    first = header.sizeof_hdr + 4 if magic[:2] == b"n+" else 0
    offset = float(header["vox_offset"])
    if offset == 0 and first:
        warnings.append(f"It does not say where its voxels begin; byte {first} is assumed.")
        return first
    if not np.isfinite(offset) or offset < first:
        raise NiftiError(
            f"{name} is damaged: its voxels are said to begin at byte {offset:g}; copy the file "
            "again."
        )
    return int(offset)


def scaling_of(header: Header, warnings: list[str]) -> tuple[float, float] | None:
    """Slope and intercept, or None when the numbers are the values."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope) or (slope, inter) == (1, 0):
        return None
    if not np.isfinite([slope, inter]).all():
        warnings.append("Its scaling is damaged and was left out: the values are as stored.")
        return None
    return slope, inter
