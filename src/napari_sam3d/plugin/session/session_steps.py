"""What the user says about an object, step by step, and what is shown of it then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3d.plugin.session.objects import Found, Object
from napari_sam3d.plugin.session.session_layers import SessionLayers
from napari_sam3d.prompts import Box, Prompts, Said, Scribble

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction
    from napari_sam3d.plugin.canvas.prompt_layer import PromptLayer


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

    def set_box(self, box: Box | None) -> None:
        """Say in which box the current object is; None removes it."""
        self._step(self._saying(box=box))

    def add_scribble(self, scribble: Scribble) -> None:
        """Say it by a stroke, too."""
        self._step(self._saying(scribbles=(*self.object.prompts.scribbles, scribble)))

    def remove_prompt(self, index: int) -> None:
        """Remove one of the `parts` that were said about the current object."""
        self._step(self.object.prompts.remove(index))

    def look_at(self, index: int) -> None:
        """Show the slice of one of the `parts`; in 3D, at the next change to 2D."""
        _, prompts = self.ensure_layers()
        position = self.object.prompts.parts[index].middle()
        self._slice.go_to(np.asarray(prompts.layer.data_to_world(position)))

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
        prompts.boxed.connect(self.set_box)
        prompts.scribbled.connect(self.add_scribble)
        prompts.layer.bind_key("Control-Z", lambda layer: self.undo())
        prompts.layer.bind_key("Control-Shift-Z", lambda layer: self.redo())

    def _step(self, prompts: Prompts) -> None:
        self.ensure_layers()
        if not self._refuses() and prompts is not self.object.prompts:
            self._become(self.current, prompts)
            self._show_said()
            self._tell_changed()

    def _step_together(
        self, step: Callable[[Prompts], Prompts], like: Callable[[Object], bool]
    ) -> None:
        """One step of all that are alike and were found by the model of the current object."""
        self.ensure_layers()
        if self._refuses():
            return
        model = self.object.model
        for number, it in list(self.objects.items()):
            if like(it) and it.model == model and not it.locked:
                self._become(number, step(it.prompts))
        self._show_said()
        self._tell_changed()

    def _refuses(self) -> bool:
        """Whether the current object is locked, and say so."""
        sentence = self.why_locked(self.current)
        if sentence:
            self.notice.emit(sentence)
        return bool(sentence)

    def _saying(self, **parts: Any) -> Prompts:
        """The current prompts with other `Said` fields, as one more step."""
        prompts = self.object.prompts
        return prompts.become(replace(prompts.said, **parts))

    def _become(self, object_id: int, prompts: Prompts) -> None:
        it = replace(self.objects.get(object_id, Object()), prompts=prompts)
        self.objects[object_id] = it
        if not it.askable:
            self.show(object_id, prompts.start)
            if prompts.parts:
                self.notice.emit("Add a positive point: it says where the object is.")
        elif prompts.said in it.answers:
            self.show(object_id, it.answers[prompts.said].prediction)

    def _on_edited(self) -> None:
        if self.prompt_layer is not None and self.image is not None:
            prompts = self._saying(points=self.prompt_layer.points())
            if prompts is not self.object.prompts and self._refuses():
                self._show_said()
            elif prompts is not self.object.prompts:
                self._become(self.current, prompts)
                self._tell_changed()
