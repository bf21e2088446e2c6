"""The 2D view comes to what was clicked in 3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LaterSlice:
    """Moves the 2D view to what was clicked in 3D, once it is there to be seen.

    Moving the sliders of displayed axes makes napari send whole volumes to the graphics card
    again: half a second for 512 x 512 x 300.

    Parameters
    ----------
    viewer
        The viewer, or a `ViewerModel` without a window.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._world: np.ndarray | None = None
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)

    def show(self, world: np.ndarray) -> None:
        """Show this position at the next change to 2D."""
        self._world = np.asarray(world, float)

    def go_to(self, world: np.ndarray) -> None:
        """Show this position at once, or out of the 3D view as `show` does."""
        self.show(world)
        self._on_ndisplay()

    def close(self) -> None:
        """Leave the viewer alone."""
        self._viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)

    def _on_ndisplay(self) -> None:
        dims = self._viewer.dims
        if dims.ndisplay == 2 and self._world is not None:
            axes = range(dims.ndim - len(self._world), dims.ndim)
            dims.set_point(axes, self._world)
            self._world = None
