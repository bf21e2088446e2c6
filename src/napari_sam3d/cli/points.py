"""Points as they are typed: `i,j,k` for the first object, `2:i,j,k` for the second."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam3d.cli.coordinates import extent, read_numbers
from napari_sam3d.prompts import LARGEST_ID, Point, Prompts
from napari_sam3d.volume import Point3, Volume


@dataclass(frozen=True)
class TypedPoint:
    """A point of one object, in the coordinates of whoever typed it.

    Parameters
    ----------
    text
        As it was typed; messages repeat it.
    object_id
        The label that the object gets in the mask.
    coordinates
        Stored voxel indices (i, j, k), or RAS millimetres; the text does not say which.
    positive
        True for a point inside the object, False for one outside.
    """

    text: str
    object_id: int
    coordinates: Point3
    positive: bool


def parse_point(text: str, positive: bool = True) -> TypedPoint:
    """Read `i,j,k` or `id:i,j,k`; ValueError with the expected form when it is neither."""
    read = read_numbers(text, 3)
    if read is None:
        raise ValueError(
            f"{text!r} is not a point: write three numbers i,j,k, with `id:` before them for an "
            f"object other than the first (ids 1 to {LARGEST_ID})."
        )
    object_id, (i, j, k) = read
    return TypedPoint(text, object_id, (i, j, k), positive)


def parse_points(
    positive: Sequence[str], negative: Sequence[str]
) -> dict[int, tuple[TypedPoint, ...]]:
    """The typed points of each object, by ascending id; ValueError when a text is no point."""
    points = [parse_point(text) for text in positive]
    points += [parse_point(text, positive=False) for text in negative]
    objects: dict[int, tuple[TypedPoint, ...]] = {}
    for point in sorted(points, key=lambda point: point.object_id):
        objects[point.object_id] = (*objects.get(point.object_id, ()), point)
    return objects


def require_positive(
    objects: Mapping[int, Sequence[TypedPoint | Point]], boxes: Collection[int] = ()
) -> None:
    """ValueError when there is no object, or one has neither a positive point nor a box."""
    if not objects:
        raise ValueError("Say where the object is with --point i,j,k.")
    for object_id, points in objects.items():
        if object_id not in boxes and not any(point.positive for point in points):
            raise ValueError(
                f"Object {object_id} has only negative points; say where it is with "
                f"--point {object_id}:i,j,k."
            )


def place(points: Sequence[TypedPoint], volume: Volume, mm: bool) -> Prompts:
    """Prompts on a volume.

    Parameters
    ----------
    points
        What was typed for one object.
    volume
        A volume that was read from a NIfTI file.
    mm
        Whether the coordinates are RAS millimetres; stored voxel indices otherwise.

    Raises
    ------
    ValueError
        When a point is outside the volume; the sentence speaks the user's coordinates.
    """
    assert volume.source is not None, "the command line reads NIfTI only"
    to_voxel = volume.source.from_ras if mm else volume.source.to_display
    placed = []
    for point in points:
        z, y, x = (float(c) for c in to_voxel(np.asarray(point.coordinates)))
        if not volume.grid.contains((z, y, x)):
            raise ValueError(
                f"The point {point.text} is outside {volume.name}, {extent(volume, mm)}."
            )
        placed.append(Point((z, y, x), point.positive))
    return Prompts(points=tuple(placed))
