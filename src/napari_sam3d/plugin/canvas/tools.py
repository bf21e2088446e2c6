"""Point, box and scribble: what the mouse says with each tool, and what is seen of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3d.plugin.canvas.box_tool import BoxTool
from napari_sam3d.plugin.canvas.clicking import Clicks
from napari_sam3d.plugin.canvas.cursor import aim
from napari_sam3d.plugin.canvas.pen import Pen
from napari_sam3d.plugin.canvas.scribble_tool import ScribbleTool
from napari_sam3d.prompts import Box, Scribble

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Points

    from napari_sam3d.plugin.canvas.marks_layer import MarksLayer
    from napari_sam3d.volume import Volume

TOOLS = ("point", "box", "scribble")
_KEY = "Escape"


class Tools:
    """Gives the mouse of a prompt layer to the tool that was chosen.

    Escape, on the prompt layer, gives up what is half drawn; at other times the key is free.

    Parameters
    ----------
    layer
        The prompt layer.
    clicks
        The mouse on it.
    marks
        Shows what is being drawn, and what a click in 3D would take.
    viewer
        Says in its status bar where that is; there may be none.
    volume
        What is drawn in.
    kind
        Whether a point or stroke is positive, with Ctrl and without, and why it is not taken;
        empty when it is.
    no_box
        Why a box is not taken; empty when it is.

    Attributes
    ----------
    box, scribble
        What says that something was drawn.
    """

    pointed = Signal(object, bool)
    """A voxel, and whether it is positive."""
    refused = Signal(str)

    def __init__(
        self,
        layer: Points,
        clicks: Clicks,
        marks: MarksLayer,
        viewer: ViewerModel | None,
        volume: Volume,
        kind: Callable[[bool], tuple[bool, str]],
        no_box: Callable[[], str],
    ) -> None:
        self.box = BoxTool(volume.grid, volume.name, no_box)
        self.scribble = ScribbleTool(volume.grid, volume.name, kind)
        self._tool = TOOLS[0]
        self._layer, self._clicks, self._marks, self._kind = layer, clicks, marks, kind
        self._viewer = viewer
        self._told = self._held = False
        for pen in (self.box, self.scribble):
            pen.coming.connect(self._on_coming)
            pen.refused.connect(self._on_refused)
        clicks.clicked.connect(self._on_clicked)
        clicks.hovered.connect(self._on_hovered)
        if viewer is not None:
            viewer.events.mouse_over_canvas.connect(self._on_mouse_over)
            viewer.layers.selection.events.active.connect(self._on_active)

    @property
    def tool(self) -> str:
        """One of `TOOLS`."""
        return self._tool

    @tool.setter
    def tool(self, tool: str) -> None:
        if tool not in TOOLS:
            raise ValueError(f"There is no tool {tool!r}; there are {', '.join(TOOLS)}.")
        if tool != self._tool:
            self.give_up()
            self._tool = tool
            pens: dict[str, Pen] = {"box": self.box, "scribble": self.scribble}
            self._clicks.pen = pens.get(tool)

    def give_up(self) -> None:
        """Forget what is half drawn."""
        self._clicks.give_up()
        self.box.give_up()

    def close(self) -> None:
        """Leave the mouse and the viewer alone."""
        self.give_up()
        self._clicks.close()
        if self._viewer is not None:
            self._viewer.events.mouse_over_canvas.disconnect(self._on_mouse_over)
            self._viewer.layers.selection.events.active.disconnect(self._on_active)

    def _on_clicked(self, voxel: np.ndarray, control: bool, axis: int | None) -> None:
        if self._tool == "box":
            self.box.corner(voxel, axis)
            return
        if self._tool == "scribble" and axis is None and not self._told:
            self._told = True
            self.refused.emit("Strokes are drawn in slices; in the 3D view a click is a point.")
        self.pointed.emit(voxel.tolist(), self._kind(control)[0])

    def _on_hovered(self, voxel: np.ndarray | None, axis: int | None) -> None:
        if self._tool == "box":
            self.box.hover(voxel, axis)
        aimed = voxel if axis is None else None  # in a slice the cursor itself says it
        self._marks.dot(None if aimed is None else tuple(aimed.tolist()), self._kind(False)[0])
        if self._viewer is not None:
            world = None if aimed is None else np.asarray(self._layer.data_to_world(aimed))
            aim(self._viewer, world)

    def _on_mouse_over(self, event: Any) -> None:
        if not event.value:
            self._clicks.aim.stop()

    def _on_active(self, event: Any) -> None:
        if event.value != self._layer and not self._marks.being_made:
            self._clicks.aim.stop()

    def _on_coming(self, shape: Box | Scribble | None) -> None:
        self._marks.preview(shape)
        if self._held != (shape is not None):
            self._held = shape is not None
            self._layer.bind_key(_KEY, self._on_key if self._held else None, overwrite=True)

    def _on_key(self, layer: Any) -> None:
        self.give_up()

    def _on_refused(self, sentence: str) -> None:
        self.refused.emit(sentence)
