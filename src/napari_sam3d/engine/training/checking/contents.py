"""What the values of a label map are: objects, tiny ones, and what is no label."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.training.cases import SMALLEST, no_class, no_object, regions
from napari_sam3d.engine.training.checking.check import (
    CLEAR,
    DROP,
    GOOD,
    LEAVE_OUT,
    PROBLEM,
    WARNING,
    Check,
)
from napari_sam3d.engine.training.checking.grids import labels_name
from napari_sam3d.labelled import Pair

_LARGEST = 2**32  # values from here on are no numbers of objects
_NAMED = 4  # objects that are told by their names


@dataclass(frozen=True)
class Contents:
    """What is in the labels of a pair.

    Parameters
    ----------
    labelled
        Voxels that are not 0.
    odd, example
        Those whose value is no positive whole number, and such a value.
    tiny
        Labels of objects that are too small to count.
    edges_mm
        Longest edge of each other object, in millimetres, by label.
    """

    labelled: int
    odd: int
    example: float
    tiny: tuple[int, ...]
    edges_mm: dict[int, float]


def contents_of(pair: Pair) -> Contents:
    """Look through the labels, on their own grid."""
    values = np.asarray(pair.labels)
    odd = _odd(values)
    count = 0 if odd is None else int(np.count_nonzero(odd))
    example = float(values[odd][0]) if odd is not None and count else 0.0
    labels = whole(values)
    tiny, edges = [], {}
    spacing = np.asarray(pair.labels_grid.spacing)
    for label, _, mask in regions(labels):
        if int(mask.sum()) < SMALLEST:
            tiny.append(label)
        else:
            edges[label] = float(max(np.array(mask.shape) * spacing))
    return Contents(int(np.count_nonzero(values)), count, example, tuple(tiny), edges)


def whole(labels: np.ndarray) -> np.ndarray:
    """Labels as whole numbers of the smallest kind that holds them, 0 where they are none."""
    values = np.asarray(labels)
    odd = _odd(values)
    if odd is not None and odd.any():
        values = np.where(odd, 0, values)
    return values.astype(np.min_scalar_type(int(values.max())), copy=False)


def empty_check(pair: Pair, found: Contents) -> Check:
    """Whether there is an object to learn from."""
    if not found.labelled:
        said = f"{labels_name(pair)} {_has(pair)} no labelled voxel; leave it out."
        return Check(pair.name, "empty", PROBLEM, said, LEAVE_OUT)
    if not found.edges_mm and not found.odd:
        return Check(pair.name, "empty", PROBLEM, no_object(pair.name), LEAVE_OUT)
    objects = sorted(found.edges_mm)
    named = [pair.names.get(it, f"label {it}") for it in objects[:_NAMED]]
    more = ", ..." if len(objects) > _NAMED else ""
    words = "1 object" if len(objects) == 1 else f"{len(objects)} objects"
    return Check(pair.name, "empty", GOOD, f"{words}: {', '.join(named)}{more}.")


def ids_check(pair: Pair, found: Contents, spec: ModelSpec | None) -> Check:
    """Whether its values are numbers of objects, and its objects large enough.

    Parameters
    ----------
    pair, found
        The labels.
    spec
        The model, which may know some classes only; None when it is not known.
    """
    start = labels_name(pair)
    value = f"{found.example:g}"
    if found.odd > found.labelled / 2:
        is_map = "is no label map" if pair.files else "are no label map"
        said = f"{start} {is_map}: most of its values are no positive whole numbers, such as"
        return Check(pair.name, "ids", PROBLEM, f"{said} {value}; leave it out.", LEAVE_OUT)
    if found.odd:
        said = (
            f"{start} {_has(pair)} {_voxels(found.odd)} with values that are no positive whole "
            f"numbers, such as {value}; leave these voxels out."
        )
        return Check(pair.name, "ids", PROBLEM, said, CLEAR)
    most = max((*found.tiny, *found.edges_mm), default=0)
    if spec is not None and spec.classes and most > len(spec.classes):
        said = no_class(pair.name, most, len(spec.classes), spec)
        return Check(pair.name, "ids", PROBLEM, said, LEAVE_OUT)
    if found.tiny and found.edges_mm:
        shown = ", ".join(map(str, found.tiny[:_NAMED])) + ", ..." * (len(found.tiny) > _NAMED)
        many = f"{len(found.tiny)} objects" if len(found.tiny) > 1 else "an object"
        said = (
            f"{start} {_has(pair)} {many} of fewer than {SMALLEST} voxels (label {shown}), "
            "which are not learned from."
        )
        return Check(pair.name, "ids", WARNING, said, DROP)
    return Check(pair.name, "ids", GOOD, "All labels are positive whole numbers.")


def cleared(pair: Pair) -> Pair:
    """The pair without the voxels whose value is no label."""
    return replace(pair, labels=whole(pair.labels))


def without_tiny(pair: Pair) -> Pair:
    """The pair without objects that are too small to count."""
    labels = whole(pair.labels).copy()
    for _, window, mask in regions(labels):
        if int(mask.sum()) < SMALLEST:
            labels[window][mask] = 0
    return replace(pair, labels=labels)


def _odd(values: np.ndarray) -> np.ndarray | None:
    """Where values are no numbers of objects; None when they are of a kind that has no others."""
    if values.dtype.kind == "b" or (values.dtype.kind == "u" and values.dtype.itemsize <= 4):
        return None
    good = (values >= 0) & (values < _LARGEST)  # both false for NaN
    if values.dtype.kind == "f":
        good &= values == np.rint(values)
    return ~good


def _voxels(count: int) -> str:
    return "a voxel" if count == 1 else f"{count:,} voxels"


def _has(pair: Pair) -> str:
    return "has" if pair.files else "have"
