"""Reading NIfTI files into volumes, checked before a voxel is touched."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from nibabel import Nifti1Header as Header

from napari_sam3d.io.checks import check_size, file_size, layout, parse_header
from napari_sam3d.io.source import (
    NiftiError,
    describe,
    display_view,
)
from napari_sam3d.io.write import LABEL_INTENT
from napari_sam3d.volume import Volume

_LABEL_NAME = re.compile(
    r"(^|[._-])(seg|segmentation|label|labels|mask|gt|roi|aseg|aparc)([._-]|$)", re.IGNORECASE
)
_PIECE = 16 << 20
_TAIL = 1 << 20


def read_nifti(path: str | Path) -> Volume:
    """Read a three-dimensional NIfTI image.

    The data is a view (inferior, posterior, left) of the stored array: of a read-only memory
    map for `.nii`, of memory for `.nii.gz`. Values with a scaling become float32 (float64 when
    they would overflow); others keep their dtype.

    Parameters
    ----------
    path
        A NIfTI-1 or NIfTI-2 file, plain or gzipped whatever its name says.

    Raises
    ------
    NiftiError
        With one sentence that names the file, what is wrong and what to do.
    """
    path = Path(path)
    warnings: list[str] = []
    try:
        size = file_size(path)
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if zipped else file
            if zipped != path.name.lower().endswith(".gz"):
                warnings.append(
                    f"{path.name} is {'' if zipped else 'not '}gzipped, unlike its name."
                )
            header = parse_header(stream, path, warnings)
            dtype, offset, count = layout(header, path, warnings)
            needed = offset + count * dtype.itemsize
            check_size(path, size, needed, zipped)
            source = describe(header, str(path.absolute()))
            if zipped:
                flat = _unzip(stream, path, offset, count * dtype.itemsize, warnings).view(dtype)
            else:
                flat = np.asarray(np.memmap(path, dtype, "r", offset, (count,)))
    except OSError as error:
        raise NiftiError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except EOFError as error:
        raise NiftiError(
            f"{path.name} is cut off: the gzip data ends too early; copy the file again."
        ) from error
    except zlib.error as error:
        raise NiftiError(f"{path.name} is damaged ({error}); copy the file again.") from error
    stored = flat.reshape(source.stored_shape, order="F")
    stored = _scaled(stored, header, path, warnings)
    source = replace(source, warnings=(*warnings, *source.warnings))
    return Volume(
        data=display_view(stored, source.display_to_stored),
        grid=source.grid,
        name=path.name,
        source=source,
    )


def is_labels(volume: Volume) -> bool:
    """Whether a volume is a label map rather than an image.

    Its values must be whole numbers without scaling, and the header's intent or a word of the
    file name (seg, label, mask, ...) must say so.
    """
    if volume.source is None:
        return False
    header = volume.source.header
    said = int(header["intent_code"]) == LABEL_INTENT or _LABEL_NAME.search(volume.name)
    if not said or _scaling(header) is not None:
        return False
    if volume.data.dtype.kind in "iu":
        return True
    return all(bool((np.isfinite(s) & (s == np.rint(s))).all()) for s in volume.data)


def _unzip(
    stream: BinaryIO, path: Path, offset: int, nbytes: int, warnings: list[str]
) -> np.ndarray:
    """The voxel bytes, after the checksum of the gzip data was compared."""
    done = stream.tell()
    while done < offset:
        piece = stream.read(min(_PIECE, offset - done))
        if not piece:
            raise EOFError
        done += len(piece)
    out = np.empty(nbytes, np.uint8)
    view, done = memoryview(out.data), 0
    while done < nbytes:
        piece = stream.read(min(_PIECE, nbytes - done))
        if not piece:
            raise EOFError
        view[done : done + len(piece)] = piece
        done += len(piece)
    try:
        extra = len(stream.read(_TAIL))  # reading on makes gzip compare its checksum
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise NiftiError(
                f"{path.name} is damaged: its checksum is wrong; copy the file again."
            ) from error
        extra = 1
    if extra:
        warnings.append(f"{path.name} has extra data after its voxels, which was left out.")
    return out


def _scaling(header: Header) -> tuple[float, float] | None:
    """Slope and intercept, or None when the voxels are the values."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite([slope, inter]).all() or (slope, inter) == (1, 0):
        return None
    return slope, inter


def _scaled(stored: np.ndarray, header: Header, path: Path, warnings: list[str]) -> np.ndarray:
    """The values of the voxels in native byte order; the same memory where possible."""
    scaling = _scaling(header)
    if scaling is None:
        slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
        if np.isinf(slope) or (np.isfinite(slope) and slope != 0 and not np.isfinite(inter)):
            warnings.append(f"{path.name} has a damaged scaling, which was left out.")
        return stored.astype(stored.dtype.newbyteorder("="), order="F", copy=False)
    slope, inter = scaling
    ends = np.fmin.reduce(stored, axis=None), np.fmax.reduce(stored, axis=None)  # without NaN
    largest = max(abs(float(end)) for end in ends)
    wide = largest * abs(slope) + abs(inter) > float(np.finfo(np.float32).max)
    out = np.empty(stored.shape, np.float64 if wide else np.float32, order="F")
    for k in range(stored.shape[2]):
        out[..., k] = stored[..., k].astype(np.float64) * slope + inter
    return out
