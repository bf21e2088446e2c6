"""What a model takes in words, and whether it can use what was said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from napari_sam3d.catalog import ModelSpec


class Signed(Protocol):
    """A point inside or outside of an object, wherever it is."""

    @property
    def positive(self) -> bool: ...


def check_usable(
    spec: ModelSpec, points: Mapping[int, Sequence[Signed]], boxes: Collection[int]
) -> None:
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
        refused = "points outside of it"
    elif boxes and "box" not in spec.prompts:
        refused = "a box"
    else:
        return
    raise ValueError(f"{spec.name} takes {taken(spec)}; it cannot use {refused}.")


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
