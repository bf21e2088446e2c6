"""The objects of one image: what is to be asked about them, and what became of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3d.plugin.layers.voxels import box_of, painted
from napari_sam3d.plugin.session.given import given
from napari_sam3d.plugin.session.mask_layer import free_id, make_room
from napari_sam3d.plugin.session.names import show_colors
from napari_sam3d.plugin.session.objects import Answer, Object, Request, forget_most
from napari_sam3d.plugin.session.session_steps import SessionSteps
from napari_sam3d.prompts import Prompts, Said

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3d.engine.predictor import Prediction


class Session(SessionSteps):
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

    def new_object(self) -> int:
        """Begin the next object, unless the current one is still without a point."""
        labels, _ = self.ensure_layers()
        if self.object.prompts.begun:
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
        show_colors(labels, self.objects)
        self._instruct(prompts)
        self._show_said()
        self.arm()
        self.changed.emit()

    def add_objects(self, objects: Mapping[int, Object]) -> dict[int, int]:
        """Add objects and continue with the first; the number of each as given, and here.

        Numbers that are taken, by an object or a painted label, are exchanged for free ones.
        """
        labels, _ = self.ensure_layers()
        taken = self.used() | painted(labels.data)
        free = itertools.count(max(taken | set(objects), default=0) + 1)
        numbers = {wanted: next(free) if wanted in taken else wanted for wanted in objects}
        self.objects.update((numbers[wanted], it) for wanted, it in objects.items())
        self.select(next(iter(numbers.values()), self.current))
        self.prompts_changed.emit()
        return numbers

    def start_from(self, layer: Labels, label_id: int) -> int:
        """Make a mask of any Labels layer an object, which prompts then change.

        Voxels of the session's own layer stay where they are: what is painted there becomes an
        object with its own number, and an object goes on from how it looks now, without prompts.

        Returns
        -------
        int
            The number of the object.

        Raises
        ------
        ValueError
            With a sentence, when there is no such mask, or all of its voxels belong to others.
        """
        image, volume = self.require_image()
        labels, _ = self.ensure_layers()
        start = given(layer, label_id, image, volume)
        if layer == labels:
            if sentence := self.why_locked(label_id):
                raise ValueError(sentence)
            it = self.objects.get(label_id, Object(name=start.name))
            said = Said(start=start)
            prompts = it.prompts.become(said) if it.prompts.begun else Prompts(start=start)
            self.objects[label_id] = replace(it, prompts=prompts, shown=start, settled=said)
            self.select(label_id)
            self.prompts_changed.emit()
            return label_id
        if not self.hand.overwrite and np.all(labels.data[start.window][start.mask]):
            raise ValueError(
                f"Other objects hold all voxels of the label {label_id} of {layer.name}: choose "
                "Overwrite where objects meet, or delete one."
            )
        name = start.name or f"{layer.name} {label_id}"
        it = Object(Prompts(start=start, past=(Said(),)), name=name)
        (number,) = self.add_objects({self.current: it}).values()
        self.show(number, start)
        return number

    def rename(self, object_id: int, name: str) -> None:
        """Call an object by a name, or by its number when that is empty."""
        self._describe(object_id, name=name.strip())

    def classify(self, object_id: int, category: str) -> None:
        """Say what an object is one of, or that this is open."""
        self._describe(object_id, category=" ".join(category.split()))

    def recolor(self, object_id: int, color: str) -> None:
        """Show an object in a colour, #rrggbb."""
        labels, _ = self.ensure_layers()
        if object_id in self.objects:
            self.objects[object_id] = replace(self.objects[object_id], color=color)
            show_colors(labels, self.objects)
            self.changed.emit()

    def lock(self, object_id: int, locked: bool) -> None:
        """Whether the mask of an object changes by hand only."""
        self._describe(object_id, locked=locked)
        if object_id == self.current and self.prompt_layer is not None:
            self._instruct(self.prompt_layer)
        self.prompts_changed.emit()

    def _describe(self, object_id: int, **changes: Any) -> None:
        if object_id in self.objects:
            self.objects[object_id] = replace(self.objects[object_id], **changes)
            self.changed.emit()

    def delete(self, object_id: int) -> None:
        """Remove an object, its points and its voxels; ValueError when it is locked."""
        labels, _ = self.ensure_layers()
        if sentence := self.why_locked(object_id):
            raise ValueError(sentence)
        self.objects.pop(object_id, None)
        self.hand.delete(labels, object_id, box_of(labels.data, object_id))
        self.mask_changed.emit(object_id)
        if object_id == self.current:
            self.select(max(self.objects, default=object_id))
        self._tell_changed()

    # questions and answers

    def require_point(self) -> None:
        """ValueError with a sentence when there is nothing to ask a model."""
        self.require_image()
        if sentence := self.why_locked(self.current):
            raise ValueError(sentence)
        if not self.object.askable:
            if self.object.prompts.start is not None:
                raise ValueError("Add a point, a box or a scribble first: it says what to change.")
            where = "Add a positive point first: it says where the object is."
            raise ValueError(self._no_clicks or where)

    def pending(self) -> Request | None:
        """The next mask to ask for: of the current object, else of one left behind."""
        if self.volume is None:
            return None
        others = (i for i in self.objects if i != self.current)
        for object_id in (self.current, *others):
            it = self.objects.get(object_id)
            if it is not None and it.pending and not it.locked:
                previous = self.hand.previous(it.previous(self.model), object_id, self.volume)
                return Request(object_id, self.volume, it.prompts, previous, self.model)
        return None

    def accept(self, request: Request, prediction: Prediction) -> bool:
        """Show the answer to a request; False when the prompts have moved on since."""
        number, said = request.object_id, request.prompts.said
        it = None if number is None else self.objects.get(number)
        if number is None or it is None or it.locked or request.volume is not self.volume:
            return False
        self.objects[number] = it.answered(said, Answer(prediction, request.model))
        up_to_date = it.prompts.said == said
        if up_to_date:
            self.show(number, prediction)
        self.objects.update(forget_most(self.objects, self.current))
        return up_to_date

    def to_recut(self, at_another_threshold: bool) -> Request | None:
        """The request to make the current mask anew of what a model said; None if it has to run."""
        it, said = self.object, self.object.prompts.said
        answer = it.answers.get(said)
        if self.volume is None or it.locked or answer is None or it.shown is not answer.prediction:
            return None
        if at_another_threshold and not answer.prediction.graded:
            return None
        return Request(
            self.current, self.volume, it.prompts, answer.prediction, answer.model, recut=True
        )

    def settle(self, request: Request) -> None:
        """Do not ask again by itself: the request failed or was cancelled."""
        number = request.object_id
        if number is not None and number in self.objects:
            it = self.objects[number]
            self.objects[number] = replace(it, settled=request.prompts.said)

    def forget_answers(self, ask: bool = True) -> None:
        """Ask again for the current object: other settings, or the user's wish.

        Without `ask` this waits for the next point, and Undo still shows what was answered.
        """
        if self.current in self.objects and not self.object.locked:
            it = self.object
            forgotten = replace(it, settled=Said(), answers={})
            kept = replace(it, settled=it.prompts.said)
            self.objects[self.current] = forgotten if ask else kept
            self.prompts_changed.emit()
