"""The scores of a case as a JSON value, exactly; what is no number is null, without end "inf"."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from reprlib import repr as short
from typing import Any, TypeVar

from napari_sam3d.engine.evaluation.results import CaseScores, ObjectScores, Round
from napari_sam3d.io.json_file import is_number, is_whole

T = TypeVar("T")

_WITHOUT_END = {"inf": math.inf, "-inf": -math.inf}


def to_json(value: Any) -> Any:
    """The JSON form of scores or of a summary: an object per dataclass, with its fields."""
    if is_dataclass(value):
        return {it.name: to_json(getattr(value, it.name)) for it in fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(it) for it in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def from_json(value: object, file: str = "The file") -> CaseScores:
    """The scores that `to_json` made this value of.

    Parameters
    ----------
    value
        As read from a file, by `io.json_file.read_json`.
    file
        Its name, for the sentence.

    Raises
    ------
    ValueError
        With one sentence, when it is anything else.
    """
    row = _Row(value, "a case", file)
    return CaseScores(
        case=row.text("case"),
        objects=tuple(row.rows("objects", "an object", _object)),
        seconds=row.number("seconds"),
        peak_bytes=row.whole("peak_bytes"),
        error=row.text("error"),
    )


def _object(row: _Row) -> ObjectScores:
    return ObjectScores(
        label=row.whole("label"),
        name=row.text("name"),
        class_label=row.whole("class_label"),
        voxels=row.whole("voxels"),
        volume_ml=row.number("volume_ml"),
        contrast=row.number("contrast"),
        rounds=tuple(row.rows("rounds", "a round", _round)),
    )


def _round(row: _Row) -> Round:
    return Round(
        name=row.text("name"),
        dice=row.number("dice"),
        nsd=row.number("nsd"),
        hd95_mm=row.number("hd95_mm"),
        seconds=row.number("seconds"),
        said=tuple(row.said()),
    )


class _Row:
    """One JSON object, read with distrust."""

    def __init__(self, value: object, what: str, file: str) -> None:
        self._what, self._file = what, file
        if not isinstance(value, dict):
            raise self._damaged(f"{short(value)} stands for {what}")
        self._value = value

    def text(self, key: str) -> str:
        value = self._value.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def whole(self, key: str) -> int:
        value = self._value.get(key)
        if not is_whole(value) or value < 0:
            raise self._wrong(key, "a whole number")
        return value

    def number(self, key: str) -> float:
        value = self._value.get(key, "missing")  # null is what a file says of no number
        if value is None:
            return math.nan
        if isinstance(value, str) and value in _WITHOUT_END:
            return _WITHOUT_END[value]
        if not is_number(value):
            raise self._wrong(key, "a number")
        return float(value)

    def rows(self, key: str, what: str, read: Callable[[_Row], T]) -> list[T]:
        return [read(_Row(it, what, self._file)) for it in self._list(key)]

    def said(self) -> list[tuple[float, ...]]:
        rows = self._list("said")
        for row in rows:
            if not (isinstance(row, list) and len(row) in (4, 6) and all(map(is_number, row))):
                raise self._damaged(f"{short(row)} is neither a point nor a box")
        return [tuple(map(float, row)) for row in rows]

    def _list(self, key: str) -> list[Any]:
        value = self._value.get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def _wrong(self, key: str, wanted: str) -> ValueError:
        if key not in self._value:
            return self._damaged(f"{self._what} has no {key}")
        found = short(self._value[key])
        return self._damaged(f"the {key} of {self._what} is {found}, not {wanted}")

    def _damaged(self, why: str) -> ValueError:
        return ValueError(f"{self._file} is damaged: {why}.")
