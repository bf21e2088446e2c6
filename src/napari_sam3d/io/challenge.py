"""The npz files of the CVPR 2025 challenge on interactive 3D segmentation.

A file holds `imgs` (z, y, x) of 0 to 255, `spacing`, mostly `boxes`, and `gts`, unless these are in
a file of the same name in another folder (github.com/JunMa11/CVPR-MedSegFMCompetition).

`spacing` has the order of the array's axes here, since it has it for those who score and segment
there: CVPR25_iter_eval.py gives it to the surface distances of `gts` as it is, and SAM-Med3D
(data/resample_preprocess_for_CVPR_3DFM.py) and VISTA3D (vista3d/cvpr_workshop/train_cvpr.py) do
alike. Files made by MedSAM's pre_CT_MR.py have it as (x, y, z) (github.com/bowang-lab/MedSAM, issue
401); turning it round for them would give other figures than the challenge's.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import psutil

from napari_sam3d.io.checks import check_size
from napari_sam3d.io.errors import NiftiError
from napari_sam3d.io.json_file import is_number
from napari_sam3d.io.plain_pickle import LARGEST, plain_pickle
from napari_sam3d.prompts import Box
from napari_sam3d.volume import Grid, Shape3, Volume

_PIECE = 1 << 20
_TOO_LARGE = 0.8  # of the free memory
_CORNERS = (
    ("z_min", "z_mid_y_min", "z_mid_x_min"),
    ("z_max", "z_mid_y_max", "z_mid_x_max"),
)


class NpzError(ValueError):
    """An npz file that cannot be used, and why in one sentence."""


def read_image(path: Path) -> Volume:
    """The image of a file, its axes as they are: nothing tells which way they point.

    Raises
    ------
    ValueError
        With one sentence that names the file and what is wrong.
    """
    data = read_array(path, "imgs")
    if data is None:
        raise NpzError(f"{path.name} holds no imgs; it is no image of the challenge.")
    if data.ndim != 3:
        raise NpzError(f"{path.name} has imgs of {data.ndim} axes; images of three are read.")
    spacing = read_array(path, "spacing")
    if spacing is None or spacing.shape != (3,) or spacing.dtype.kind not in "iuf":
        raise NpzError(f"{path.name} does not say its spacing in three numbers.")
    sizes = [float(size) for size in spacing]
    if not all(math.isfinite(size) and 1e-30 < size < 1e30 for size in sizes):
        raise NpzError(f"{path.name} has a spacing of {sizes}; voxel sizes are above zero.")
    return Volume(data, Grid.from_spacing(data.shape, sizes), path.name)


def read_gts(path: Path) -> np.ndarray:
    """The labels of a file, as they are; ValueError with one sentence when there are none."""
    labels = read_array(path, "gts")
    if labels is None:
        raise NpzError(
            f"{path.name} holds no gts; name the folder of the files that do with --truth."
        )
    return labels


def read_boxes(path: Path, labels: Sequence[int], shape: Shape3) -> dict[int, Box]:
    """The boxes that the challenge gives with an image; none for images without.

    Each is as high as its object and as wide as its middle slice, enlarged (get_boxes.py).

    Parameters
    ----------
    path
        The file with the image.
    labels
        What its `gts` hold, by ascending value; the boxes have this order.
    shape
        Of the image.

    Raises
    ------
    ValueError
        With one sentence, when the boxes are no such.
    """
    rows = _boxes(path)
    if rows is None:
        return {}
    if not isinstance(rows, list) or len(rows) != len(labels):
        raise NpzError(
            f"{path.name} has {len(rows) if isinstance(rows, list) else 'damaged'} boxes for "
            f"{len(labels)} labels; use its image without them."
        )
    return {label: _box(row, shape, path) for label, row in zip(sorted(labels), rows, strict=True)}


def read_array(path: Path, key: str) -> np.ndarray | None:
    """An array of numbers; None when the file has none of this name.

    What its header claims is held against the file and the free memory before any is taken.

    Raises
    ------
    ValueError
        With one sentence, when the file is damaged or the array holds no numbers.
    """
    with _opened(path, key) as member:
        if member is None:
            return None
        file, info = member
        shape, by_column, dtype = _header(file)
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise NpzError(f"{path.name} has {key} of {dtype} and not of plain numbers.")
        size = math.prod(shape) * dtype.itemsize
        if not shape or min(shape) < 1 or info.file_size != file.tell() + size:
            raise NpzError(
                f"{path.name} is damaged: the header of {key} claims an array of shape {shape}, "
                f"which is not what follows; copy the file again."
            )
        free = psutil.virtual_memory().available
        if size > _TOO_LARGE * free:
            raise NpzError(
                f"{path.name} needs {size / 1e9:.1f} GB of memory for {key} and {free / 1e9:.1f} "
                "GB are free; close other programs."
            )
        raw, done = np.empty(size, np.uint8), 0
        while done < size:
            piece = file.read(min(_PIECE, size - done))
            if not piece:
                raise EOFError
            raw[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            done += len(piece)
        file.read(1)  # the checksum is compared where the data ends
    values = (raw != 0) if dtype.kind == "b" else raw.view(dtype)
    return values.reshape(shape, order="F" if by_column else "C").astype(
        dtype.newbyteorder("="), copy=False
    )


def _boxes(path: Path) -> Any:
    """What the array of boxes holds, an array of objects; None when there is none."""
    with _opened(path, "boxes") as member:
        if member is None:
            return None
        file, info = member
        if info.file_size > LARGEST:
            raise NpzError(f"{path.name} has boxes of {info.file_size} bytes, which is too many.")
        _, _, dtype = _header(file)
        if dtype.kind != "O":
            raise NpzError(f"{path.name} has boxes of {dtype}, which are none of the challenge.")
        content = file.read()
    return plain_pickle(content, f"{path.name}, in its boxes,")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis is the fastest, and type of an array in the .npy format."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, by_column, dtype = readers[version](file)
    return tuple(int(n) for n in shape), bool(by_column), dtype


def _box(row: Any, shape: Shape3, path: Path) -> Box:
    """A box from its row, whose corners are voxels that belong to it."""
    ends: list[list[float]] = []
    for keys in _CORNERS:
        said = [row.get(key) if isinstance(row, dict) else None for key in keys]
        ends.append([float(value) for value in said if is_number(value)])
    low, high = ends
    if len(low) < 3 or len(high) < 3:
        raise NpzError(f"{path.name} has a box without the six numbers that it needs.")
    if not all(0 <= a <= b <= n - 1 for a, b, n in zip(low, high, shape, strict=True)):
        raise NpzError(f"{path.name} has a box from {low} to {high}, which leaves the image.")
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


@contextmanager
def _opened(path: Path, key: str) -> Iterator[tuple[BinaryIO, zipfile.ZipInfo] | None]:
    """The member of an npz file that holds an array; whatever goes wrong becomes a sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            named = [it for it in archive.infolist() if it.filename == f"{key}.npy"]
            if not named:
                yield None
                return
            info = named[-1]
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NpzError(f"{path.name} is packed as NumPy does not; save it with NumPy.")
            packed = min(info.compress_size, path.stat().st_size)
            check_size(path.name, packed, info.file_size, info.compress_type != zipfile.ZIP_STORED)
            with archive.open(info) as file:
                yield cast(BinaryIO, file), info
    except FileNotFoundError as error:
        raise NpzError(f"{path.name} does not exist; check the path {path}.") from error
    except OSError as error:
        raise NpzError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise NpzError(f"{path.name} does not fit into memory; close other programs.") from error
    except (NpzError, NiftiError):
        raise
    except Exception as error:  # zipfile and the reader of headers raise some ten kinds
        raise NpzError(f"{path.name} is damaged or no npz file; copy the file again.") from error
