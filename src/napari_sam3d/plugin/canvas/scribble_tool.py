"""The scribble tool: strokes in a slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from psygnal import Signal

from napari_sam3d.prompts import Scribble
from napari_sam3d.volume import Grid, Point3


class ScribbleTool:
    """Strokes by the mouse.

    Parameters
    ----------
    grid
        Of the volume; what is painted outside is left out.
    name
        Of the volume, for sentences.
    kind
        Whether strokes are positive now, with Ctrl and without, and why they are not taken; empty
        when they are.
    """

    drawn = Signal(Scribble)
    coming = Signal(object)
    """The stroke so far; None without one."""
    refused = Signal(str)

    def __init__(self, grid: Grid, name: str, kind: Callable[[bool], tuple[bool, str]]) -> None:
        self._grid, self._name, self._kind = grid, name, kind
        self._positive = True
        self._at: np.ndarray | None = None
        self._path: list[Point3] = []

    def begin(self, voxel: np.ndarray, axis: int, control: bool) -> bool:
        """A press in a slice; False when no stroke may be painted."""
        self._positive, sentence = self._kind(control)
        if sentence:
            self.refused.emit(sentence)
            return False
        self._at, self._path = voxel, []
        self.move(voxel)
        return True

    def move(self, voxel: np.ndarray) -> None:
        """The drag goes on."""
        if self._at is None:
            return
        way = [it for it in between(self._at, voxel) if self._grid.contains(it)]
        self._at = voxel
        self._path += way[1:] if self._path and way[:1] == self._path[-1:] else way
        self.coming.emit(self._stroke())

    def end(self, dragged: bool) -> None:
        """The release, after a drag or at the place of the press."""
        if self._at is None:
            return
        stroke = self._stroke()
        self.give_up()
        if dragged and stroke is None:
            self.refused.emit(f"That stroke is outside {self._name}.")
        elif dragged:
            self.drawn.emit(stroke)

    def give_up(self) -> None:
        """Forget the stroke."""
        self._at, self._path = None, []
        self.coming.emit(None)

    def _stroke(self) -> Scribble | None:
        return Scribble(tuple(self._path), self._positive) if self._path else None


def between(start: np.ndarray, end: np.ndarray) -> list[Point3]:
    """The voxels on the straight way between two, with both of them and without a gap."""
    steps = int(np.abs(end - start).max())
    way = np.floor(np.linspace(start, end, steps + 1) + 0.5)
    return [(z, y, x) for z, y, x in way.tolist()]
