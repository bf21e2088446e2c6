"""How many clicks objects take to be found well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_sam3d.engine.evaluation.results import ObjectScores
from napari_sam3d.engine.evaluation.spread import mean, spread
from napari_sam3d.engine.metrics import clicks_to

GOOD = (0.80, 0.85, 0.90)
"""Dice for which the clicks are counted."""


@dataclass(frozen=True)
class Reached:
    """How many clicks a Dice takes; those that never reach it count one more than there were.

    Parameters
    ----------
    dice
        That is reached.
    share
        Of the objects that reach it, 0 to 1.
    median, mean
        Clicks.
    never
        What an object counts that does not reach it.
    """

    dice: float
    share: float
    median: float
    mean: float
    never: int


def reached(objects: Sequence[ObjectScores], names: Sequence[str]) -> tuple[Reached, ...]:
    """For each Dice in `GOOD`; nothing when no round is named after clicks."""
    most = max((int(name) for name in names if name.isdecimal()), default=0)
    if not most:
        return ()
    out = []
    for good in GOOD:
        needed = [_clicks(it, good, most + 1) for it in objects]
        over = spread(needed)
        share = mean(clicks <= most for clicks in needed)
        out.append(Reached(good, share, over.median, over.mean, most + 1))
    return tuple(out)


def _clicks(played: ObjectScores, good: float, never: int) -> int:
    """Clicks after which a Dice was reached first; a box alone is none."""
    first = clicks_to([it.dice for it in played.rounds], good)
    if first is None:
        return never
    name = played.rounds[first - 1].name
    return int(name) if name.isdecimal() else 0
