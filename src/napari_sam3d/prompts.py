"""What the user has said about one object: immutable prompts with undo and redo."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_sam3d.volume import Grid, Point3, Window

LARGEST_ID = 65535
"""Largest number of an object, which label maps hold in two bytes."""
_OF_SCRIBBLE = 8
"""Points that a scribble becomes at most: as many clicks is what networks have learned from."""


@dataclass(frozen=True)
class Point:
    """A click.

    Parameters
    ----------
    position_voxel
        (z, y, x) in voxels of the volume, whole numbers at voxel centres.
    positive
        True for "this belongs to the object", False for "this does not".
    """

    position_voxel: Point3
    positive: bool = True

    def middle(self) -> Point3:
        """Where it is."""
        return self.position_voxel


@dataclass(frozen=True)
class Box:
    """A box about the object.

    Parameters
    ----------
    low, high
        Opposite corners (z, y, x) in voxels of the volume; the voxels of both belong to it.
    """

    low: Point3
    high: Point3

    def array(self) -> np.ndarray:
        """Lowest and highest corner, (2, 3)."""
        return np.sort(np.array([self.low, self.high], float), axis=0)

    def voxels(self) -> tuple[list[int], list[int]]:
        """First and last voxel along each axis."""
        low, high = np.floor(self.array() + 0.5).astype(int).tolist()
        return low, high

    def middle(self) -> Point3:
        """The voxel at its centre."""
        z, y, x = (float((low + high) // 2) for low, high in zip(*self.voxels(), strict=True))
        return z, y, x


@dataclass(frozen=True)
class Scribble:
    """A stroke of the brush.

    Parameters
    ----------
    positions_voxel
        Where it went, (z, y, x) in voxels of the volume, in order; at least one.
    positive
        As for `Point`.
    """

    positions_voxel: tuple[Point3, ...]
    positive: bool = True

    def points(self) -> tuple[Point, ...]:
        """Points evenly along it, both of its ends among them."""
        last = len(self.positions_voxel) - 1
        steps = np.linspace(0, last, min(_OF_SCRIBBLE, last + 1))
        return tuple(Point(self.positions_voxel[round(i)], self.positive) for i in steps.tolist())

    def middle(self) -> Point3:
        """The position half way along it."""
        return self.positions_voxel[len(self.positions_voxel) // 2]


@dataclass(frozen=True, eq=False)
class Found:
    """A mask that was there before anything was said about it.

    Parameters
    ----------
    model
        Name of the model that found it without a click; empty when it came from a layer.
    name
        Of the class, or of what it was in the layer.
    mask, window
        As in `Prediction`.
    """

    model: str
    name: str
    mask: np.ndarray
    window: Window


@dataclass(frozen=True)
class Said:
    """What is said about an object at one moment.

    Parameters
    ----------
    points
        Clicks, oldest first.
    box
        One at most.
    scribbles
        Strokes, oldest first.
    start
        The mask that the others change; None when they have to say alone where the object is.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    scribbles: tuple[Scribble, ...] = ()
    start: Found | None = None

    @property
    def parts(self) -> tuple[Point | Box | Scribble, ...]:
        """Points, then the box, then scribbles."""
        box = () if self.box is None else (self.box,)
        return (*self.points, *box, *self.scribbles)

    @property
    def clicks(self) -> tuple[Point, ...]:
        """The points, then those of the scribbles: what a network of clicks is told."""
        return (*self.points, *(point for it in self.scribbles for point in it.points()))

    @property
    def locates(self) -> bool:
        """Whether it says where the object is."""
        positive = any(p.positive for p in self.points) or any(s.positive for s in self.scribbles)
        return positive or self.box is not None

    def begins(self, later: Said) -> bool:
        """Whether something later only adds to this."""
        return (
            self.start is later.start
            and self.points == later.points[: len(self.points)]
            and self.scribbles == later.scribbles[: len(self.scribbles)]
            and self.box in (None, later.box)
        )

    def words(self) -> str:
        """What there is, such as "2 points, a box"."""
        parts = [_counted(len(self.points), "point")] if self.points else []
        parts += ["a box"] if self.box is not None else []
        parts += [_counted(len(self.scribbles), "scribble")] if self.scribbles else []
        return ", ".join(parts) or "no prompts"

    def check(self, grid: Grid, name: str) -> None:
        """ValueError with a sentence when a prompt is outside the grid or nothing is positive."""
        corners = () if self.box is None else (self.box.low, self.box.high)
        positions = [("point", point.position_voxel) for point in self.points]
        positions += [("corner", corner) for corner in corners]
        positions += [("scribble at", at) for it in self.scribbles for at in it.positions_voxel]
        for what, position in positions:
            if not grid.contains(position):
                at = ", ".join(f"{c:g}" for c in position)
                raise ValueError(
                    f"The {what} ({at}) is outside {name}, which has shape {grid.shape} (z, y, x)."
                )
        if not self.locates:
            raise ValueError("At least one positive point is needed to say where the object is.")

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n, 3) of `clicks`, labels (n,): 1 positive and 0 negative, as SAM has them."""
        points = self.clicks
        positions = np.array([p.position_voxel for p in points], float).reshape(-1, 3)
        return positions, np.array([int(p.positive) for p in points], int)


@dataclass(frozen=True)
class Prompts(Said):
    """What is said about an object now, and the way back and forth between states."""

    past: tuple[Said, ...] = ()
    future: tuple[Said, ...] = ()

    @property
    def said(self) -> Said:
        """What is said now, without the history."""
        return Said(self.points, self.box, self.scribbles, self.start)

    @property
    def begun(self) -> bool:
        """Whether anything was said, even if it was taken back by a step of its own."""
        return bool(self.past) or self.said != Said()

    def add(self, point: Point) -> Prompts:
        """With one more point."""
        return self.become(replace(self.said, points=(*self.points, point)))

    def remove(self, index: int) -> Prompts:
        """Without one of its `parts`; IndexError when there is none at this index."""
        self.parts[index]
        first = len(self.parts) - len(self.scribbles)
        return self.become(
            replace(
                self.said,
                points=tuple(it for i, it in enumerate(self.points) if i != index),
                box=None if index == len(self.points) else self.box,
                scribbles=tuple(it for i, it in enumerate(self.scribbles, first) if i != index),
            )
        )

    def become(self, said: Said) -> Prompts:
        """Say this instead, as one undoable step; unchanged when it is the same."""
        return self if said == self.said else _now(said, (*self.past, self.said), ())

    def undo(self) -> Prompts:
        """One step back; unchanged at the beginning."""
        if not self.past:
            return self
        return _now(self.past[-1], self.past[:-1], (*self.future, self.said))

    def redo(self) -> Prompts:
        """One step forward; unchanged at the end."""
        if not self.future:
            return self
        return _now(self.future[-1], (*self.past, self.said), self.future[:-1])


def _now(said: Said, past: tuple[Said, ...], future: tuple[Said, ...]) -> Prompts:
    return Prompts(said.points, said.box, said.scribbles, said.start, past, future)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
