"""Whether enough was typed for a model to know where the objects are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.cli.points import TypedPoint, require_positive
from napari_sam3d.prompts import Point
from napari_sam3d.takes import check_usable


def check_enough(
    spec: ModelSpec, points: Mapping[int, Sequence[TypedPoint | Point]], boxes: Collection[int]
) -> None:
    """ValueError when it is not said where the objects are, and the model has to know."""
    check_usable(spec, points, boxes)
    if not points and not boxes and "automatic" in spec.prompts:
        return
    if not points and not boxes and "foreground" not in spec.prompts:
        raise ValueError("Say where the object is with --box i0,j0,k0,i1,j1,k1.")
    if points or not boxes:
        require_positive(points, boxes)
