"""What was said about an object as JSON, and back: each state names what it consists of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from napari_sam3d.io.json_file import is_number
from napari_sam3d.plugin.session.objects import Object
from napari_sam3d.plugin.unsaved.kept_hand import window_from_json, window_to_json
from napari_sam3d.prompts import Box, Found, Point, Prompts, Said, Scribble
from napari_sam3d.volume import Point3, Shape3, Window

_PLAIN = (bool, int, float, str)
_OWN = {"prompts", "settled", "shown", "answers", "name"}

_Part = TypeVar("_Part", bound=Hashable)


def starts_of(it: Object) -> tuple[Found, ...]:
    """The masks that the states of an object begin with, each once."""
    return tuple(_numbered(said.start for said in _states(it) if said.start is not None))


def object_to_json(it: Object) -> dict[str, Any]:
    """All but the voxels."""
    states = _states(it)
    points = _numbered(point for said in states for point in said.points)
    boxes = _numbered(said.box for said in states if said.box is not None)
    scribbles = _numbered(stroke for said in states for stroke in said.scribbles)
    starts = {start: n for n, start in enumerate(starts_of(it))}

    def named(said: Said) -> dict[str, Any]:
        return {
            "points": [points[point] for point in said.points],
            "box": None if said.box is None else boxes[said.box],
            "scribbles": [scribbles[stroke] for stroke in said.scribbles],
            "start": None if said.start is None else starts[said.start],
        }

    return {
        "name": it.name,
        "points": [[*_floats(p.position_voxel), bool(p.positive)] for p in points],
        "boxes": [[_floats(box.low), _floats(box.high)] for box in boxes],
        "scribbles": [
            [[_floats(at) for at in it.positions_voxel], bool(it.positive)] for it in scribbles
        ],
        "starts": [
            {"model": it.model, "name": it.name, "window": window_to_json(it.window)}
            for it in starts
        ],
        "said": named(it.prompts.said),
        "settled": named(it.settled),
        "past": [named(said) for said in it.prompts.past],
        "future": [named(said) for said in it.prompts.future],
        "shown": None if it.shown is None else window_to_json(it.shown.window),
        "more": {
            f.name: value
            for f in fields(it)
            if f.name not in _OWN and isinstance(value := getattr(it, f.name), _PLAIN)
        },
    }


def object_from_json(
    value: dict[str, Any], shape: Shape3, mask_of: Callable[[int, Window], np.ndarray]
) -> Object:
    """The object; any error when it is not what we wrote.

    Parameters
    ----------
    value
        What `object_to_json` made of it.
    shape
        Of the volume, which nothing may leave.
    mask_of
        The voxels of one of `starts_of`, by its place there and its window.
    """
    points = [_point(it, shape) for it in value["points"]]
    boxes = [Box(*(_position(at, shape) for at in corners)) for corners in value["boxes"]]
    scribbles = [_scribble(it, shape) for it in value["scribbles"]]
    starts = [_start(it, n, shape, mask_of) for n, it in enumerate(value["starts"])]

    def state(named: dict[str, Any]) -> Said:
        return Said(
            _chosen(points, named["points"]),
            None if named["box"] is None else _chosen(boxes, [named["box"]])[0],
            _chosen(scribbles, named["scribbles"]),
            None if named["start"] is None else _chosen(starts, [named["start"]])[0],
        )

    past, future = (tuple(map(state, value[key])) for key in ("past", "future"))
    return _object(value, state(value["said"]), past, future, state(value["settled"]), shape)


def _object(
    value: dict[str, Any],
    said: Said,
    past: tuple[Said, ...],
    future: tuple[Said, ...],
    settled: Said,
    shape: Shape3,
) -> Object:
    defaults = {f.name: getattr(Object(), f.name) for f in fields(Object) if f.name not in _OWN}
    more = {
        name: it
        for name, it in value["more"].items()
        if name in defaults and type(it) is type(defaults[name])
    }
    # the voxels come with the tiles: for the next change only the window counts
    nothing = np.zeros((0, 0, 0), bool)
    shown = None if value["shown"] is None else window_from_json(value["shown"], shape)
    return Object(
        prompts=Prompts(said.points, said.box, said.scribbles, said.start, past, future),
        settled=settled,
        shown=None if shown is None else Found("", "", nothing, shown),
        name=str(value["name"]),
        **more,
    )


def _states(it: Object) -> list[Said]:
    return [it.prompts.said, it.settled, *it.prompts.past, *it.prompts.future]


def _numbered(parts: Iterable[_Part]) -> dict[_Part, int]:
    return {part: n for n, part in enumerate(dict.fromkeys(parts))}


def _chosen(parts: Sequence[_Part], numbers: Sequence[int]) -> tuple[_Part, ...]:
    if any(not 0 <= n < len(parts) for n in numbers):
        raise ValueError("an unknown prompt")
    return tuple(parts[n] for n in numbers)


def _start(
    value: dict[str, Any], n: int, shape: Shape3, mask_of: Callable[[int, Window], np.ndarray]
) -> Found:
    window = window_from_json(value["window"], shape)
    return Found(str(value["model"]), str(value["name"]), mask_of(n, window), window)


def _scribble(value: list[Any], shape: Shape3) -> Scribble:
    positions, positive = value
    if not positions:
        raise ValueError("a scribble without positions")
    return Scribble(tuple(_position(at, shape) for at in positions), bool(positive))


def _point(value: list[Any], shape: Shape3) -> Point:
    *position, positive = value
    return Point(_position(position, shape), bool(positive))


def _position(value: list[Any], shape: Shape3) -> Point3:
    z, y, x = value
    if not all(is_number(c) and -0.5 <= c <= n - 0.5 for c, n in zip(value, shape, strict=True)):
        raise ValueError("a prompt outside")
    return float(z), float(y), float(x)


def _floats(position: Point3) -> list[float]:
    return [float(c) for c in position]
