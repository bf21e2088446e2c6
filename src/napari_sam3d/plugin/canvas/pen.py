"""What a tool is that draws in slices."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Pen(Protocol):
    """A tool that draws in a slice."""

    def begin(self, voxel: np.ndarray, axis: int, control: bool) -> bool:
        """A press, in a slice across an axis; False when nothing may be drawn."""

    def move(self, voxel: np.ndarray) -> None: ...

    def end(self, dragged: bool) -> None:
        """The release, after a drag or at the place of the press."""

    def give_up(self) -> None: ...
