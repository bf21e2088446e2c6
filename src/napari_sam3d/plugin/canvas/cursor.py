"""Where the cursor is: millimetres and stored voxel by the header, never by napari's world."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from napari_sam3d.io import fresh_source
from napari_sam3d.plugin.layers.arrays import level_of
from napari_sam3d.plugin.layers.convert import layer_grid, source_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_FOLLOWED: dict[int, CursorText] = {}
"""By the id of its viewer; viewers compare by their fields, which takes long."""


class CursorText:
    """Says in napari's status bar, and to whom it may concern, where the cursor is.

    Made by `follow`, one for each viewer.

    Parameters
    ----------
    viewer
        The viewer; it is not kept alive.
    """

    changed = Signal(str)
    """The text, whenever it changes; empty outside the volume, and in 3D without an aim."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.text = ""
        self.image: Layer | None = None
        """The image that someone works on; spoken of unless the active layer is a volume."""
        self._viewer = weakref.ref(viewer)
        self._announcing = False
        self._users = 0
        self._aim: np.ndarray | None = None
        viewer.cursor.events.position.connect(self._on_moved)
        viewer.dims.events.ndisplay.connect(self._on_moved)
        viewer.events.status.connect(self._on_status)

    def join(self) -> CursorText:
        """Say it until all who have joined have left; who never leaves has it for good."""
        self._users += 1
        return self

    def leave(self) -> None:
        """Need it no longer."""
        self._users -= 1
        if self._users <= 0:
            self.image = None
            self.close()

    def close(self) -> None:
        """Leave the viewer as it was."""
        viewer = self._viewer()
        if viewer is not None:
            _FOLLOWED.pop(id(viewer), None)
            viewer.cursor.events.position.disconnect(self._on_moved)
            viewer.dims.events.ndisplay.disconnect(self._on_moved)
            viewer.events.status.disconnect(self._on_status)

    def aim(self, world: np.ndarray | None) -> None:
        """Say in the 3D view what a click there would take: a position, None for nothing.

        Along the last axes of the world; where the sliders stand along the others.
        """
        viewer, self._aim = self._viewer(), world
        if viewer is not None and viewer.dims.ndisplay == 3:
            before = self.text
            self._on_moved()
            if self.text != before and viewer.status:
                viewer.events.status(value=viewer.status)

    def _on_moved(self) -> None:
        viewer = self._viewer()
        text = "" if viewer is None else describe(viewer, self.image, self._aim)
        if text != self.text:
            self.text = text
            self.changed.emit(text)

    def _on_status(self, event: Any) -> None:
        """Tell those who show the status, once more, with the text in it.

        napari sets its status anew at each move, shows it first, and asks us later. Setting it
        in here would recurse without end; announcing another one does not.
        """
        viewer = self._viewer()
        if viewer is None or self._announcing:
            return
        self._on_moved()  # another layer may have been chosen since
        if not self.text:
            return
        status = _with(event.value, self.text)
        if status is not None:
            self._announcing = True
            try:
                viewer.events.status(value=status)
            finally:
                self._announcing = False


def follow(viewer: ViewerModel) -> CursorText:
    """The text of a viewer, switched on at the first call."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins are given a proxy
    found = _FOLLOWED.get(id(viewer))
    if found is None:
        found = _FOLLOWED[id(viewer)] = CursorText(viewer)
        weakref.finalize(viewer, _FOLLOWED.pop, id(viewer), None)
    return found


def aim(viewer: ViewerModel, world: np.ndarray | None) -> None:
    """See `CursorText.aim`; nothing happens where nobody listens."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if id(viewer) in _FOLLOWED:
        _FOLLOWED[id(viewer)].aim(world)


def describe(viewer: ViewerModel, image: Layer | None = None, aim: np.ndarray | None = None) -> str:
    """Where the cursor is, such as "RAS 12.5, -3.0, 40.1 mm  ·  ijk 120, 88, 40".

    Of the active layer if it was read from NIfTI, else of `image`, else of the topmost visible
    layer that was; without any, millimetres and voxel of the file that would be written.

    Parameters
    ----------
    viewer
        Says where the cursor is.
    image
        The image that someone works on.
    aim
        Position that the cursor means in the 3D view; without one it is somewhere on a line.
    """
    world = np.array(viewer.cursor.position, float)
    if viewer.dims.ndisplay == 3 and aim is not None:
        world = np.array([*viewer.dims.point[: -len(aim)], *aim], float)
    elif viewer.dims.ndisplay == 3 or not viewer.mouse_over_canvas:
        return ""
    active = viewer.layers.selection.active
    visible = [layer for layer in reversed(viewer.layers) if layer.visible]
    layers = [layer for layer in (active, image, *visible) if isinstance(layer, Image | Labels)]
    source = None
    for layer in layers:
        source = source_of({"metadata": layer.metadata})
        if source is not None and source.grid.shape == _shape(layer)[-3:]:
            break
        source = None
    name = "RAS "
    if source is None:
        if not layers:
            return ""
        layer, name = layers[0], ""
        try:
            source = fresh_source(layer_grid(layer))
        except ValueError:
            return ""
    if len(world) < layer.ndim:
        return ""  # the layer is new, and the cursor has not moved since
    position = np.asarray(layer.world_to_data(world), float)
    shown = [axis - (viewer.dims.ndim - layer.ndim) for axis in viewer.dims.displayed]
    across = [axis for axis in range(layer.ndim) if axis not in shown]
    position[across] = np.rint(position[across])  # the slice that is seen
    voxel = np.rint(position).astype(int)
    if (voxel < 0).any() or (voxel >= _shape(layer)).any():
        return ""
    right, anterior, superior = np.round(source.to_ras(position[-3:]), 1) + 0.0  # no -0.0
    i, j, k = source.to_stored(voxel[-3:])
    text = f"{name}{right:.1f}, {anterior:.1f}, {superior:.1f} mm  ·  ijk {i}, {j}, {k}"
    for axis, index in zip(layer.axis_labels, voxel[:-3], strict=False):
        text += f"  ·  {_WORDS.get(axis, axis)} {index}"
    return text


_WORDS = {"T": "time", "C": "component"}


def _shape(layer: Layer) -> tuple[int, ...]:
    return tuple(level_of(layer).shape[: layer.ndim])


def _with(status: Any, text: str) -> Any:
    """A status of layers with the text in place of napari's world; None for other messages."""
    if isinstance(status, dict):
        coordinates, world = str(status.get("coordinates", "")), str(status.get("coords", ""))
        said = coordinates.partition(world)[2] if world in coordinates else f"    {coordinates}"
        return {**status, "coordinates": f" {text}{said}"}
    if status == "Ready":
        return text
    if "»" in status:
        return f"{text} »{status.partition('»')[2]}"
    return None
