"""The scores of each class, whole or by its instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_sam3d.engine.evaluation.results import CaseScores, ObjectScores
from napari_sam3d.engine.evaluation.spread import mean


@dataclass(frozen=True)
class ClassSummary:
    """One class, whole or by its instances.

    Parameters
    ----------
    label, name
        Its value in the files, and what it is called.
    cases, objects
        In how many it is, and how many there are.
    dice, nsd
        After each round of the summary: mean over cases of the mean of its objects there.
    """

    label: int
    name: str
    cases: int
    objects: int
    dice: tuple[float, ...]
    nsd: tuple[float, ...]


def by_class(cases: Sequence[CaseScores], names: Sequence[str]) -> tuple[ClassSummary, ...]:
    """Each class; in files that name them differently a label is several."""
    found: dict[tuple[int, str], list[list[ObjectScores]]] = {}
    for case in cases:
        here: dict[tuple[int, str], list[ObjectScores]] = {}
        for it in case.objects:
            here.setdefault((it.class_label, it.name), []).append(it)
        for key, objects in here.items():
            found.setdefault(key, []).append(objects)
    return tuple(
        ClassSummary(
            label,
            name,
            len(each),
            sum(map(len, each)),
            tuple(_class_mean(each, "dice", of) for of in names),
            tuple(_class_mean(each, "nsd", of) for of in names),
        )
        for (label, name), each in sorted(found.items())
    )


def _class_mean(each: Sequence[Sequence[ObjectScores]], score: str, name: str) -> float:
    return mean(
        mean(getattr(it, score) for found in objects for it in found.rounds if it.name == name)
        for objects in each
    )
