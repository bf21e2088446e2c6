"""Prompts as JSON, in stored voxel indices and in RAS millimetres.

    {"format": "napari-sam3d prompts", "version": 1,
     "image": {"name": "ct.nii.gz", "shape": [512, 512, 300], "affine": [[-0.7, 0, 0, 180], ...]},
     "objects": [{"id": 1, "name": "liver", "points": [
       {"label": "positive", "ijk": [120, 88, 40], "ras_mm": [96.0, -20.5, 14.0]}],
       "box": {"ijk": [[90, 60, 30], [140, 110, 52]], "ras_mm": [[117.0, -40.1, 4.0], ...]},
       "scribbles": [{"label": "negative", "ijk": [[9, 8, 7], ...], "ras_mm": [...]}]}]}

`shape` and `affine` (voxel indices to RAS mm) are those of the stored array (i, j, k). On the same
grid the indices count, on another one of the same patient the millimetres. Either may be missing
where it is not needed; other keys are ignored. A box has two opposite corners in voxels and all
eight in millimetres. Boxes and scribbles came with version 2; files without them say 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from napari_sam3d.io.affine import corner_distance
from napari_sam3d.io.json_file import is_number, is_whole, read_json, write_text
from napari_sam3d.io.prompt_rows import ObjectPrompts, RowReader, object_row
from napari_sam3d.io.source import NiftiSource, fresh_source
from napari_sam3d.volume import Volume

KIND = "napari-sam3d prompts"
VERSION = 2

_SAME = 1e-3
"""Voxels; grids whose corners differ by less are the same, whoever rounded the affine."""


def write_prompts(
    path: str | Path, objects: Sequence[ObjectPrompts], volume: Volume, *, overwrite: bool = False
) -> Path:
    """Write prompts; `.json` is appended to a name without it.

    Parameters
    ----------
    path
        The file.
    objects
        Those of which nothing was said are left out.
    volume
        The image that the prompts belong to.
    overwrite
        Whether a file at `path` may be replaced.

    Raises
    ------
    ValueError
        When there is no prompt.
    OSError
        When the file exists and `overwrite` is false, or it cannot be written.
    """
    frame = _frame(volume)
    said = [it for it in objects if it.said.parts]
    if not said:
        raise ValueError("There are no prompts to save.")
    version = 1 if all(len(it.points) == len(it.said.parts) for it in said) else VERSION
    image = {
        "name": Path(frame.path).name or volume.name,
        "shape": list(frame.stored_shape),
        "affine": frame.affine.tolist(),
    }
    rows = [object_row(it, frame) for it in said]
    value = {"format": KIND, "version": version, "image": image, "objects": rows}
    return write_text(json_path(path), _lines(value), overwrite=overwrite)


def read_prompts(path: str | Path, volume: Volume) -> tuple[ObjectPrompts, ...]:
    """The objects of a file, by ascending id, on the voxels of a volume.

    Raises
    ------
    ValueError
        With one sentence: a file of another kind or damaged, or a prompt outside the volume.
    """
    path = Path(path)
    value = read_json(path, KIND, VERSION)
    frame = _frame(volume)
    reader = RowReader(frame, volume, _is_on(value.get("image"), frame, path), path.name)
    rows = value.get("objects")
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path.name} is damaged: it has no list of objects.")
    objects: dict[int, ObjectPrompts] = {}
    for row in rows:
        it = reader.read(row)
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
    affine = np.array(rows, float)
    last = np.abs(affine[3] - (0, 0, 0, 1)).max()  # of no affine, where it is anything else
    return bool(last < _SAME and corner_distance(frame.affine, affine, frame.stored_shape) < _SAME)


def _is_triple(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) == 3 and all(is_whole(n) for n in value)


def _is_numbers(value: Any, count: int) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == count and all(is_number(n) for n in value)


def _lines(value: dict[str, Any]) -> str:
    """JSON with a prompt per line: people read such files, and compare them."""
    objects = []
    for row in value["objects"]:
        head = _plain({"id": row["id"], "name": row["name"]})[:-1]
        parts = [f'"points": {_listed(row["points"])}']
        parts += [f'"box": {_plain(row["box"])}'] if "box" in row else []
        parts += [f'"scribbles": {_listed(row["scribbles"])}'] if "scribbles" in row else []
        body = ",\n   ".join(parts)
        objects.append(f"  {head}, {body}}}")
    head = _plain({key: value[key] for key in ("format", "version", "image")})[:-1]
    return f'{head},\n "objects": [\n' + ",\n".join(objects) + "\n ]}\n"


def _listed(rows: list[dict[str, Any]]) -> str:
    lines = ",\n".join("    " + _plain(row) for row in rows)
    return f"[\n{lines}\n  ]" if lines else "[]"


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
