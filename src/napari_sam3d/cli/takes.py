"""What a model takes, held against what was said, before any time is spent on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.cli.points import TypedPoint, require_positive
from napari_sam3d.prompts import Point

Said = Mapping[int, Sequence[TypedPoint | Point]]


def check_usable(spec: ModelSpec, points: Said, boxes: Collection[int]) -> None:
    """ValueError when something was said that the model cannot use.

    Parameters
    ----------
    spec
        The model.
    points
        The points of each object.
    boxes
        The objects that have a box.
    """
    every = [point for said in points.values() for point in said]
    if every and "foreground" not in spec.prompts:
        refused = "points"
    elif not all(point.positive for point in every) and "background" not in spec.prompts:
        refused = "points outside of it (--negative)"
    elif boxes and "box" not in spec.prompts:
        refused = "a box"
    else:
        return
    raise ValueError(f"{spec.name} takes {taken(spec)}; it cannot use {refused}.")


def check_enough(spec: ModelSpec, points: Said, boxes: Collection[int]) -> None:
    """ValueError when it is not said where the objects are, and the model has to know."""
    check_usable(spec, points, boxes)
    if not points and not boxes and "automatic" in spec.prompts:
        return
    if not points and not boxes and "foreground" not in spec.prompts:
        raise ValueError("Say where the object is with --box i0,j0,k0,i1,j1,k1.")
    if points or not boxes:
        require_positive(points, boxes)


def taken(spec: ModelSpec) -> str:
    """The prompts of a model in words."""
    words = []
    if "foreground" in spec.prompts:
        outside = " and outside" if "background" in spec.prompts else ""
        words.append(f"points inside{outside} the object")
    if "box" in spec.prompts:
        words.append("a box")
    if "automatic" in spec.prompts:
        words.append("no prompt at all")
    return " or ".join(words)
