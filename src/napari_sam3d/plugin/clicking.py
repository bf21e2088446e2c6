"""Clicks on the prompt layer, in 2D and 3D, and the ring that shows where one would land."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3d.plugin.picking import is_in_memory, pick_for
from napari_sam3d.plugin.sight import Sight

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Points

_DRAG_PX = 5
"""A press that moves further than this is a drag of the view, as in napari itself."""
_RING_PX = 12
"""Diameter of the ring; napari draws none that is smaller than 8."""


class Clicks:
    """Hears what the left button does to a Points layer in add mode.

    A click is a press and a release at the same place; a drag moves the view as it always does.
    In the 3D view it means what is seen there: the mask that is refined, else the image, wherever
    they are in the list of layers. While the mouse moves over something that can be clicked, the
    cursor is a ring, drawn by napari itself: there is no layer that could be selected or saved.

    Parameters
    ----------
    layer
        Its public lists of mouse callbacks are used, and its cursor.
    image
        The image that is clicked on.

    Attributes
    ----------
    refined
        The layer of the masks, if there is one, and the current object.
    """

    clicked = Signal(object, bool)
    """Voxel in the image, (3,), and whether Ctrl was held."""
    seen = Signal(object)
    """World position of a click in the 3D view, before `clicked`."""
    missed = Signal(str)
    """A click that meets nothing, and why."""

    def __init__(self, layer: Points, image: Image) -> None:
        self.refined: Callable[[], tuple[Labels | None, int]] = lambda: (None, 0)
        self._layer = layer
        self._image = image
        layer.events.mode.connect(self._hook)
        self._hook()

    def close(self) -> None:
        """Leave the layer as napari made it."""
        self._layer.events.mode.disconnect(self._hook)
        self._unhook()
        self._layer.cursor_size = 1

    def _hook(self) -> None:
        self._unhook()
        if str(self._layer.mode) == "add":
            # napari's own `add` takes any button, and in 3D a depth that nobody chose
            callbacks = self._layer.mouse_drag_callbacks
            callbacks[:] = [self._press if _is_napari_add(f) else f for f in callbacks]
            self._layer.mouse_move_callbacks.append(self._hover)

    def _unhook(self) -> None:
        for callbacks, ours in (
            (self._layer.mouse_drag_callbacks, self._press),
            (self._layer.mouse_move_callbacks, self._hover),
        ):
            callbacks[:] = [f for f in callbacks if f != ours]

    def _press(self, layer: Points, event: Any) -> Generator[None]:
        """Mouse callback: press, moves, release."""
        if event.button != 1:
            return
        start = np.array(event.pos)
        control = "Control" in event.modifiers
        sight = Sight.of(event)  # as it was aimed: the view may turn a little until the release
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged |= bool(np.linalg.norm(np.array(event.pos) - start) >= _DRAG_PX)
            if dragged:
                self._show_ring(None)
            else:
                event.handled = True
            yield
        if dragged or np.linalg.norm(np.array(event.pos) - start) >= _DRAG_PX:
            return
        if sight is None:
            voxel = np.asarray(layer.world_to_data(event.position), float)
            self.clicked.emit(np.floor(voxel + 0.5), control)
            return
        found = pick_for(self._image, sight, *self.refined())
        if found is None:
            self.missed.emit(self._why_nothing())
            return
        world = self._image.data_to_world(found)
        self.seen.emit(world)
        last = np.array(self._image.data.shape[-3:]) - 1
        voxel = np.asarray(layer.world_to_data(world), float)
        self.clicked.emit(np.clip(np.floor(voxel + 0.5), 0, last), control)

    def _hover(self, layer: Points, event: Any) -> None:
        """Mouse callback: show whether a click would meet something."""
        sight = Sight.of(event)
        # an array on disk is read once for a click, not at each move
        if sight is None or not is_in_memory(self._image):
            self._show_ring(None)
            return
        found = pick_for(self._image, sight, *self.refined())
        self._show_ring(None if found is None else event.camera_zoom)

    def _show_ring(self, zoom: float | None) -> None:
        if zoom is not None:
            self._layer.cursor_size = _RING_PX / zoom  # napari multiplies it by the zoom
        self._layer.cursor = "crosshair" if zoom is None else "circle"

    def _why_nothing(self) -> str:
        name = self._image.name
        if not self._image.visible or self._image.opacity == 0:
            return f"{name} is hidden: show its layer to click on it in 3D."
        return f"Nothing of {name} is seen there: click on something that is."


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

    def close(self) -> None:
        """Leave the viewer alone."""
        self._viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)

    def _on_ndisplay(self) -> None:
        dims = self._viewer.dims
        if dims.ndisplay == 2 and self._world is not None:
            axes = range(dims.ndim - len(self._world), dims.ndim)
            dims.set_point(axes, self._world)
            self._world = None


def _is_napari_add(callback: Any) -> bool:
    module = getattr(callback, "__module__", "")
    return getattr(callback, "__name__", "") == "add" and module.startswith("napari.layers.points")
