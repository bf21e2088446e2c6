"""Gzipped data, with its checksum compared."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import BinaryIO, cast

import numpy as np

from napari_sam3d.io.errors import NiftiError

_PIECE = 16 << 20
_TAIL = 1 << 20


def unzipped(file: BinaryIO) -> BinaryIO:
    """The file itself, or its content when it is gzipped, whatever its name says."""
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if zipped else file


def skip(stream: BinaryIO, count: int) -> None:
    """Read over so many bytes; EOFError when there are fewer."""
    while count:
        piece = len(stream.read(min(_PIECE, count)))
        if not piece:
            raise EOFError
        count -= piece


def numbers_of(stream: BinaryIO, dtype: np.dtype) -> Callable[[int, int], np.ndarray]:
    """A function of (place, count) that reads the next numbers; EOFError when there are fewer."""

    def take(_: int, count: int) -> np.ndarray:
        raw = stream.read(count * dtype.itemsize)
        if len(raw) < count * dtype.itemsize:
            raise EOFError
        return np.frombuffer(raw, dtype)

    return take


def check_end(stream: BinaryIO, name: str, warnings: list[str]) -> None:
    """Compare the checksum behind the voxels; a warning when more than zeros follows.

    gzip compares it only when it is read to the end. Of what does not belong there no more than
    a megabyte is read, so that gigabytes of it cost no time.
    """
    try:
        extra = stream.read(_TAIL).strip(b"\0")  # some programs pad with zeros
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise NiftiError(
                f"{name} is damaged: its checksum is wrong; copy the file again."
            ) from error
        extra = b"junk"
    if extra:
        warnings.append("It has extra data after its voxels, which was left out.")
