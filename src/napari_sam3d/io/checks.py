"""Is this a NIfTI file that can be read? Every check before the first voxel is touched."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import psutil
from nibabel import Nifti1Header as Header  # which Nifti2Header is a kind of
from nibabel import Nifti2Header
from nibabel.nifti1 import data_type_codes

from napari_sam3d.io.source import NiftiError

_DEFLATE_LIMIT = 1032  # deflate cannot pack more than this many bytes into one


def file_size(path: Path) -> int:
    """Bytes of a regular file that is not empty; NiftiError otherwise."""
    if path.is_dir():
        raise NiftiError(f"{path.name} is a folder, not a NIfTI file; choose a file in it.")
    if path.suffix.lower() in (".hdr", ".img"):
        raise NiftiError(
            f"{path.name} is one half of a .hdr/.img pair; convert the pair to one .nii.gz file."
        )
    if not path.exists():
        raise NiftiError(f"{path.name} does not exist; check the path {path}.")
    if not path.is_file():
        raise NiftiError(f"{path.name} is not a regular file; choose a .nii or .nii.gz file.")
    size = path.stat().st_size
    if size == 0:
        raise NiftiError(f"{path.name} is empty; copy the file again.")
    return size


def parse_header(stream: BinaryIO, path: Path, warnings: list[str]) -> Header:
    """The header as it is on disk, once its identity is certain."""
    raw = stream.read(348)
    if len(raw) < 348:
        raise NiftiError(
            f"{path.name} is not a NIfTI file: it holds {len(raw)} bytes, a header needs 348."
        )
    for endian in "<>":
        length = int(np.frombuffer(raw[:4], f"{endian}i4")[0])
        if length == 348 and raw[344:348] in (b"n+1\0", b"ni1\0"):
            if raw[344:348] == b"ni1\0":
                warnings.append(f"{path.name} is marked as one half of a .hdr/.img pair.")
            return Header(raw, endian, check=False)
        if length == 540 and raw[4:8] == b"n+2\0":
            raw += stream.read(540 - 348)
            if len(raw) < 540:
                raise NiftiError(f"{path.name} is cut off inside its header; copy the file again.")
            return Nifti2Header(raw, endian, check=False)
    raise NiftiError(
        f"{path.name} is not a NIfTI file (.nii or .nii.gz); convert it to NIfTI first."
    )


def layout(header: Header, path: Path, warnings: list[str]) -> tuple[np.dtype, int, int]:
    """Dtype, byte offset and number of the voxels; NiftiError for what is not read."""
    dim = [int(n) for n in header["dim"]]
    ndim = dim[0]
    if not 1 <= ndim <= 7 or min(dim[1 : ndim + 1], default=0) < 1:
        raise NiftiError(f"{path.name} is damaged: its header gives the shape {dim}.")
    shape = dim[1 : ndim + 1]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    sides = " x ".join(map(str, shape))
    if len(shape) > 3:
        raise NiftiError(
            f"{path.name} has {len(shape)} dimensions ({sides}); save one three-dimensional "
            "volume of it to a file of its own."
        )
    if len(shape) < 2:
        raise NiftiError(f"{path.name} is a single line of {sides} voxels, not an image.")
    code = int(header["datatype"])
    if code not in data_type_codes.dtype or code in (0, 1):
        raise NiftiError(f"{path.name} has the voxel type {code}, which cannot be read.")
    dtype = data_type_codes.dtype[code].newbyteorder(header.endianness)
    if dtype.names is not None:
        raise NiftiError(f"{path.name} has colours (RGB) for voxels; convert it to grey values.")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        label = data_type_codes.label[code]
        raise NiftiError(
            f"{path.name} has voxels of type {label}, not plain numbers; convert it to a scalar "
            "image with real values of at most 64 bits."
        )
    if int(header["bitpix"]) != dtype.itemsize * 8:
        warnings.append(f"{path.name} states a wrong number of bits per voxel; ignored.")
    first = header.sizeof_hdr + 4
    offset = float(header["vox_offset"])
    if offset == 0:
        warnings.append(f"{path.name} does not say where its voxels begin; {first} is assumed.")
        offset = first
    if not np.isfinite(offset) or offset < first:
        raise NiftiError(f"{path.name} is damaged: its voxels begin at byte {offset:g}.")
    count = 1
    for n in shape:
        count *= n
    return dtype, int(offset), count


def check_size(path: Path, size: int, needed: int, zipped: bool) -> None:
    """Compare what the header claims with the file and with the memory, before allocating."""
    if not zipped:
        if needed > size:
            raise NiftiError(
                f"{path.name} is cut off: its header claims {needed} bytes, the file has {size}; "
                "copy the file again."
            )
        return
    if needed > _DEFLATE_LIMIT * size + 1024:
        raise NiftiError(
            f"{path.name} is damaged: its header claims {needed} bytes, which cannot fit into "
            f"{size} gzipped bytes."
        )
    free = psutil.virtual_memory().available
    if needed > 0.6 * free:
        raise NiftiError(
            f"{path.name} needs {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            "close other programs or unpack it to .nii."
        )
