"""An object being segmented, and what there is to ask about it: plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_sam3d.prompts import Found as Found
from napari_sam3d.prompts import Prompts, Said
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction

OBJECTS = "napari_sam3d_objects"
"""Key in the metadata of a Labels layer under which its objects outlive the dock."""
_KEPT_ANSWERS = 16
_KEPT_BYTES = 256 << 20
"""Of the answers of all objects; their masks are in the Labels layer anyway."""


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
        What was said, with its history.
    settled
        What needs no further request: shown, failed or cancelled.
    shown
        What the Labels layer shows.
    answers
        Earlier predictions by what was said, newest last: undo takes them up again as they were
        shown last. Some may be missing, and are asked for again then: see `forget_most`.
    name
        What the user or a model calls it; empty when it has no name but its number.
    category
        What it is one of, such as "vessel"; empty when nobody has said.
    color
        As #rrggbb; empty for the one that napari gives it.
    locked
        Whether its mask changes by hand only.
    """

    prompts: Prompts = field(default_factory=Prompts)
    settled: Said = field(default_factory=Said)
    shown: Prediction | Found | None = None
    answers: dict[Said, Answer] = field(default_factory=dict)
    name: str = ""
    category: str = ""
    color: str = ""
    locked: bool = False

    def title(self, number: int) -> str:
        """Its name, or else its number."""
        return self.name or f"Object {number}"

    @property
    def askable(self) -> bool:
        """Whether a model can be asked."""
        prompts = self.prompts
        return prompts.locates or (prompts.start is not None and bool(prompts.parts))

    @property
    def pending(self) -> bool:
        """Whether there is something to ask that was not asked yet."""
        return self.askable and self.prompts.said != self.settled

    @property
    def model(self) -> str:
        """Name of the model that found it; empty when prompts did."""
        prompts = self.prompts
        first = prompts.future[-1] if self.taken_back else prompts
        return "" if first.start is None else first.start.model

    @property
    def untouched(self) -> bool:
        """Whether it is as it was found."""
        prompts = self.prompts
        return prompts.past == (Said(),) and prompts.said == Said(start=prompts.start)

    @property
    def taken_back(self) -> bool:
        """Whether it is as before it was found."""
        prompts = self.prompts
        return not prompts.begun and any(it.start is not None for it in prompts.future[-1:])

    @property
    def can_clear(self) -> bool:
        """Whether there are prompts, or a mask without them."""
        return self.prompts.said != Said()

    def answered(self, said: Said, answer: Answer) -> Object:
        """With one more answer; the oldest is forgotten when there are many."""
        answers = {**self.answers, said: answer}
        while len(answers) > _KEPT_ANSWERS:
            del answers[next(iter(answers))]
        return replace(self, answers=answers)

    def moved(self) -> Object:
        """Without answers, which know where the voxels were in the world; its mask stays."""
        shown = self.shown
        return replace(self, answers={}, shown=None if shown is None else _mask_of(shown))

    def previous(self, model: str) -> Prediction | Found | None:
        """What the prompts change: a model's answer to the most of them, else their start."""
        said = self.prompts.said
        known = [it for it, by in self.answers.items() if by.model == model and it.begins(said)]
        if not known:
            return said.start
        return self.answers[max(known, key=lambda it: len(it.parts))].prediction


def forget_most(objects: Mapping[int, Object], current: int) -> dict[int, Object]:
    """The objects that have to forget answers, without them, so that not too much is kept.

    At first the older answers of other objects go, then those of the current one, then the newest
    of others, which are shown from then on without what a model could go on from.
    """
    bytes_of = {id(it): size for it, size in _arrays(objects.values())}
    excess = sum(bytes_of.values()) - _KEPT_BYTES
    if excess <= 0:
        return {}
    others = [number for number in objects if number != current]
    older = [(n, said) for n in (*others, current) for said in list(objects[n].answers)[:-1]]
    newest = [(n, said) for n in others for said in list(objects[n].answers)[-1:]]
    changed: dict[int, Object] = {}
    for number, said in (*older, *newest):
        it = changed.get(number, objects[number])
        prediction = it.answers[said].prediction
        answers = {key: value for key, value in it.answers.items() if key != said}
        shown = it.shown
        if shown is prediction:
            shown = _mask_of(prediction)
        changed[number] = replace(it, answers=answers, shown=shown)
        excess -= sum(bytes_of.pop(id(array), 0) for array, _ in _held(prediction))
        if excess <= 0:
            break
    return changed


def _mask_of(shown: Prediction | Found) -> Found:
    """The mask without what a model could go on from."""
    return Found("", "", shown.mask, shown.window)


def _arrays(objects: Iterable[Object]) -> Iterator[tuple[object, int]]:
    for it in objects:
        for answer in it.answers.values():
            yield from _held(answer.prediction)


def _held(prediction: Prediction) -> Iterator[tuple[object, int]]:
    """The arrays of a prediction, and their bytes."""
    bare = () if prediction.bare is None else prediction.bare[:1]
    views = (array for view in prediction.views for array in (view.probability, view.logits))
    for array in (prediction.logits, prediction.mask, *bare, *views):
        if array is not None:
            yield array, array.nbytes


@dataclass(frozen=True, eq=False)
class Request:
    """What a worker needs to know to find the mask of an object.

    Parameters
    ----------
    object_id
        Its number; None when all that a model knows is to be found without prompts.
    previous
        What is there already and to be changed; None when there is nothing.
    recut
        Whether only the mask is made anew, of the logits of `previous`, which needs no model.
    """

    object_id: int | None
    volume: Volume
    prompts: Prompts
    previous: Prediction | Found | None
    model: str
    recut: bool = False

    def same(self, other: Request) -> bool:
        """Whether both ask for the same mask."""
        return (
            self.object_id == other.object_id
            and self.prompts.said == other.prompts.said
            and self.volume is other.volume
        )
