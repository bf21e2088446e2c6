"""Scores of made-up cases, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_sam3d.engine.evaluation.results import CaseScores, ObjectScores, Round


def scored(
    name: str,
    class_label: int,
    dices: Mapping[str, float],
    nsds: Sequence[float] = (),
    label: int | None = None,
) -> ObjectScores:
    """An object with these Dice after these rounds; its surface Dice is the same unless given."""
    nsds = nsds or list(dices.values())
    rounds = [
        Round(round_name, dice, nsd, 10 * (1 - dice), 2.0 if i == 0 else 0.5)
        for i, ((round_name, dice), nsd) in enumerate(zip(dices.items(), nsds, strict=True))
    ]
    label = class_label if label is None else label
    return ObjectScores(label, name, class_label, 8, 0.5, 1.0, tuple(rounds))


def case(name: str, *objects: ObjectScores, error: str = "") -> CaseScores:
    """A case of a minute and a gibibyte."""
    return CaseScores(name, objects, 60.0, 2**30, error)


def clicks(*dices: float, box: float | None = None) -> dict[str, float]:
    """Rounds by number, after a box or without."""
    first = {} if box is None else {"box": box}
    return {**first, **{str(n): dice for n, dice in enumerate(dices, 1)}}
