"""What the scores of many objects say: by round, by class, clicks that were needed, time, memory.

How cases are put together follows each protocol. cvpr25: see `challenge_scores`. sam-med3d: an
object that is neither there nor found is left out (deepmind's surface distance, which
`utils/metric_utils.py` of uni-medical/SAM-Med3D uses, gives no number). ma-sam: such an object
counts 1 (`calculate_metric_percase` of cchen-cc/MA-SAM), and the mean is over classes, each the
mean of its cases. Both means, over cases and over classes, are told for all protocols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, isinf, isnan

from napari_sam3d.engine.evaluation.challenge_scores import Challenge, case_round, challenge
from napari_sam3d.engine.evaluation.results import CaseScores, ObjectScores, Round
from napari_sam3d.engine.evaluation.spread import Spread, mean, spread
from napari_sam3d.engine.metrics import clicks_to

GOOD = (0.80, 0.85, 0.90)
"""Dice for which the clicks are counted."""


@dataclass(frozen=True)
class RoundSummary:
    """All objects after one round.

    Parameters
    ----------
    name
        Of the round.
    dice, nsd
        Over the objects that had it.
    case_dice, case_nsd
        Mean over cases, each the mean of its objects.
    class_dice, class_nsd
        Mean over classes, each the mean over its cases of the mean of its objects there.
    hd95_mm
        Median of those that are finite.
    hd95_infinite
        How many are not, for a mask is empty.
    """

    name: str
    dice: Spread
    nsd: Spread
    case_dice: float
    case_nsd: float
    class_dice: float
    class_nsd: float
    hd95_mm: float
    hd95_infinite: int


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


@dataclass(frozen=True)
class Summary:
    """What an evaluation says.

    Parameters
    ----------
    protocol, tolerance_mm
        How it was made: whose rules, and the tolerance of the surface Dice.
    cases
        All of them, those that failed included, by the rules of the protocol.
    rounds
        In the order of the protocol.
    classes
        By label and name.
    reached
        For the Dice in `GOOD`; empty for protocols without clicks.
    first_seconds, later_seconds
        Of the first prediction of an object, and of the others.
    seconds
        Wall time of all cases.
    peak_bytes
        Of the case that needed most.
    challenge
        For cvpr25.
    """

    protocol: str
    tolerance_mm: float
    cases: tuple[CaseScores, ...]
    rounds: tuple[RoundSummary, ...]
    classes: tuple[ClassSummary, ...]
    reached: tuple[Reached, ...]
    first_seconds: Spread
    later_seconds: Spread
    seconds: float
    peak_bytes: int
    challenge: Challenge | None

    @property
    def objects(self) -> tuple[ObjectScores, ...]:
        """Of all cases."""
        return tuple(it for case in self.cases for it in case.objects)

    @property
    def failed(self) -> tuple[CaseScores, ...]:
        """The cases that have no scores."""
        return tuple(case for case in self.cases if case.error)


def summarise(protocol: str, tolerance_mm: float, cases: Sequence[CaseScores]) -> Summary:
    """What the scores of cases say together.

    Parameters
    ----------
    protocol
        By which they were played.
    tolerance_mm
        Of their surface Dice, in millimetres.
    cases
        All, those that failed included; they are left out of everything but the challenge's
        figures, which say so.

    Raises
    ------
    ValueError
        When cases of the challenge's protocol were played with different numbers of clicks.
    """
    if protocol == "ma-sam":
        cases = [_empty_counts_one(case) for case in cases]
    objects = [it for case in cases for it in case.objects]
    names = _round_names(objects)
    classes = _classes(cases, names)
    seconds = [[it.seconds for it in found.rounds if it.seconds > 0] for found in objects]
    return Summary(
        protocol,
        tolerance_mm,
        tuple(cases),
        tuple(_round(protocol, name, i, cases, classes) for i, name in enumerate(names)),
        classes,
        _reached(objects, names),
        spread(it[0] for it in seconds if it),
        spread(later for it in seconds for later in it[1:]),
        sum(case.seconds for case in cases),
        max((case.peak_bytes for case in cases), default=0),
        challenge(cases) if protocol == "cvpr25" else None,
    )


def _empty_counts_one(case: CaseScores) -> CaseScores:
    """The case with a Dice of 1 where an object is neither there nor found."""

    def counted(it: Round) -> Round:
        return replace(it, dice=1.0) if isnan(it.dice) else it

    objects = (replace(it, rounds=tuple(map(counted, it.rounds))) for it in case.objects)
    return replace(case, objects=tuple(objects))


def _round_names(objects: Sequence[ObjectScores]) -> tuple[str, ...]:
    """Names of all rounds: those without a number as they come, then by number."""
    found = dict.fromkeys(it.name for played in objects for it in played.rounds)
    return tuple(sorted(found, key=lambda name: int(name) if name.isdecimal() else 0))


def _round(
    protocol: str,
    name: str,
    index: int,
    cases: Sequence[CaseScores],
    classes: Sequence[ClassSummary],
) -> RoundSummary:
    there = [
        [it for found in case.objects for it in found.rounds if it.name == name] for case in cases
    ]
    rounds = [it for case in there for it in case]
    if protocol == "cvpr25":
        case_nsd = mean(
            case_round(case, name)[1] for case, found in zip(cases, there, strict=True) if found
        )
    else:
        case_nsd = mean(mean(it.nsd for it in found) for found in there)
    return RoundSummary(
        name,
        spread(it.dice for it in rounds),
        spread(it.nsd for it in rounds),
        mean(mean(it.dice for it in found) for found in there),
        case_nsd,
        mean(it.dice[index] for it in classes),
        mean(it.nsd[index] for it in classes),
        spread(it.hd95_mm for it in rounds if isfinite(it.hd95_mm)).median,
        sum(isinf(it.hd95_mm) for it in rounds),
    )


def _classes(cases: Sequence[CaseScores], names: Sequence[str]) -> tuple[ClassSummary, ...]:
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


def _reached(objects: Sequence[ObjectScores], names: Sequence[str]) -> tuple[Reached, ...]:
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
