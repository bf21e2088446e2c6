"""Writing NIfTI files: on the voxels of their source, atomically, compared before they count."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel import Nifti1Header as Header

from napari_sam3d.io.affine import stored_view
from napari_sam3d.io.atomic import real_target, replacing
from napari_sam3d.io.labels import LABEL_INTENT
from napari_sam3d.io.source import LONGEST_NIFTI1, NiftiSource, fresh_source
from napari_sam3d.volume import Grid

_SUFFIX = re.compile(r"(\.nii)?(\.gz)?$", re.IGNORECASE)
_LABEL_LEVEL = 6  # a third of the size of level 1, for a tenth of a second
_IMAGE_LEVEL = 1  # noise packs no better at level 6, in eight times the time
_PIECE = 4 << 20  # bytes; enough for gzip to work on, little beside the array


def write_labels(
    path: str | Path,
    labels: np.ndarray,
    grid: Grid,
    source: NiftiSource | None = None,
    *,
    overwrite: bool = False,
    replace_source: bool = False,
) -> Path:
    """Write a label map or a mask as NIfTI, on exactly the voxels of its source image.

    With a source, the file gets the source's own header with only the voxel type, the intent
    and the free text changed, so every program that reads the image puts the labels on it.

    Parameters
    ----------
    path
        Ending in `.nii.gz` or `.nii`; anything else gets `.nii.gz` appended.
    labels
        Whole numbers or booleans, display order (z, y, x), before them time points if any.
    grid
        Where the voxels are, for labels that have no source.
    source
        The file whose voxels these are; `source.grid` then counts instead of `grid`.
    overwrite
        Whether a file at `path` may be replaced.
    replace_source
        Whether that may even be the source file itself.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        For values that are no labels, a wrong shape, or the source itself as target.
    FileExistsError
        When the file exists and `overwrite` is false.
    OSError
        When the file cannot be written; the old file is then untouched.
    """
    labels = np.asarray(labels)
    dtype = label_dtype(labels)
    labels = labels.view(dtype) if labels.dtype == bool else labels.astype(dtype, copy=False)
    source = source or fresh_source(grid)
    header = _header(labels.shape, source)
    header.set_data_dtype(dtype)
    _clear_for_labels(header)
    target = _target(path, source, overwrite, replace_source)
    _write(target, header, stored_view(labels, source.display_to_stored), level=_LABEL_LEVEL)
    return target


def write_image(
    path: str | Path,
    image: np.ndarray,
    grid: Grid,
    source: NiftiSource | None = None,
    *,
    rgb: bool = False,
    overwrite: bool = False,
    replace_source: bool = False,
) -> Path:
    """Write an image as NIfTI with its dtype (bool as uint8, float16 as float32).

    With a source, the file gets the source's header with only the voxel type changed, and its
    header extensions. Returned value and errors are those of `write_labels`.

    Parameters
    ----------
    path, grid, source, overwrite, replace_source
        As for `write_labels`.
    image
        Display order (z, y, x), before them components and time points if any.
    rgb
        Whether the last axis holds three or four colours, uint8.
    """
    image = np.asarray(image)
    if image.dtype.kind not in "biuf" or image.dtype.itemsize > 8:
        raise ValueError(f"NIfTI cannot hold values of type {image.dtype}; convert them first.")
    if image.dtype in (np.bool_, np.float16):  # NIfTI has neither
        image = image.astype(np.uint8 if image.dtype == np.bool_ else np.float32)
    if rgb and (image.dtype != np.uint8 or image.shape[-1] not in (3, 4)):
        raise ValueError("NIfTI holds colours of 8 bits only; convert the image to uint8.")
    source = source or fresh_source(grid)
    header = _header(image.shape[:-1] if rgb else image.shape, source)
    if rgb:
        header["datatype"], header["bitpix"] = {3: (128, 24), 4: (2304, 32)}[image.shape[-1]]
        image = np.moveaxis(image, -1, 0)
    else:
        header.set_data_dtype(image.dtype)
    target = _target(path, source, overwrite, replace_source)
    _write(
        target,
        header,
        stored_view(image, source.display_to_stored),
        extensions=_little_endian(source.extensions, source.endian),
        rgb=rgb,
        level=_IMAGE_LEVEL,
    )
    return target


def with_suffix(path: str | Path) -> Path:
    """The path itself when it ends in .nii or .nii.gz, else with .nii.gz appended."""
    path = Path(path)
    end = _SUFFIX.search(path.name)
    assert end is not None  # it matches an empty end
    if end.group(1) or not path.name:
        return path
    return path.with_name(path.name.removesuffix(end.group()) + ".nii.gz")


def label_dtype(labels: np.ndarray) -> np.dtype:
    """The smallest voxel type, among those all programs read, that holds the labels exactly.

    Raises
    ------
    ValueError
        When the values are not whole numbers or exceed 64 bits.
    """
    if labels.dtype.kind == "b":
        return np.dtype(np.uint8)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"Labels must be whole numbers, not values of type {labels.dtype}.")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    kinds = (np.uint8, np.uint16, np.int32) if low >= 0 else (np.int16, np.int32)
    for kind in (*kinds, np.int64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise ValueError(f"The label {high} is too large for a NIfTI file.")


def _header(shape: tuple[int, ...], source: NiftiSource) -> Header:
    """Little-endian header of a file with a display shape (..., t, z, y, x)."""
    if shape[-3:] != source.grid.shape:
        raise ValueError(
            f"The array has shape {shape}, its image has {source.grid.shape} (z, y, x)."
        )
    header = source.header.as_byteswapped("<")
    extra = list(shape[-4::-1]) if len(shape) > 3 else []
    stored = [*source.stored_shape, *extra]
    if extra and extra == [int(n) for n in header["dim"][4:6] if n > 1]:
        stored = [int(n) for n in header["dim"][1:6]]  # components stay where they were
    if max(stored) > LONGEST_NIFTI1 and header.sizeof_hdr == 348:
        raise ValueError(
            f"An axis of {max(stored)} is too long for the format of {Path(source.path).name}, "
            f"which takes {LONGEST_NIFTI1}; save a part of it."
        )
    header["dim"] = [len(stored), *stored, *[1] * (7 - len(stored))]
    header["vox_offset"] = header.sizeof_hdr + 4
    header["magic"] = header.single_magic
    header["scl_slope"], header["scl_inter"] = 1, 0
    return header


def _clear_for_labels(header: Header) -> None:
    """Say that the values are labels, and drop what described the values and the patient."""
    header["intent_code"], header["intent_name"] = LABEL_INTENT, b""
    for name in ("intent_p1", "intent_p2", "intent_p3", "cal_min", "cal_max", "glmin", "glmax"):
        if name in header:
            header[name] = 0
    for name in ("aux_file", "db_name", "data_type"):
        if name in header:
            header[name] = b""
    header["descrip"] = b"napari-sam3d labels"


def _target(path: str | Path, source: NiftiSource, overwrite: bool, replace_source: bool) -> Path:
    target = real_target(with_suffix(path))
    if source.path and not replace_source and target == Path(os.path.realpath(source.path)):
        raise ValueError(f"{target.name} is the image itself; choose another name for this file.")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already; choose another name or allow overwriting.")
    twin = _twin(target)
    if twin.exists() and not target.exists():
        # nifti_clib, and so ITK, takes the header of x.nii.gz and the voxels of x.nii
        raise ValueError(
            f"{twin.name} is in the same folder, and many programs would show its voxels as those "
            f"of {target.name}; choose another name."
        )
    return target


def _twin(target: Path) -> Path:
    """The same name with the other ending: x.nii for x.nii.gz, and the other way round."""
    name = target.name
    return target.with_name(name[:-3] if name.lower().endswith(".gz") else f"{name}.gz")


def _write(
    target: Path,
    header: Header,
    stored: np.ndarray,
    *,
    extensions: bytes = b"",
    rgb: bool = False,
    level: int,
) -> None:
    """Write beside the target, compare, then replace the target in one step.

    `stored` is (i, j, k, ...); colours come last. `level` is how hard gzip tries, 1 to 9.
    """
    if extensions:
        padding = -(header.sizeof_hdr + 4 + len(extensions)) % 16
        extensions += bytes(padding)
        header["vox_offset"] = header.sizeof_hdr + 4 + len(extensions)
    start = header.binaryblock + bytes([bool(extensions), 0, 0, 0]) + extensions
    zipped = target.name.lower().endswith(".gz")
    if rgb:
        stored = np.moveaxis(stored, -1, 0)
    with replacing(target) as file:
        with _zip(file, "wb", level) if zipped else _plain(file) as stream:
            stream.write(start)
            for piece in _pieces(stored, 3 if rgb else 2):
                stream.write(piece)
        file.flush()
        file.seek(0)
        with _zip(file, "rb") if zipped else _plain(file) as stream:
            same = stream.read(len(start)) == start
            same = same and all(stream.read(len(p)) == p for p in _pieces(stored, 3 if rgb else 2))
            if not same or stream.read(1):
                raise OSError("what was read back is not what was written")


def _pieces(stored: np.ndarray, whole: int) -> Iterator[bytes]:
    """The bytes of the voxels, first axis fastest; each piece has the `whole` first axes."""
    dtype = stored.dtype.newbyteorder("<")
    slice_bytes = int(np.prod(stored.shape[:whole])) * dtype.itemsize
    step = max(1, _PIECE // max(1, slice_bytes))
    for last in product(*(range(n) for n in stored.shape[:whole:-1])):
        block = stored[(slice(None),) * (whole + 1) + last[::-1]]
        for at in range(0, block.shape[-1], step):
            yield block[..., at : at + step].astype(dtype, copy=False).tobytes(order="F")


def _little_endian(extensions: bytes, endian: str) -> bytes:
    """Extensions whose sizes and codes are little-endian, whatever they were; the rest is data."""
    if endian == "<" or not extensions:
        return extensions
    out, at = bytearray(extensions), 0
    while at < len(out):
        fields = np.frombuffer(extensions, ">i4", 2, at)
        out[at : at + 8] = fields.astype("<i4").tobytes()
        at += int(fields[0])
    return bytes(out)


def _zip(file: BinaryIO, mode: str, level: int = 9) -> gzip.GzipFile:
    # no name and no time: the same labels give the same bytes
    return gzip.GzipFile(filename="", mode=mode, compresslevel=level, fileobj=file, mtime=0)


@contextmanager
def _plain(file: BinaryIO) -> Iterator[BinaryIO]:
    yield file
