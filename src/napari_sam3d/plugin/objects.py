"""An object being segmented, and what there is to ask about it: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.volume import Volume, Window

if TYPE_CHECKING:
    import numpy as np

    from napari_sam3d.engine.predictor import Prediction

OBJECTS = "napari_sam3d_objects"
"""Key in the metadata of a Labels layer under which its objects outlive the dock."""
_KEPT_ANSWERS = 16

Points = tuple[Point, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What a model found without a click.

    Parameters
    ----------
    model
        Its name.
    name
        Of the class.
    mask, window
        As in `Prediction`.
    """

    model: str
    name: str
    mask: np.ndarray
    window: Window


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction, and by which model: another one cannot go on from it."""

    prediction: Prediction
    model: str


@dataclass(frozen=True, eq=False)
class Object:
    """One object: what was said about it and what came of it.

    Parameters
    ----------
    prompts
        Its points, with their history.
    settled
        The points that need no further request: shown, failed or cancelled.
    shown
        What the Labels layer shows.
    answers
        Earlier predictions by their points, newest last: undo takes them up again as they were.
    name
        What the user or a model calls it; empty when it has no name but its number.
    found
        The mask that a model found without a click. It appears as the first step of the history.
    """

    prompts: Prompts = field(default_factory=Prompts)
    settled: Points = ()
    shown: Prediction | Found | None = None
    answers: dict[Points, Answer] = field(default_factory=dict)
    name: str = ""
    found: Found | None = None

    def title(self, number: int) -> str:
        """Its name, or else its number."""
        return self.name or f"Object {number}"

    @property
    def askable(self) -> bool:
        """Whether a point says where the object is."""
        return any(point.positive for point in self.prompts.points)

    @property
    def pending(self) -> bool:
        """Whether there is something to ask that was not asked yet."""
        return self.askable and self.prompts.points != self.settled

    @property
    def model(self) -> str:
        """Name of the model that found it; empty when clicks did."""
        return self.found.model if self.found is not None else ""

    @property
    def untouched(self) -> bool:
        """Whether it is as a model found it."""
        return self.found is not None and not self.prompts.points and len(self.prompts.past) == 1

    @property
    def taken_back(self) -> bool:
        """Whether it is as before a model found it."""
        return self.found is not None and not self.prompts.points and not self.prompts.past

    @property
    def can_return(self) -> bool:
        """Whether the next step brings back what the model found."""
        return self.taken_back and self.prompts.future[-1:] == ((),)

    @property
    def can_clear(self) -> bool:
        """Whether there are points, or a mask without them."""
        return bool(self.prompts.points) or self.untouched

    def standing(self) -> Found | None:
        """What is shown while no point says where the object is."""
        was_there = self.prompts.past[1:2] == ((),)
        return self.found if self.untouched or (self.prompts.points and was_there) else None

    def cleared(self) -> Prompts:
        """Its prompts without points, as one step even when there are none."""
        if not self.untouched:
            return self.prompts.become(())
        return replace(self.prompts, past=(*self.prompts.past, ()), future=())

    def answered(self, points: Points, answer: Answer) -> Object:
        """With one more answer; the oldest is forgotten when there are many."""
        answers = {**self.answers, points: answer}
        while len(answers) > _KEPT_ANSWERS:
            del answers[next(iter(answers))]
        return replace(self, answers=answers)

    def previous(self, model: str) -> Prediction | None:
        """A model's answer to the longest beginning of the points, to be refined by the rest."""
        points = self.prompts.points
        known = [p for p, it in self.answers.items() if p == points[: len(p)] and it.model == model]
        return self.answers[max(known, key=len)].prediction if known else None


@dataclass(frozen=True, eq=False)
class Request:
    """What a worker needs to know to find the mask of an object.

    Parameters
    ----------
    object_id
        Its number; None when all that a model knows is to be found without prompts.
    """

    object_id: int | None
    volume: Volume
    prompts: Prompts
    previous: Prediction | None
    model: str

    def same(self, other: Request) -> bool:
        """Whether both ask for the same mask."""
        return (
            self.object_id == other.object_id
            and self.prompts.points == other.prompts.points
            and self.volume is other.volume
        )
