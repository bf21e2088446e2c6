"""What came of one case, as a value and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from napari_sam3d.engine.found_objects import FoundObject


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    Parameters
    ----------
    case
        Its name.
    objects
        What its mask holds.
    warnings
        Sentences about its files, and about what was not found.
    seconds
        From reading to the mask that is written, without loading the model.
    lost
        The processes that died of it.
    error
        Why there is no mask, in a sentence; empty when there is one.
    """

    case: str
    objects: tuple[FoundObject, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    lost: tuple[str, ...] = ()
    error: str = ""


def to_json(outcome: Outcome) -> dict[str, Any]:
    """As a JSON value."""
    return asdict(outcome)


def from_json(value: Any) -> Outcome:
    """What `to_json` gave; ValueError when it is something else."""
    try:
        return Outcome(
            case=str(value["case"]),
            objects=tuple(map(_object, value["objects"])),
            warnings=tuple(map(str, value["warnings"])),
            seconds=float(value["seconds"]),
            lost=tuple(map(str, value["lost"])),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError("The record of a case is damaged.") from error


def _object(row: Mapping[str, Any]) -> FoundObject:
    centroid = row["centroid"]
    if centroid is not None:
        i, j, k = (float(c) for c in centroid)
        centroid = (i, j, k)
    return FoundObject(
        id=int(row["id"]),
        voxels=int(row["voxels"]),
        volume_ml=float(row["volume_ml"]),
        seconds=float(row["seconds"]),
        centroid=centroid,
        score=None if row["score"] is None else float(row["score"]),
        name=str(row["name"]),
    )
