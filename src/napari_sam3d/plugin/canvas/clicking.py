"""What the left button does to the prompt layer, in 2D and 3D: clicks, and drags of a tool."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3d.plugin.canvas.aiming import Aim
from napari_sam3d.plugin.canvas.marks import hidden_axes
from napari_sam3d.plugin.canvas.pen import Pen
from napari_sam3d.plugin.canvas.picking import is_in_memory, pick_for
from napari_sam3d.plugin.canvas.sight import Sight

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Points

_DRAG_PX = 5
"""A press that moves further than this is a drag, as in napari itself."""


class Clicks:
    """Hears what the left button does to a Points layer in add mode.

    A click is a press and a release at the same place; a drag moves the view as it always does,
    but for one in a slice with a pen, which draws. In the 3D view a click means what is seen
    there: the mask that is refined, else the image, wherever they are in the list of layers.

    Parameters
    ----------
    layer
        Its public lists of mouse callbacks are used, and its `mouse_pan` while something is drawn.
    image
        The image that is clicked on.

    Attributes
    ----------
    aim
        What a click in the 3D view would take.
    pen
        What drags in slices are for; without one, they move the view.
    refined
        The layer of the masks, if there is one, and the current object.
    """

    clicked = Signal(object, bool, object)
    """Voxel in the image, (3,), whether Ctrl was held, and the axis across which the slice lies;
    None in 3D."""
    hovered = Signal(object, object)
    """Voxel under the mouse, or None, and that axis."""
    seen = Signal(object)
    """World position of a click in the 3D view, before `clicked`."""
    missed = Signal(str)
    """A click that meets nothing, and why."""

    def __init__(self, layer: Points, image: Image) -> None:
        self.refined: Callable[[], tuple[Labels | None, int]] = lambda: (None, 0)
        self.pen: Pen | None = None
        self.aim = Aim(self._pick)
        self._layer = layer
        self._image = image
        self._drawing: Pen | None = None
        self.aim.moved.connect(self._on_aim)
        layer.events.mode.connect(self._hook)
        self._hook()

    def close(self) -> None:
        """Leave the layer as napari made it."""
        self.give_up()
        self.aim.stop()
        self._layer.events.mode.disconnect(self._hook)
        self._unhook()

    def give_up(self) -> None:
        """Draw nothing any more until the next press."""
        pen, self._drawing = self._drawing, None
        if pen is not None:
            self._layer.mouse_pan = True
            pen.give_up()

    def _hook(self) -> None:
        self._unhook()
        if str(self._layer.mode) == "add":
            # napari's own `add` takes any button, and in 3D a depth that nobody chose
            callbacks = self._layer.mouse_drag_callbacks
            callbacks[:] = [self._press if _is_napari_add(f) else f for f in callbacks]
            self._layer.mouse_move_callbacks.append(self._hover)
        else:
            self.give_up()
            self.aim.stop()

    def _unhook(self) -> None:
        for callbacks, ours in (
            (self._layer.mouse_drag_callbacks, self._press),
            (self._layer.mouse_move_callbacks, self._hover),
        ):
            callbacks[:] = [f for f in callbacks if f != ours]

    def _press(self, layer: Points, event: Any) -> Generator[None]:
        """Mouse callback: press, moves, release."""
        self.aim.stop()
        self.give_up()  # another drag may never have been released
        if event.button != 1:
            return
        start = np.array(event.pos)
        control = "Control" in event.modifiers
        sight = Sight.of(event)  # as it was aimed: the view may turn a little until the release
        axis, displayed = _axis(event), list(event.dims_displayed)
        pen = self.pen if sight is None and axis is not None else None
        if pen is not None and axis is not None:
            if not pen.begin(_voxel(layer, event.position), axis, control):
                return
            self._drawing = pen
            layer.mouse_pan = False  # moves reach us late, and would have moved the view before
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged |= bool(np.linalg.norm(np.array(event.pos) - start) >= _DRAG_PX)
            if list(event.dims_displayed) != displayed:
                self.give_up()
            elif self._drawing is not None:
                self._drawing.move(_voxel(layer, event.position))
            event.handled = event.handled or pen is not None or not dragged
            yield
        dragged |= bool(np.linalg.norm(np.array(event.pos) - start) >= _DRAG_PX)
        if pen is not None:
            if self._drawing is None:
                return  # given up
            self._drawing = None
            layer.mouse_pan = True
            pen.end(dragged)
        if dragged:
            return
        if sight is None:
            self.clicked.emit(_voxel(layer, event.position), control, axis)
            return
        world = self._find(sight)
        if world is None:
            self.missed.emit(self._why_nothing())
            return
        self.seen.emit(world)
        self.clicked.emit(self._inside(world), control, None)

    def _hover(self, layer: Points, event: Any) -> None:
        """Mouse callback: look at what a click would take."""
        sight = Sight.of(event)
        if sight is None:
            self.aim.stop()
            self.hovered.emit(_voxel(layer, event.position), _axis(event))
        # an array on disk is read once for a click, not at each move
        elif is_in_memory(self._image):
            self.aim.look(sight)

    def _on_aim(self, voxel: np.ndarray | None) -> None:
        self.hovered.emit(voxel, None)

    def _pick(self, sight: Sight) -> np.ndarray | None:
        """The voxel of the volume that is seen along a line of sight."""
        world = self._find(sight)
        return None if world is None else self._inside(world)

    def _find(self, sight: Sight) -> np.ndarray | None:
        """What is seen along a line of sight, in the world."""
        found = pick_for(self._image, sight, *self.refined())
        return None if found is None else np.asarray(self._image.data_to_world(found))

    def _inside(self, world: np.ndarray) -> np.ndarray:
        last = np.array(self._image.data.shape[-3:]) - 1
        return np.clip(_voxel(self._layer, world), 0, last)

    def _why_nothing(self) -> str:
        name = self._image.name
        if not self._image.visible or self._image.opacity == 0:
            return f"{name} is hidden: show its layer to click on it in 3D."
        return f"Nothing of {name} is seen there: click on something that is."


def _voxel(layer: Points, world: Any) -> np.ndarray:
    return np.floor(np.asarray(layer.world_to_data(world), float) + 0.5)


def _axis(event: Any) -> int | None:
    """Across which axis of the volume the slice lies; None where there is no such slice."""
    hidden = hidden_axes(event.dims_displayed, len(event.position))
    return hidden.pop() if len(hidden) == 1 else None


def _is_napari_add(callback: Any) -> bool:
    module = getattr(callback, "__module__", "")
    return getattr(callback, "__name__", "") == "add" and module.startswith("napari.layers.points")
