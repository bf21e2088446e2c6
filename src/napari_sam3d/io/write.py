"""Writing NIfTI files: on the voxels of their source, atomically, compared before they count."""

from __future__ import annotations

import gzip
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel import Nifti1Header as Header
from nibabel import Nifti2Header

from napari_sam3d.io.source import RAS_TO_WORLD, NiftiSource, stored_view
from napari_sam3d.volume import Grid

LABEL_INTENT = 1002
_LONGEST_NIFTI1 = 32767
_FRESH_CODE = 2  # "aligned": coordinates come from the layer, not from a scanner


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
        Whole numbers or booleans, display order (z, y, x).
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
    target = _target(path, source, overwrite, replace_source)
    header, d2s = _header(labels, grid, source)
    _clear_for_labels(header)
    _write(target, header, stored_view(labels, d2s))
    return target


def write_image(
    path: str | Path,
    image: np.ndarray,
    grid: Grid,
    source: NiftiSource | None = None,
    *,
    overwrite: bool = False,
    replace_source: bool = False,
) -> Path:
    """Write an image as NIfTI with its dtype (bool as uint8, float16 as float32).

    Parameters, returned value and errors are those of `write_labels`.
    """
    image = np.asarray(image)
    if image.dtype.kind not in "biuf" or image.dtype.itemsize > 8:
        raise ValueError(f"NIfTI cannot hold values of type {image.dtype}; convert them first.")
    if image.dtype in (np.bool_, np.float16):  # NIfTI has neither
        image = image.astype(np.uint8 if image.dtype == np.bool_ else np.float32)
    target = _target(path, source, overwrite, replace_source)
    header, d2s = _header(image, grid, source)
    _write(target, header, stored_view(image, d2s))
    return target


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


def _header(data: np.ndarray, grid: Grid, source: NiftiSource | None) -> tuple[Header, np.ndarray]:
    """Little-endian header for display data, and the matrix to its stored order."""
    shape = source.grid.shape if source is not None else grid.shape
    if data.shape != shape:
        raise ValueError(f"The array has shape {data.shape}, its image has {shape} (z, y, x).")
    if source is not None:
        header, d2s = source.header.as_byteswapped("<"), source.display_to_stored
    else:
        header, d2s = _fresh_header(grid)
    stored_shape = stored_view(data, d2s).shape
    header["dim"] = [3, *stored_shape, 1, 1, 1, 1]
    header.set_data_dtype(data.dtype)
    header["vox_offset"] = header.sizeof_hdr + 4
    header["magic"] = header.single_magic
    header["scl_slope"], header["scl_inter"] = 1, 0
    return header, d2s


def _fresh_header(grid: Grid) -> tuple[Header, np.ndarray]:
    """Header of a new file, stored toward left, posterior and superior as DICOM does."""
    d2s = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, grid.shape[0] - 1], [0, 0, 0, 1]])
    affine = RAS_TO_WORLD @ grid.affine @ np.linalg.inv(d2s)
    wide = max(grid.shape) > _LONGEST_NIFTI1
    header = (Nifti2Header if wide else Header)(endianness="<")
    header["dim"][:4] = [3, *grid.shape[::-1]]
    header.set_qform(affine, _FRESH_CODE)
    header.set_sform(affine, _FRESH_CODE)
    if not np.allclose(header.get_qform(), affine, atol=1e-3 * min(grid.spacing)):
        header["qform_code"] = 0  # a sheared grid, which a qform cannot say
    header.set_xyzt_units("mm")
    return header, d2s


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


def _target(
    path: str | Path, source: NiftiSource | None, overwrite: bool, replace_source: bool
) -> Path:
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        path = path.with_name(f"{path.name}.nii.gz")
    path = Path(os.path.realpath(path))  # os.replace would replace a link, not what it points at
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; choose a file name.")
    if source is not None and not replace_source and path == Path(os.path.realpath(source.path)):
        raise ValueError(f"{path.name} is the image itself; choose another name for this file.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; choose another name or allow overwriting.")
    return path


def _write(target: Path, header: Header, stored: np.ndarray) -> None:
    """Write beside the target, compare, then replace the target in one step."""
    zipped = target.name.lower().endswith(".gz")
    temporary = target.with_name(f".sam3d-{secrets.token_hex(8)}.tmp")
    try:
        # os.open, unlike tempfile, gives the file the permissions of any new file
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        try:
            with os.fdopen(handle, "w+b") as file:
                with _zip(file, "wb") if zipped else _plain(file) as stream:
                    for piece in _pieces(header, stored):
                        stream.write(piece)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                with _zip(file, "rb") if zipped else _plain(file) as stream:
                    same = all(stream.read(len(p)) == p for p in _pieces(header, stored))
                    if not same or stream.read(1):
                        raise OSError("what was read back is not what was written")
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(
            f"{target} cannot be written: {error.strerror or error}; nothing was changed there."
        ) from error


_BINARY = getattr(os, "O_BINARY", 0)


def _pieces(header: Header, stored: np.ndarray) -> Iterator[bytes]:
    """The bytes of the file: header, no extensions, voxels slice by slice in Fortran order."""
    yield header.binaryblock + bytes(4)
    dtype = stored.dtype.newbyteorder("<")
    for k in range(stored.shape[2]):
        yield stored[..., k].astype(dtype, copy=False).tobytes(order="F")


def _zip(file: BinaryIO, mode: str) -> gzip.GzipFile:
    # no name and no time: the same labels give the same bytes
    return gzip.GzipFile(filename="", mode=mode, compresslevel=6, fileobj=file, mtime=0)


@contextmanager
def _plain(file: BinaryIO) -> Iterator[BinaryIO]:
    yield file
