"""The voxel that a click in the 3D view would take, while the mouse moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from psygnal import Signal

from napari_sam3d.plugin.canvas.sight import Sight

Pace = Callable[[Callable[[], None]], Callable[[], object]]


class Aim:
    """Looks along the cursor.

    Parameters
    ----------
    pick
        The voxel that is seen along a line of sight, None where nothing is.

    Attributes
    ----------
    voxel
        What was seen last.
    pace
        Makes of a function one that does not run more often than the view is drawn; whoever has a
        clock sets it.
    """

    moved = Signal(object)
    """The voxel, (3,), or None, whenever it is another one."""

    def __init__(self, pick: Callable[[Sight], np.ndarray | None]) -> None:
        self.voxel: np.ndarray | None = None
        self.pace: Pace = _at_once
        self._pick = pick
        self._sight: Sight | None = None
        self._later: Callable[[], object] | None = None

    def look(self, sight: Sight) -> None:
        """The mouse has moved, with no button down."""
        self._sight = sight
        if self._later is None:
            self._later = self.pace(self._look)
        self._later()

    def stop(self) -> None:
        """Nothing is aimed at."""
        self._sight = None
        self._become(None)

    def _look(self) -> None:
        if self._sight is not None:
            self._become(self._pick(self._sight))

    def _become(self, voxel: np.ndarray | None) -> None:
        before, self.voxel = self.voxel, voxel
        if before is None or voxel is None:
            changed = before is not voxel
        else:
            changed = not np.array_equal(before, voxel)
        if changed:
            self.moved.emit(voxel)


def _at_once(look: Callable[[], None]) -> Callable[[], None]:
    return look
