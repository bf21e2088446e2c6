"""The file that unsaved work is kept in: a zip of one JSON text and compressed blocks of masks.

    state.json      what was said about each object, and what else the dock shows
    tiles/1_0_3     zlib: the labels of one tile, where there are any
    found/2_0       zlib: the mask that prompts of object 2 start from, a bit per voxel
    hand            zlib: the voxels that were set by hand, where there are any

It is read with distrust: whatever is wrong with it is a ValueError with one sentence.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_sam3d.io.json_file import is_number
from napari_sam3d.plugin.session.hand_edits import Stroke
from napari_sam3d.plugin.session.objects import Object
from napari_sam3d.plugin.unsaved.kept_hand import strokes_from_parts, strokes_to_parts
from napari_sam3d.plugin.unsaved.kept_objects import object_from_json, object_to_json, starts_of
from napari_sam3d.volume import Shape3, Window

TILE = (32, 64, 64)
"""Voxels of a tile, (z, y, x); those at the far borders are smaller."""
_KIND, _VERSION = "napari-sam3d unsaved work", 1
_LARGEST = 64 << 20
"""Bytes of the JSON text; a larger one is something else."""
_MOST_BY_HAND = 1 << 30
"""Bytes of all strokes; so much memory is taken for a file at most."""
_LEVEL = 1  # labels are so even that a higher level takes longer and saves little

Tile = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Kept:
    """What a session knows at one moment.

    Parameters
    ----------
    title
        Name of the image.
    saved_s
        When, in seconds since 1970.
    owner
        Process that wrote it.
    shape, dtype
        Of the labels.
    current
        Number of the current object.
    objects
        All of them; only the windows of what they show count, the voxels are in the tiles.
    settings
        Of the dock, by name.
    strokes
        What was set by hand, oldest first.
    tiles
        Compressed labels.
    """

    title: str
    saved_s: float
    owner: Mapping[str, Any]
    shape: Shape3
    dtype: np.dtype
    current: int
    objects: Mapping[int, Object]
    settings: Mapping[str, Any]
    strokes: tuple[Stroke, ...] = ()
    tiles: Mapping[Tile, bytes] = field(default_factory=dict)

    def labels(self, tile: Tile) -> np.ndarray:
        """The labels of a tile."""
        shape = [s.stop - s.start for s in window_of(tile, self.shape)]
        return _unpack(self.tiles[tile], self.dtype.newbyteorder("<"), shape)


def window_of(tile: Tile, shape: Shape3) -> Window:
    """Where a tile is."""
    z, y, x = (
        slice(i * step, min((i + 1) * step, n))
        for i, step, n in zip(tile, TILE, shape, strict=True)
    )
    return z, y, x


def pack(labels: np.ndarray) -> bytes:
    """Compressed labels of a tile."""
    return zlib.compress(labels.astype(labels.dtype.newbyteorder("<")).tobytes(), _LEVEL)


def write_kept(file: BinaryIO, kept: Kept) -> None:
    """Write to an open file."""
    hand, voxels = strokes_to_parts(kept.strokes)
    state = {
        "format": _KIND,
        "version": _VERSION,
        "title": kept.title,
        "saved_s": kept.saved_s,
        "owner": dict(kept.owner),
        "shape": list(kept.shape),
        "dtype": kept.dtype.name,
        "current": kept.current,
        "settings": dict(kept.settings),
        "hand": {"strokes": hand, "bytes": len(voxels)},
        "objects": {str(n): object_to_json(it) for n, it in kept.objects.items()},
    }
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("state.json", json.dumps(state), zipfile.ZIP_DEFLATED, _LEVEL)
        if voxels:
            archive.writestr("hand", zlib.compress(voxels, _LEVEL))
        for tile, packed in kept.tiles.items():
            archive.writestr("tiles/{}_{}_{}".format(*tile), packed)
        for number, it in kept.objects.items():
            for n, start in enumerate(starts_of(it)):
                bits = np.packbits(start.mask).tobytes()
                archive.writestr(f"found/{number}_{n}", zlib.compress(bits, _LEVEL))


def read_kept(path: Path, *, whole: bool = True) -> Kept:
    """Read a file; ValueError with one sentence when it is not what we wrote.

    Parameters
    ----------
    path
        The file.
    whole
        Whether the masks are wanted, too.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, whole)
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    # a foreign file can be wrong in any way, and none of them may stop the dock
    except Exception as error:
        raise ValueError(f"{path.name} is damaged, or holds no work of the dock.") from error


def _read(archive: zipfile.ZipFile, whole: bool) -> Kept:
    state = json.loads(_member(archive, "state.json", _LARGEST))
    if state["format"] != _KIND or state["version"] != _VERSION:
        raise ValueError("another format")
    z, y, x = (int(n) for n in state["shape"])
    dtype = np.dtype(str(state["dtype"]))
    if min(z, y, x) < 1 or dtype.kind not in "iu":
        raise ValueError("no labels")
    shape = (z, y, x)
    kept = Kept(
        title=str(state["title"]),
        saved_s=_number(state["saved_s"]),
        owner=dict(state["owner"]),
        shape=shape,
        dtype=dtype,
        current=_label(state["current"]),
        objects={
            _label(n): object_from_json(it, shape, partial(_found, archive, n if whole else None))
            for n, it in state["objects"].items()
        },
        settings=dict(state["settings"]),
        strokes=_read_strokes(archive, state["hand"], shape) if whole else (),
        tiles=_read_tiles(archive, shape, dtype) if whole else {},
    )
    for tile in kept.tiles:
        if kept.labels(tile).min() < 0:
            raise ValueError("negative labels")
    return kept


def _read_strokes(
    archive: zipfile.ZipFile, hand: dict[str, Any], shape: Shape3
) -> tuple[Stroke, ...]:
    size = int(hand["bytes"])
    if not 0 <= size <= _MOST_BY_HAND:
        raise ValueError("too many strokes")
    packed = _member(archive, "hand", size + size // 8 + 1024) if size else b""
    voxels = _unpack(packed, np.dtype(np.uint8), [size]).tobytes() if size else b""
    return strokes_from_parts(hand["strokes"], voxels, shape)


def _read_tiles(archive: zipfile.ZipFile, shape: Shape3, dtype: np.dtype) -> dict[Tile, bytes]:
    tiles: dict[Tile, bytes] = {}
    for name in archive.namelist():
        if name.startswith("tiles/"):
            z, y, x = (int(n) for n in name[6:].split("_"))
            if any(
                not 0 <= i * step < n for i, step, n in zip((z, y, x), TILE, shape, strict=True)
            ):
                raise ValueError("a tile outside")
            # what does not compress grows by a few bytes only
            tiles[z, y, x] = _member(archive, name, 2 * dtype.itemsize * int(np.prod(TILE)))
    return tiles


def _found(archive: zipfile.ZipFile, number: str | None, n: int, window: Window) -> np.ndarray:
    """A mask that an object starts from; without a voxel when no number is given."""
    if number is None:
        return np.zeros((0, 0, 0), bool)
    shape = [s.stop - s.start for s in window]
    count = int(np.prod(shape))
    name = f"found/{number}_{n}"
    if name not in archive.namelist():  # one was all that there could be
        name = f"found/{number}"
    packed = _member(archive, name, count + 1024)
    bits = _unpack(packed, np.dtype(np.uint8), [(count + 7) // 8])
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The bytes of a member, and never more than `limit` of them."""
    with archive.open(name) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError("too large")
    return content


def _unpack(packed: bytes, dtype: np.dtype, shape: list[int]) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    content = zlib.decompressobj().decompress(packed, size + 1)
    if len(content) != size:
        raise ValueError("another size")
    return np.frombuffer(content, dtype).reshape(shape)


def _number(value: object) -> float:
    if not is_number(value):
        raise ValueError("no number")
    return float(value)


def _label(value: Any) -> int:
    if not 1 <= int(value) <= np.iinfo(np.int32).max:
        raise ValueError("no label")
    return int(value)
