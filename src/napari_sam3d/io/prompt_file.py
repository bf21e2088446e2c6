"""Prompts as JSON: points in stored voxel indices and in RAS millimetres.

    {"format": "napari-sam3d prompts", "version": 1,
     "image": {"name": "ct.nii.gz", "shape": [512, 512, 300], "affine": [[-0.7, 0, 0, 180], ...]},
     "objects": [{"id": 1, "name": "liver", "points": [
       {"label": "positive", "ijk": [120, 88, 40], "ras_mm": [96.0, -20.5, 14.0]}]}]}

`shape` and `affine` (voxel indices to RAS mm) are those of the stored array (i, j, k). On the same
grid the indices count, on another one of the same patient the millimetres. Either may be missing
where it is not needed; other keys are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeGuard

import numpy as np

from napari_sam3d.io.json_file import is_number, is_whole, read_json, write_text
from napari_sam3d.io.source import NiftiSource, fresh_source
from napari_sam3d.prompts import Point
from napari_sam3d.volume import Volume

KIND = "napari-sam3d prompts"
VERSION = 1
LARGEST_ID = 65535

_LABELS = {"positive": True, "negative": False}
_SAME = 1e-3
"""Voxels; grids whose corners differ by less are the same, whoever rounded the affine."""


@dataclass(frozen=True)
class ObjectPrompts:
    """What was said about one object.

    Parameters
    ----------
    id
        Its label in the mask.
    points
        Positions are (z, y, x) voxels of the volume, as everywhere.
    name
        Empty when it has none.
    """

    id: int
    points: tuple[Point, ...]
    name: str = ""


def write_prompts(
    path: str | Path, objects: Sequence[ObjectPrompts], volume: Volume, *, overwrite: bool = False
) -> Path:
    """Write prompts; `.json` is appended to a name without it.

    Parameters
    ----------
    path
        The file.
    objects
        Those without a point are left out.
    volume
        The image that the points belong to.
    overwrite
        Whether a file at `path` may be replaced.

    Raises
    ------
    ValueError
        When there is no point.
    OSError
        When the file exists and `overwrite` is false, or it cannot be written.
    """
    frame = _frame(volume)
    rows = [_object_row(it, frame) for it in objects if it.points]
    if not rows:
        raise ValueError("There are no points to save.")
    image = {
        "name": Path(frame.path).name or volume.name,
        "shape": list(frame.stored_shape),
        "affine": frame.affine.tolist(),
    }
    value = {"format": KIND, "version": VERSION, "image": image, "objects": rows}
    return write_text(json_path(path), _lines(value), overwrite=overwrite)


def read_prompts(path: str | Path, volume: Volume) -> tuple[ObjectPrompts, ...]:
    """The objects of a file, by ascending id, on the voxels of a volume.

    Raises
    ------
    ValueError
        With one sentence: a file of another kind or damaged, or a point outside the volume.
    """
    path = Path(path)
    value = read_json(path, KIND, VERSION)
    frame = _frame(volume)
    same = _is_on(value.get("image"), frame, path)
    rows = value.get("objects")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path.name} is damaged: it has no list of objects.")
    objects: dict[int, ObjectPrompts] = {}
    for row in rows:
        it = _read_object(row, frame, volume, same, path)
        if it.id in objects:
            raise ValueError(f"{path.name} is damaged: object {it.id} is in it twice.")
        objects[it.id] = it
    return tuple(objects[number] for number in sorted(objects))


def json_path(path: str | Path) -> Path:
    """The path, with `.json` appended unless it ends so."""
    path = Path(path)
    return path if path.suffix.lower() == ".json" else path.with_name(f"{path.name}.json")


def _frame(volume: Volume) -> NiftiSource:
    """What (i, j, k) and RAS are for this volume."""
    return volume.source or fresh_source(volume.grid)


def _object_row(it: ObjectPrompts, frame: NiftiSource) -> dict[str, Any]:
    positions = np.array([point.position_voxel for point in it.points], float)
    said = {positive: label for label, positive in _LABELS.items()}
    points = [
        {"label": said[point.positive], "ijk": ijk.tolist(), "ras_mm": ras.tolist()}
        for point, ijk, ras in zip(
            it.points, frame.to_stored(positions), frame.to_ras(positions), strict=True
        )
    ]
    return {"id": int(it.id), "name": it.name, "points": points}


def _is_on(image: Any, frame: NiftiSource, path: Path) -> bool:
    """Whether the file speaks of the grid of a frame; ValueError when it does not say properly."""
    image = {} if image is None else image
    if not isinstance(image, dict):
        raise ValueError(f"{path.name} is damaged: its image is not described.")
    shape, rows = image.get("shape"), image.get("affine")
    if shape is None and rows is None:
        return False
    sound = isinstance(rows, list) and len(rows) == 4 and all(_is_numbers(row, 4) for row in rows)
    if not (sound and _is_triple(shape)):
        raise ValueError(f"{path.name} is damaged: the shape or affine of its image is no such.")
    if tuple(shape) != tuple(frame.stored_shape):
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in frame.stored_shape])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(8)])
    apart = np.linalg.solve(frame.affine, (np.array(rows, float) - frame.affine) @ corners)
    return bool(np.abs(apart).max() < _SAME)


def _read_object(
    row: Any, frame: NiftiSource, volume: Volume, same: bool, path: Path
) -> ObjectPrompts:
    number = row.get("id") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not is_whole(number) or not 1 <= number <= LARGEST_ID:
        raise ValueError(
            f"{path.name} is damaged: an object has the id {short(number)}, not 1 to {LARGEST_ID}."
        )
    name, points = row.get("name"), row.get("points")
    if name is not None and not isinstance(name, str):
        raise ValueError(f"{path.name} is damaged: the name of object {number} is no text.")
    if not isinstance(points, list) or not points:
        raise ValueError(f"{path.name} is damaged: object {number} has no points.")
    read = tuple(_read_point(point, number, frame, volume, same, path) for point in points)
    return ObjectPrompts(number, read, name or "")


def _read_point(
    row: Any, number: int, frame: NiftiSource, volume: Volume, same: bool, path: Path
) -> Point:
    label = row.get("label") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(label, str) or label not in _LABELS:
        raise ValueError(
            f"{path.name} is damaged: a point of object {number} has the label {short(label)}, "
            "neither "
            "'positive' nor 'negative'."
        )
    key = "ijk" if same and row.get("ijk") is not None else "ras_mm"
    at = row.get(key)
    if at is None:
        raise ValueError(
            f"{path.name} gives a point of object {number} without ras_mm, which is needed because "
            f"{volume.name} is not the image that it was made on."
        )
    if not _is_numbers(at, 3):
        raise ValueError(
            f"{path.name} is damaged: a point of object {number} has {short(at)} for {key}, not "
            "three "
            "numbers."
        )
    back = frame.to_display if key == "ijk" else frame.from_ras
    with np.errstate(over="ignore", invalid="ignore"):  # far away is outside all the same
        z, y, x = (float(c) for c in back(np.array(at, float)))
    if not volume.grid.contains((z, y, x)):
        where = ", ".join(f"{c:g}" for c in at)
        raise ValueError(
            f"{path.name} has the point ({where}) {'' if key == 'ijk' else 'mm '}of object "
            f"{number}, which is outside {volume.name}; load it with the image it was made on."
        )
    return Point((z, y, x), _LABELS[label])


def _is_triple(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) == 3 and all(is_whole(n) for n in value)


def _is_numbers(value: Any, count: int) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == count and all(is_number(n) for n in value)


def _lines(value: dict[str, Any]) -> str:
    """JSON with a point per line: people read such files, and compare them."""
    objects = []
    for row in value["objects"]:
        points = ",\n".join("    " + _plain(point) for point in row["points"])
        head = _plain({"id": row["id"], "name": row["name"]})[:-1]
        objects.append(f'  {head}, "points": [\n{points}\n  ]}}')
    head = _plain({key: value[key] for key in ("format", "version", "image")})[:-1]
    return f'{head},\n "objects": [\n' + ",\n".join(objects) + "\n ]}\n"


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
