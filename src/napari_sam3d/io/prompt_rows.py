"""What was said about one object as a JSON value in a file of prompts, and back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, TypeGuard

import numpy as np

from napari_sam3d.io.json_file import is_number, is_whole
from napari_sam3d.io.source import NiftiSource
from napari_sam3d.prompts import LARGEST_ID, Box, Point, Said, Scribble
from napari_sam3d.volume import Point3, Volume

_LABELS = {"positive": True, "negative": False}
_WORDS = {positive: label for label, positive in _LABELS.items()}


@dataclass(frozen=True)
class ObjectPrompts:
    """What was said about one object.

    Parameters
    ----------
    id
        Its label in the mask.
    points, box, scribbles
        As in `Said`; positions are (z, y, x) voxels of the volume, as everywhere.
    name
        Empty when it has none.
    """

    id: int
    points: tuple[Point, ...] = ()
    name: str = ""
    box: Box | None = None
    scribbles: tuple[Scribble, ...] = ()

    @property
    def said(self) -> Said:
        """All of it but the id and the name."""
        return Said(self.points, self.box, self.scribbles)


def object_row(it: ObjectPrompts, frame: NiftiSource) -> dict[str, Any]:
    """The value of an object; `box` and `scribbles` are in it when there are any."""

    def places(positions: Sequence[Point3] | Point3) -> dict[str, Any]:
        array = np.array(positions, float)
        return {"ijk": frame.to_stored(array).tolist(), "ras_mm": frame.to_ras(array).tolist()}

    row: dict[str, Any] = {"id": int(it.id), "name": it.name}
    row["points"] = [
        {"label": _WORDS[point.positive], **places(point.position_voxel)} for point in it.points
    ]
    if it.box is not None:
        # on another grid two corners would be another box
        corners = [(z, y, x) for z, y, x in itertools.product(*it.box.array().T.tolist())]
        low, high = it.box.array().tolist()
        row["box"] = {"ijk": places([low, high])["ijk"], "ras_mm": places(corners)["ras_mm"]}
    if it.scribbles:
        row["scribbles"] = [
            {"label": _WORDS[stroke.positive], **places(stroke.positions_voxel)}
            for stroke in it.scribbles
        ]
    return row


@dataclass(frozen=True)
class RowReader:
    """Reads the values of objects onto the voxels of a volume.

    Parameters
    ----------
    frame
        What (i, j, k) and RAS are for the volume.
    volume
        Which nothing may leave.
    same
        Whether the file speaks of its grid: then (i, j, k) count, else millimetres.
    file
        Its name, for sentences.
    """

    frame: NiftiSource
    volume: Volume
    same: bool
    file: str

    def read(self, row: Any) -> ObjectPrompts:
        """One object; ValueError with a sentence."""
        number = row.get("id") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not is_whole(number) or not 1 <= number <= LARGEST_ID:
            raise ValueError(
                f"{self.file} is damaged: an object has the id {short(number)}, not 1 to "
                f"{LARGEST_ID}."
            )
        name = row.get("name")
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{self.file} is damaged: the name of object {number} is no text.")
        points, box, strokes = row.get("points"), row.get("box"), row.get("scribbles", [])
        if not isinstance(points, list) or not (points or box is not None or strokes):
            raise ValueError(f"{self.file} is damaged: object {number} has no prompts.")
        if not isinstance(strokes, list):
            raise ValueError(
                f"{self.file} is damaged: the scribbles of object {number} are no list."
            )
        return ObjectPrompts(
            number,
            tuple(self._point(it, number) for it in points),
            name or "",
            None if box is None else self._box(box, number),
            tuple(self._scribble(it, number) for it in strokes),
        )

    def _point(self, row: Any, number: int) -> Point:
        positive = self._label(row, "point", number)
        key, at = self._places(row, "point", number)
        if not _is_position(at):
            raise ValueError(
                f"{self.file} is damaged: a point of object {number} has {short(at)} for {key}, "
                "not three numbers."
            )
        return Point(self._inside(at, key, "point", number), positive)

    def _scribble(self, row: Any, number: int) -> Scribble:
        positive = self._label(row, "scribble", number)
        key, at = self._places(row, "scribble", number)
        self._require_positions(at, key, "scribble", number)
        return Scribble(tuple(self._inside(it, key, "scribble", number) for it in at), positive)

    def _box(self, row: Any, number: int) -> Box:
        if not isinstance(row, dict):
            raise ValueError(f"{self.file} is damaged: the box of object {number} is none.")
        key, at = self._places(row, "box", number)
        self._require_positions(at, key, "box", number)
        corners = self._back(key)(np.array(at, float))
        low, high = corners.min(0), corners.max(0)
        middle = [float(c) for c in self._forth(key)((low + high) / 2)]
        self._inside(middle, key, "middle of the box", number)
        # the box about an oblique one may be larger than the volume
        last = np.array(self.volume.grid.shape) - 1.0
        low, high = np.clip(low, 0, last).tolist(), np.clip(high, 0, last).tolist()
        return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def _label(self, row: Any, what: str, number: int) -> bool:
        label = row.get("label") if isinstance(row, dict) else None
        if not isinstance(label, str) or label not in _LABELS:
            raise ValueError(
                f"{self.file} is damaged: a {what} of object {number} has the label "
                f"{short(label)}, neither 'positive' nor 'negative'."
            )
        return _LABELS[label]

    def _places(self, row: dict[str, Any], what: str, number: int) -> tuple[str, Any]:
        """Which coordinates count, and these."""
        key = "ijk" if self.same and row.get("ijk") is not None else "ras_mm"
        if row.get(key) is None:
            raise ValueError(
                f"{self.file} gives a {what} of object {number} without ras_mm, which is needed "
                f"because {self.volume.name} is not the image that it was made on."
            )
        return key, row[key]

    def _require_positions(self, at: Any, key: str, what: str, number: int) -> None:
        if not isinstance(at, list) or not at or not all(map(_is_position, at)):
            raise ValueError(
                f"{self.file} is damaged: a {what} of object {number} has {short(at)} for {key}, "
                "not positions of three numbers."
            )

    def _inside(self, at: Sequence[float], key: str, what: str, number: int) -> Point3:
        """The voxel position; ValueError when the volume does not have it."""
        with np.errstate(over="ignore", invalid="ignore"):  # far away is outside all the same
            z, y, x = (float(c) for c in self._back(key)(np.array(at, float)))
        if not self.volume.grid.contains((z, y, x)):
            where = ", ".join(f"{c:g}" for c in at)
            raise ValueError(
                f"{self.file} has the {what} ({where}) {'' if key == 'ijk' else 'mm '}of object "
                f"{number}, which is outside {self.volume.name}; load it with the image it was "
                "made on."
            )
        return z, y, x

    def _back(self, key: str) -> Callable[[np.ndarray], np.ndarray]:
        return self.frame.to_display if key == "ijk" else self.frame.from_ras

    def _forth(self, key: str) -> Callable[[np.ndarray], np.ndarray]:
        return self.frame.to_stored if key == "ijk" else self.frame.to_ras


def _is_position(value: Any) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 3 and all(is_number(n) for n in value)
