"""Boxes as they are typed: `i0,j0,k0,i1,j1,k1`, two opposite corners."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam3d.cli.coordinates import extent, read_numbers
from napari_sam3d.prompts import LARGEST_ID, Box
from napari_sam3d.volume import Point3, Volume


@dataclass(frozen=True)
class TypedBox:
    """A box about one object, in the coordinates of whoever typed it.

    Parameters
    ----------
    text
        As it was typed; messages repeat it.
    object_id
        The label that the object gets in the mask.
    first, second
        Opposite corners: stored voxel indices (i, j, k), or RAS millimetres.
    """

    text: str
    object_id: int
    first: Point3
    second: Point3


def parse_boxes(texts: Sequence[str]) -> dict[int, TypedBox]:
    """The box of each object; ValueError when a text is none, or an object has two."""
    boxes: dict[int, TypedBox] = {}
    for text in texts:
        box = parse_box(text)
        if box.object_id in boxes:
            raise ValueError(
                f"Object {box.object_id} has two boxes, {boxes[box.object_id].text} and {text}; "
                "write `id:` before one that belongs to another object."
            )
        boxes[box.object_id] = box
    return boxes


def parse_box(text: str) -> TypedBox:
    """Read `i0,j0,k0,i1,j1,k1` or `id:` and that; ValueError with the form when it is neither."""
    read = read_numbers(text, 6)
    if read is None:
        raise ValueError(
            f"{text!r} is not a box: write two opposite corners i0,j0,k0,i1,j1,k1, with `id:` "
            f"before them for an object other than the first (ids 1 to {LARGEST_ID})."
        )
    object_id, (a, b, c, d, e, f) = read
    return TypedBox(text, object_id, (a, b, c), (d, e, f))


def place_box(box: TypedBox, volume: Volume, mm: bool) -> Box:
    """A box on the voxels of a volume.

    Where the axes of the image are oblique, a box in millimetres becomes the one about it.

    Raises
    ------
    ValueError
        When a corner is outside the volume; the sentence speaks the user's coordinates.
    """
    assert volume.source is not None, "the command line reads NIfTI only"
    to_voxel = volume.source.from_ras if mm else volume.source.to_display
    ends = np.array([box.first, box.second])
    for corner in to_voxel(ends):
        z, y, x = (float(c) for c in corner)
        if not volume.grid.contains((z, y, x)):
            raise ValueError(f"The box {box.text} leaves {volume.name}, {extent(volume, mm)}.")
    corners = to_voxel(np.array(list(itertools.product(*ends.T))))
    last = np.asarray(volume.grid.shape) - 1
    low, high = (
        np.clip(c, 0, last).astype(float).tolist() for c in (corners.min(0), corners.max(0))
    )
    return Box(tuple(low), tuple(high))
