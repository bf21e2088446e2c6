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

from napari_sam3d.engine.evaluation.by_class import ClassSummary, by_class
from napari_sam3d.engine.evaluation.challenge_scores import Challenge, case_round, challenge
from napari_sam3d.engine.evaluation.reached import Reached, reached
from napari_sam3d.engine.evaluation.results import CaseScores, ObjectScores, Round
from napari_sam3d.engine.evaluation.spread import Spread, mean, spread


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
        For the Dice in `reached.GOOD`; empty for protocols without clicks.
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
    classes = by_class(cases, names)
    seconds = [[it.seconds for it in found.rounds if it.seconds > 0] for found in objects]
    return Summary(
        protocol,
        tolerance_mm,
        tuple(cases),
        tuple(_round(protocol, name, i, cases, classes) for i, name in enumerate(names)),
        classes,
        reached(objects, names),
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
