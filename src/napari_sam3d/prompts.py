"""What the user has said about one object: an immutable list of prompts with undo and redo."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_sam3d.volume import Grid, Point3


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


@dataclass(frozen=True)
class Prompts:
    """The prompts of one object, oldest first, and the way back and forth between states.

    The box is outside of that history.
    """

    points: tuple[Point, ...] = ()
    past: tuple[tuple[Point, ...], ...] = ()
    future: tuple[tuple[Point, ...], ...] = ()
    box: Box | None = None

    def add(self, point: Point) -> Prompts:
        return self._become((*self.points, point))

    def remove(self, index: int) -> Prompts:
        """Without the prompt at `index`; IndexError when there is none."""
        points = list(self.points)
        del points[index]
        return self._become(tuple(points))

    def become(self, points: tuple[Point, ...]) -> Prompts:
        """With these points as one undoable step; unchanged when they are the same."""
        return self if points == self.points else self._become(points)

    def _become(self, points: tuple[Point, ...]) -> Prompts:
        return replace(self, points=points, past=(*self.past, self.points), future=())

    def undo(self) -> Prompts:
        """One step back; unchanged at the beginning."""
        if not self.past:
            return self
        return replace(
            self,
            points=self.past[-1],
            past=self.past[:-1],
            future=(*self.future, self.points),
        )

    def redo(self) -> Prompts:
        """One step forward; unchanged at the end."""
        if not self.future:
            return self
        return replace(
            self,
            points=self.future[-1],
            past=(*self.past, self.points),
            future=self.future[:-1],
        )

    def check(self, grid: Grid, name: str) -> None:
        """ValueError with a sentence when a prompt is outside the grid or nothing is positive."""
        corners = () if self.box is None else (self.box.low, self.box.high)
        positions = [("point", point.position_voxel) for point in self.points]
        for what, position in [*positions, *(("corner", corner) for corner in corners)]:
            if not grid.contains(position):
                at = ", ".join(f"{c:g}" for c in position)
                raise ValueError(
                    f"The {what} ({at}) is outside {name}, which has shape {grid.shape} (z, y, x)."
                )
        if self.box is None and not any(point.positive for point in self.points):
            raise ValueError("At least one positive point is needed to say where the object is.")

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n, 3) in voxels and labels (n,), 1 positive and 0 negative (SAM's labels)."""
        positions = np.array([p.position_voxel for p in self.points], float).reshape(-1, 3)
        return positions, np.array([int(p.positive) for p in self.points], int)
