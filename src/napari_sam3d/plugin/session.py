"""Objects and the layers that show them: prompts come in from one, masks go out to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.plugin.availability import no_clicks
from napari_sam3d.plugin.clicking import LaterSlice
from napari_sam3d.plugin.hand_watch import HandWatch
from napari_sam3d.plugin.mask_layer import (
    free_id,
    labels_with_objects,
    make_room,
    new_labels,
)
from napari_sam3d.plugin.measure import bounding_box
from napari_sam3d.plugin.objects import OBJECTS, Answer, Found, Object, Request
from napari_sam3d.plugin.prompt_layer import PromptLayer, follow, moves
from napari_sam3d.prompts import Prompts
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_sam3d.engine.predictor import Prediction

_NEW = Object()


class Session:
    """Segments the objects of one image in one viewer.

    Layers are held by reference: they may be renamed, moved and deleted. A deleted prompt or mask
    layer comes back, with what it showed, at the next action that needs it.

    Parameters
    ----------
    viewer
        The viewer, or a `ViewerModel` without a window.
    to_volume
        Volume of an Image layer; ValueError with a sentence when it has none.
    """

    changed = Signal()
    """Image, objects, current object or history are not what they were."""
    prompts_changed = Signal()
    """There may be something new to ask: see `pending`."""
    mask_changed = Signal(int)
    """The Labels layer shows something else of this object."""
    notice = Signal(str)
    """A sentence for the status line."""

    def __init__(
        self, viewer: ViewerModel, to_volume: Callable[[Image], Volume] | None = None
    ) -> None:
        self._viewer = viewer
        self._to_volume = to_volume or _volume_from_layer
        self.image: Image | None = None
        self.volume: Volume | None = None
        self.labels: Labels | None = None
        self.prompt_layer: PromptLayer | None = None
        self.objects: dict[int, Object] = {}
        self.current = 1
        self.hand = HandWatch()
        self._left_behind: list[Layer] = []
        self._positive = True
        self.model = ""
        self._no_clicks, self._takes_negative = "", True
        self._slice = LaterSlice(viewer)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def object(self) -> Object:
        """The current object; not among `objects` before its first point."""
        return self.objects.get(self.current, _NEW)

    def used(self) -> set[int]:
        """Numbers of the objects about which something was said, or found."""
        return {i for i, it in self.objects.items() if it.prompts.points or it.prompts.past}

    # what the user decides

    def set_image(self, image: Image | None) -> None:
        """Work on this image, or on none; ValueError, and no change, when it cannot be used."""
        if image is not None and self.image is not None and image == self.image:
            return
        volume = None if image is None else self._to_volume(image)
        self._leave_image()
        self.image, self.volume = image, volume
        if image is not None:
            image.events.data.connect(self._on_image_data)
            for event in moves(image):
                event.connect(self._on_image_moved)
            self._adopt_labels()
            self.ensure_layers()
        self.changed.emit()
        self.prompts_changed.emit()

    def set_positive(self, positive: bool) -> None:
        """Whether the next point is positive."""
        self._positive = positive
        if self.prompt_layer is not None:
            self.prompt_layer.positive = positive

    def set_model(self, spec: ModelSpec) -> None:
        """Which model is asked; clicks that it does not take are refused."""
        self.model = spec.name
        self._no_clicks, self._takes_negative = no_clicks(spec), "background" in spec.prompts
        if self.prompt_layer is not None:
            self._instruct(self.prompt_layer)

    def new_object(self) -> int:
        """Begin the next object, unless the current one is still without a point."""
        labels, _ = self.ensure_layers()
        if self.object.prompts.points or self.object.prompts.past:
            self.select(free_id(labels, set(self.objects)))
        else:
            self.arm()
        return self.current

    def select(self, object_id: int) -> None:
        """Continue with an object."""
        labels, prompts = self.ensure_layers()
        self.objects.setdefault(object_id, Object())
        self.current = object_id
        make_room(labels, object_id)
        labels.selected_label = object_id
        prompts.show(self.object.prompts.points)
        self.arm()
        self.changed.emit()

    def add_objects(self, objects: Mapping[int, Object]) -> dict[int, int]:
        """Add objects and continue with the first; the number of each as given, and here.

        Numbers that are taken, by an object or a painted label, are exchanged for free ones.
        """
        labels, _ = self.ensure_layers()
        taken, numbers = self.used(), {}
        for wanted, it in objects.items():
            free = wanted not in taken and not np.any(labels.data == wanted)
            number = wanted if free else free_id(labels, taken | set(objects))
            self.objects[number] = it
            taken.add(number)
            numbers[wanted] = number
        self.select(next(iter(numbers.values()), self.current))
        self.prompts_changed.emit()
        return numbers

    def undo(self) -> None:
        """One step back; what a model found at once goes at once."""
        if self.object.untouched:
            self._step_together(Prompts.undo, lambda it: it.untouched)
        else:
            self._step(self.object.prompts.undo())

    def redo(self) -> None:
        """One step forward."""
        if self.object.can_return:
            self._step_together(Prompts.redo, lambda it: it.can_return)
        else:
            self._step(self.object.prompts.redo())

    def clear(self) -> None:
        """Remove the current object's points and its voxels; `undo` brings them back."""
        self._step(self.object.cleared())

    def rename(self, object_id: int, name: str) -> None:
        """Call an object by a name, or by its number when that is empty."""
        if object_id in self.objects:
            self.objects[object_id] = replace(self.objects[object_id], name=name.strip())
            self.changed.emit()

    def delete(self, object_id: int) -> None:
        """Remove an object, its points and its voxels; nothing brings it back."""
        labels, _ = self.ensure_layers()
        self.objects.pop(object_id, None)
        self.hand.delete(labels, object_id, bounding_box(labels.data == object_id))
        self.mask_changed.emit(object_id)
        if object_id == self.current:
            self.select(max(self.objects, default=object_id))
        self._tell_changed()

    def remove_point(self, index: int) -> None:
        """Remove a point of the current object."""
        self._step(self.object.prompts.remove(index))

    def look_at(self, index: int) -> None:
        """Show the slice of a point of the current object; in 3D, at the next change to 2D."""
        _, prompts = self.ensure_layers()
        point = self.object.prompts.points[index]
        world = np.asarray(prompts.layer.data_to_world(point.position_voxel))
        dims = self._viewer.dims
        if dims.ndisplay == 2:
            dims.set_point(range(dims.ndim - 3, dims.ndim), world)
        else:
            self._slice.show(world)

    def arm(self) -> None:
        """Make a click in the viewer place a point."""
        if self.prompt_layer is not None:
            self._viewer.layers.selection.active = self.prompt_layer.layer
            self.prompt_layer.arm()

    # questions and answers

    def pending(self) -> Request | None:
        """The next mask to ask for: of the current object, else of one left behind."""
        if self.volume is None:
            return None
        others = (i for i in self.objects if i != self.current)
        for object_id in (self.current, *others):
            it = self.objects.get(object_id)
            if it is not None and it.pending:
                previous = self.hand.previous(it.previous(self.model), object_id, self.volume)
                return Request(object_id, self.volume, it.prompts, previous, self.model)
        return None

    def accept(self, request: Request, prediction: Prediction) -> bool:
        """Show the answer to a request; False when the prompts have moved on since."""
        number, points = request.object_id, request.prompts.points
        it = None if number is None else self.objects.get(number)
        if number is None or it is None or request.volume is not self.volume:
            return False
        self.objects[number] = it.answered(points, Answer(prediction, request.model))
        if it.prompts.points != points:
            return False
        self.show(number, prediction)
        return True

    def rethreshold(self, threshold: float) -> bool:
        """Cut the current mask at another probability without a model; whether that could be."""
        it, points = self.object, self.object.prompts.points
        answer = it.answers.get(points)
        shown = answer is not None and it.shown is answer.prediction
        if self.volume is None or answer is None or not (shown and answer.prediction.graded):
            return False
        from napari_sam3d.engine.prediction import rethreshold

        prediction = rethreshold(answer.prediction, self.volume.grid, threshold)
        self.objects[self.current] = it.answered(points, Answer(prediction, answer.model))
        self.show(self.current, prediction)
        self._tell_changed()
        return True

    def settle(self, request: Request) -> None:
        """Do not ask again by itself: the request failed or was cancelled."""
        number = request.object_id
        if number is not None and number in self.objects:
            it = self.objects[number]
            self.objects[number] = replace(it, settled=request.prompts.points)

    def forget_answers(self, ask: bool = True) -> None:
        """Ask again for the current object: other settings, or the user's wish.

        Without `ask` this waits for the next point, and Undo still shows what was answered.
        """
        if self.current in self.objects:
            it = self.object
            forgotten = replace(it, settled=(), answers={})
            kept = replace(it, settled=it.prompts.points)
            self.objects[self.current] = forgotten if ask else kept
            self.prompts_changed.emit()

    def close(self) -> None:
        """Remove the prompt layer and every callback; masks stay, and so do their prompts."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._slice.close()
        self._leave_image()

    def color(self, object_id: int) -> tuple[float, float, float]:
        """Colour of an object in the Labels layer, RGB from 0 to 1."""
        color = None if self.labels is None else self.labels.get_color(object_id)
        red, green, blue = (0.5, 0.5, 0.5) if color is None else map(float, color[:3])
        return red, green, blue

    def title(self, object_id: int) -> str:
        """What to call an object."""
        return self.objects.get(object_id, _NEW).title(object_id)

    def require_image(self) -> tuple[Image, Volume]:
        """The image being worked on; ValueError with a sentence when there is none."""
        if self.image is None or self.volume is None:
            raise ValueError("There is no 3D image to segment: open one first.")
        return self.image, self.volume

    def require_point(self) -> None:
        """ValueError with a sentence when there is nothing to ask a model."""
        self.require_image()
        if not self.object.askable:
            raise ValueError("Add a positive point first: it says where the object is.")

    # layers

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
            self.prompt_layer = prompts = PromptLayer(image, volume)
            self._instruct(prompts)
            prompts.edited.connect(self._on_edited)
            prompts.refused.connect(self._on_refused)
            prompts.clicks.seen.connect(self._slice.show)
            prompts.clicks.refined = lambda: (self.labels, self.current)
            prompts.layer.bind_key("Control-Z", lambda layer: self.undo())
            prompts.layer.bind_key("Control-Shift-Z", lambda layer: self.redo())
            self._viewer.add_layer(prompts.layer)
            prompts.show(self.object.prompts.points)
            self.arm()
        return self.labels, self.prompt_layer

    def _instruct(self, prompts: PromptLayer) -> None:
        prompts.positive, prompts.takes_negative = self._positive, self._takes_negative
        prompts.no_clicks = self._no_clicks

    def _adopt_labels(self) -> None:
        """Go on with the objects of a Labels layer that an earlier session left."""
        image, volume = self.require_image()
        self.objects, self.current, self.labels = {}, 1, None
        left = labels_with_objects(reversed(self._viewer.layers), image, volume)
        if left is not None:
            self.labels, self.objects = left
            self.hand.follow(self.labels)
            self.current = max(self.objects)

    def _leave_image(self, keep_points: bool = False) -> None:
        if self.prompt_layer is not None:
            self.prompt_layer.close()
            self._left_behind.append(self.prompt_layer.layer)
        if self.image is not None:
            self.image.events.data.disconnect(self._on_image_data)
            for event in moves(self.image):
                event.disconnect(self._on_image_moved)
        self.image = self.volume = self.labels = self.prompt_layer = None
        self.hand.follow(None)
        self.objects, self.current = {}, 1
        while self._left_behind and not keep_points:
            layer = self._left_behind.pop()
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _step(self, prompts: Prompts) -> None:
        _, layer = self.ensure_layers()
        if prompts is not self.object.prompts:
            layer.show(prompts.points)
            self._become(self.current, prompts)
            self._tell_changed()

    def _step_together(
        self, step: Callable[[Prompts], Prompts], like: Callable[[Object], bool]
    ) -> None:
        """One step of all that are alike and were found by the model of the current object."""
        _, layer = self.ensure_layers()
        model = self.object.model
        for number, it in list(self.objects.items()):
            if like(it) and it.model == model:
                self._become(number, step(it.prompts))
        layer.show(self.object.prompts.points)
        self._tell_changed()

    def _become(self, object_id: int, prompts: Prompts) -> None:
        it = replace(self.objects.get(object_id, _NEW), prompts=prompts)
        self.objects[object_id] = it
        if not it.askable:
            self.show(object_id, it.standing())
            if prompts.points:
                self.notice.emit("Add a positive point: it says where the object is.")
        elif prompts.points in it.answers:
            self.show(object_id, it.answers[prompts.points].prediction)

    def _tell_changed(self) -> None:
        self.changed.emit()
        self.prompts_changed.emit()

    def show(self, object_id: int, shown: Prediction | Found | None) -> None:
        """Write the mask of an object, which needs no further request then."""
        it = self.objects[object_id]
        if shown is not None:
            self.ensure_layers()
        if self.labels is not None:
            self.hand.show(self.labels, object_id, shown, it.shown, self.objects)
        self.objects[object_id] = replace(it, shown=shown, settled=it.prompts.points)
        self.mask_changed.emit(object_id)

    def _on_edited(self) -> None:
        if self.prompt_layer is not None and self.image is not None:
            prompts = self.object.prompts.become(self.prompt_layer.points())
            if prompts is not self.object.prompts:
                self._become(self.current, prompts)
                self._tell_changed()

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

    def _on_image_moved(self) -> None:
        """Move the other layers along."""
        try:
            self.volume = self._to_volume(self.image)
        except ValueError as error:
            self.notice.emit(str(error))
            return
        for layer in (self.labels, self.prompt_layer and self.prompt_layer.layer):
            if layer is not None:
                follow(layer, self.image)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if self.image is not None and self.image == layer:
            # napari may be removing several layers now: the points go with the next choice
            self._leave_image(keep_points=True)
            self.notice.emit("The image was removed; its masks are still in their layer.")
            self.changed.emit()
            self.prompts_changed.emit()
        elif self.labels is not None and self.labels == layer:
            self.labels = None
            self.notice.emit("The mask layer was removed; the next mask brings it back.")
        elif self.prompt_layer is not None and self.prompt_layer.layer == layer:
            self.prompt_layer.close()
            self.prompt_layer = None
            self.notice.emit("The prompt layer was removed; New object or Undo brings it back.")


def _volume_from_layer(layer: Image) -> Volume:
    from napari_sam3d.plugin.layers import volume_from_layer

    return volume_from_layer(layer)
