"""An object being segmented, and what there is to ask about it: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction

OBJECTS = "napari_sam3d_objects"
"""Key in the metadata of a Labels layer under which its objects outlive the dock."""
_KEPT_ANSWERS = 16

Points = tuple[Point, ...]


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
        The prediction that the Labels layer shows.
    answers
        Earlier predictions by their points, newest last: undo takes them up again as they were.
    name
        What the user calls it; empty when it has no name but its number.
    """

    prompts: Prompts = field(default_factory=Prompts)
    settled: Points = ()
    shown: Prediction | None = None
    answers: dict[Points, Prediction] = field(default_factory=dict)
    name: str = ""

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

    def answered(self, points: Points, prediction: Prediction) -> Object:
        """With one more answer; the oldest is forgotten when there are many."""
        answers = {**self.answers, points: prediction}
        while len(answers) > _KEPT_ANSWERS:
            del answers[next(iter(answers))]
        return replace(self, answers=answers)

    def previous(self) -> Prediction | None:
        """The answer to the longest beginning of the present points, to be refined by the rest."""
        points = self.prompts.points
        known = [p for p in self.answers if p == points[: len(p)]]
        return self.answers[max(known, key=len)] if known else None


@dataclass(frozen=True, eq=False)
class Request:
    """What a worker needs to know to find the mask of an object."""

    object_id: int
    volume: Volume
    prompts: Prompts
    previous: Prediction | None

    def same(self, other: Request) -> bool:
        """Whether both ask for the same mask."""
        return (
            self.object_id == other.object_id
            and self.prompts.points == other.prompts.points
            and self.volume is other.volume
        )
