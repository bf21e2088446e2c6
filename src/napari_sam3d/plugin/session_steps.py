"""What the user says about an object, step by step, and what is shown of it then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.plugin.objects import Found, Object
from napari_sam3d.plugin.session_layers import SessionLayers
from napari_sam3d.prompts import Prompts, Said

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction
    from napari_sam3d.plugin.prompt_layer import PromptLayer


class SessionSteps(SessionLayers):
    """The history of each object; see `Session`."""

    def undo(self) -> None:
        """One step back; what a model found at once goes at once."""
        if self.object.untouched and self.object.model:
            self._step_together(Prompts.undo, lambda it: it.untouched)
        else:
            self._step(self.object.prompts.undo())

    def redo(self) -> None:
        """One step forward."""
        if self.object.taken_back and self.object.model:
            self._step_together(Prompts.redo, lambda it: it.taken_back)
        else:
            self._step(self.object.prompts.redo())

    def clear(self) -> None:
        """Remove the current object's prompts and its voxels; `undo` brings them back."""
        self._step(self.object.prompts.become(Said()))

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

    def show(self, object_id: int, shown: Prediction | Found | None) -> None:
        """Write the mask of an object, which needs no further request then."""
        it = self.objects[object_id]
        if shown is not None:
            self.ensure_layers()
        if self.labels is not None:
            self.hand.show(self.labels, object_id, shown, it.shown, self.objects)
        self.objects[object_id] = replace(it, shown=shown, settled=it.prompts.said)
        self.mask_changed.emit(object_id)

    def _watch(self, prompts: PromptLayer) -> None:
        super()._watch(prompts)
        prompts.edited.connect(self._on_edited)
        prompts.layer.bind_key("Control-Z", lambda layer: self.undo())
        prompts.layer.bind_key("Control-Shift-Z", lambda layer: self.redo())

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
        it = replace(self.objects.get(object_id, Object()), prompts=prompts)
        self.objects[object_id] = it
        if not it.askable:
            self.show(object_id, prompts.start)
            if prompts.count:
                self.notice.emit("Add a positive point: it says where the object is.")
        elif prompts.said in it.answers:
            self.show(object_id, it.answers[prompts.said].prediction)

    def _tell_changed(self) -> None:
        self.changed.emit()
        self.prompts_changed.emit()

    def _on_edited(self) -> None:
        if self.prompt_layer is not None and self.image is not None:
            before = self.object.prompts
            prompts = before.become(replace(before.said, points=self.prompt_layer.points()))
            if prompts is not self.object.prompts:
                self._become(self.current, prompts)
                self._tell_changed()
