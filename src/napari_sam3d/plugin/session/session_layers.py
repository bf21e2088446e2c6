"""The image that a session works on, and the layers that show its objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from psygnal import Signal

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.plugin.canvas.aiming import Pace
from napari_sam3d.plugin.canvas.later_slice import LaterSlice
from napari_sam3d.plugin.canvas.prompt_layer import PromptLayer
from napari_sam3d.plugin.layers.placing import follow, moves
from napari_sam3d.plugin.session.availability import no_box, no_clicks
from napari_sam3d.plugin.session.frames import Frames
from napari_sam3d.plugin.session.hand_watch import HandWatch
from napari_sam3d.plugin.session.mask_layer import labels_with_objects, new_labels, no_labels
from napari_sam3d.plugin.session.objects import OBJECTS, Object
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

_NEW = Object()


class SessionLayers:
    """Objects of one image in one viewer, and the layers of these; see `Session`."""

    changed = Signal()
    """Image, objects, current object or history are not what they were."""
    prompts_changed = Signal()
    """There may be something new to ask: see `pending`."""
    mask_changed = Signal(int)
    """The Labels layer shows something else of this object."""
    leaving = Signal()
    """Another step of the image will be worked on in a moment."""
    notice = Signal(str)
    """A sentence for the status line."""

    def __init__(
        self, viewer: ViewerModel, to_volume: Callable[[Image], Volume] | None = None
    ) -> None:
        self._viewer = viewer
        self._frames = Frames(viewer)
        self._frames.moved.connect(self._on_step)
        self._off_step = ""
        self._to_volume = to_volume or self._frames.volume_of
        self.image: Image | None = None
        self.volume: Volume | None = None
        self.labels: Labels | None = None
        self.prompt_layer: PromptLayer | None = None
        self.objects: dict[int, Object] = {}
        self.current = 1
        self.hand = HandWatch()
        self.pace: Pace | None = None
        self._left_behind: list[Layer] = []
        self._positive, self._tool = True, "point"
        self.model = ""
        self._no_clicks, self._no_box, self._takes_negative = "", "", True
        self._slice = LaterSlice(viewer)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def object(self) -> Object:
        """The current object; not among `objects` before its first point."""
        return self.objects.get(self.current, _NEW)

    def used(self) -> set[int]:
        """Numbers of the objects about which something was said, or found."""
        return {i for i, it in self.objects.items() if it.prompts.begun}

    def title(self, object_id: int) -> str:
        """What to call an object."""
        return self.objects.get(object_id, _NEW).title(object_id)

    def why_locked(self, object_id: int) -> str:
        """The sentence to somebody who wants to change a locked object; empty for others."""
        if not self.objects.get(object_id, _NEW).locked:
            return ""
        return f"{self.title(object_id)} is locked; unlock it in the table of objects to change it."

    def color(self, object_id: int) -> tuple[float, float, float]:
        """Colour of an object in the Labels layer, RGB from 0 to 1."""
        color = None if self.labels is None else self.labels.get_color(object_id)
        red, green, blue = (0.5, 0.5, 0.5) if color is None else map(float, color[:3])
        return red, green, blue

    def set_image(self, image: Image | None) -> None:
        """Work on this image, or on none; ValueError, and no change, when it cannot be used."""
        if image is not None and self.image is not None and image == self.image:
            return
        volume = None if image is None else self._to_volume(image)
        if volume is not None:
            no_labels(volume)
        self._leave_image()
        self.image, self.volume = image, volume
        if image is not None:
            image.events.data.connect(self._on_image_data)
            for event in moves(image):
                event.connect(self._on_image_moved)
            self._frames.follow(image)
            self._adopt_labels()
            self.ensure_layers()
        self._tell_changed()

    def set_positive(self, positive: bool) -> None:
        """Whether the next point is positive."""
        self._positive = positive
        if self.prompt_layer is not None:
            self.prompt_layer.positive = positive

    def set_tool(self, tool: str) -> None:
        """What the mouse does in the viewer: "point", "box" or "scribble"."""
        self._tool = tool
        if self.prompt_layer is not None:
            self.prompt_layer.tool = tool
            self.arm()

    def set_model(self, spec: ModelSpec) -> None:
        """Which model is asked; clicks that it does not take are refused."""
        self.model = spec.name
        self._no_clicks, self._no_box = no_clicks(spec), no_box(spec)
        self._takes_negative = "background" in spec.prompts
        if self.prompt_layer is not None:
            self._instruct(self.prompt_layer)

    def arm(self) -> None:
        """Make a click in the viewer place a point."""
        if self.prompt_layer is not None:
            self._viewer.layers.selection.active = self.prompt_layer.layer
            self.prompt_layer.arm()

    def close(self) -> None:
        """Remove the prompt layer and every callback; masks stay, and so do their prompts."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._slice.close()
        self._frames.close()
        self._leave_image()

    def require_image(self) -> tuple[Image, Volume]:
        """The image being worked on; ValueError with a sentence when there is none."""
        if self.image is None or self.volume is None:
            raise ValueError("There is no 3D image to segment: open one first.")
        return self.image, self.volume

    def ensure_layers(self) -> tuple[Labels, PromptLayer]:
        """Both layers, made anew when they are not there; ValueError without an image."""
        image, volume = self.require_image()
        if self.labels is None or tuple(self.labels.data.shape) != volume.grid.shape:
            self.labels = new_labels(image, volume)
            self.labels.metadata[OBJECTS] = self.objects
            self.labels.selected_label = self.current
            self.hand.replace(self.labels)
            self._viewer.add_layer(self.labels)
            for object_id, it in self.objects.items():
                self.hand.show(self.labels, object_id, it.shown, None, self.objects)
        if self.prompt_layer is None:
            self.sweep()
            self.prompt_layer = prompts = PromptLayer(image, volume, self._viewer)
            self._instruct(prompts)
            self._watch(prompts)
            self._viewer.add_layer(prompts.layer)
            self._show_said()
            self.arm()
        return self.labels, self.prompt_layer

    def _watch(self, prompts: PromptLayer) -> None:
        """Hear what is done in a new prompt layer."""
        prompts.refused.connect(self._on_refused)
        prompts.clicks.seen.connect(self._slice.show)
        prompts.clicks.refined = lambda: (self.labels, self.current)
        if self.pace is not None:
            prompts.clicks.aim.pace = self.pace

    def _instruct(self, prompts: PromptLayer) -> None:
        prompts.positive, prompts.takes_negative = self._positive, self._takes_negative
        prompts.tool = self._tool
        refused = self._off_step or self.why_locked(self.current)
        prompts.no_clicks, prompts.no_box = refused or self._no_clicks, refused or self._no_box

    def _show_said(self) -> None:
        """Show in the prompt layer, if there is one, what was said about the current object."""
        if self.prompt_layer is not None:
            said = self.object.prompts
            self.prompt_layer.show(said.points, said.box, said.scribbles)

    def _tell_changed(self) -> None:
        self.changed.emit()
        self.prompts_changed.emit()

    def _adopt_labels(self) -> None:
        """Go on with the objects of a Labels layer that an earlier session left."""
        image, volume = self.require_image()
        self.objects, self.current, self.labels = {}, 1, None
        left = labels_with_objects(reversed(self._viewer.layers), image, volume)
        if left is not None:
            self.labels, self.objects = left
            self.current = max(self.objects, default=1)
            self._frames.return_to(self.labels)
        self.hand.follow(self.labels)

    def _leave_image(self, keep_points: bool = False) -> None:
        if self.prompt_layer is not None:
            self.prompt_layer.close()
            self._left_behind += self.prompt_layer.layers
        if self.image is not None:
            self.image.events.data.disconnect(self._on_image_data)
            for event in moves(self.image):
                event.disconnect(self._on_image_moved)
        self._frames.follow(None)
        self._off_step = ""
        self.image = self.volume = self.labels = self.prompt_layer = None
        self.hand.follow(None)
        self.objects, self.current = {}, 1
        if not keep_points:
            self.sweep()

    def sweep(self) -> None:
        """Remove the layers that were only kept because napari was removing others."""
        while self._left_behind:
            layer = self._left_behind.pop()
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _on_refused(self, sentence: str) -> None:
        # not connected signal to signal: psygnal emits such a signal once, to learn its arguments
        self.notice.emit(sentence)

    def _on_image_data(self) -> None:
        """Begin again with the new array, on the same masks when they still fit."""
        image = self.image
        self._leave_image()
        try:
            self.set_image(image)
        except ValueError as error:
            self.notice.emit(str(error))
            self.changed.emit()

    def _on_step(self) -> None:
        """Work on the volume at which the sliders stand; what was done at others stays there."""
        if self.labels is None and self.used():
            self.ensure_layers()  # it is where they are found again
        self.leaving.emit()
        if self.labels is not None:
            self._frames.leave(self.labels)
        try:
            self.volume = self._to_volume(self.image)
        except ValueError as error:
            self._off_step = str(error)
            self.notice.emit(self._off_step)
        else:
            self._off_step = ""
            self._adopt_labels()
        if self.prompt_layer is not None:
            self._instruct(self.prompt_layer)
            self._show_said()
        self._tell_changed()

    def _on_image_moved(self) -> None:
        """Move the other layers along."""
        before = self.volume
        try:
            self.volume = self._to_volume(self.image)
        except ValueError as error:
            self.notice.emit(str(error))
            return
        if before is None or before.grid != self.volume.grid:
            at_other_steps = (layer.metadata[OBJECTS] for layer in self._frames.left)
            for objects in (self.objects, *at_other_steps):
                objects.update({number: it.moved() for number, it in objects.items()})
        prompts = self.prompt_layer and self.prompt_layer.layer
        for layer in (self.labels, prompts, *self._frames.left):
            if layer is not None:
                follow(layer, self.image)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if self.image is not None and self.image == layer:
            # napari may be removing several layers now: the points go with the next choice
            self._leave_image(keep_points=True)
            self.notice.emit("The image was removed; its masks are still in their layer.")
            self._tell_changed()
        elif self.labels is not None and self.labels == layer:
            self.labels = None
            self.notice.emit("The mask layer was removed; the next mask brings it back.")
        elif self.prompt_layer is not None and self.prompt_layer.layer == layer:
            self.prompt_layer.close()
            self._left_behind += self.prompt_layer.layers
            self.prompt_layer = None
            self.notice.emit("The prompt layer was removed; New object or Undo brings it back.")
