"""The figures of the CVPR 2025 challenge: areas and final scores of cases, and its file of them.

Rules from `CVPR25_iter_eval.py` of JunMa11/CVPR-MedSegFMCompetition: a case's score is the mean
over its classes; where the mean Dice is 0.2 or less the surface Dice counts 0; areas are over the
click rounds only; a round without a box counts 0; so does all of a case that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from napari_sam3d.engine.evaluation.results import CaseScores
from napari_sam3d.engine.evaluation.spread import mean
from napari_sam3d.engine.metrics import area_under

_POOR = 0.2
"""Mean Dice up to which the challenge does not look at surfaces."""
_SECONDS = 90
"""Of all predictions of a case, for each of its classes, in the challenge's final test."""
_CLICKS = 5


@dataclass(frozen=True)
class Areas:
    """Means over cases; not a number when there are none, areas also with a single click.

    Parameters
    ----------
    cases
        How many.
    dsc_auc, nsd_auc
        Area under the scores after each click, 0 to 4 with five clicks.
    dsc_final, nsd_final
        After the last click.
    """

    cases: int
    dsc_auc: float
    nsd_auc: float
    dsc_final: float
    nsd_final: float


@dataclass(frozen=True)
class Challenge:
    """What the challenge tells of a method.

    Parameters
    ----------
    clicks
        How many there were; the challenge has five.
    with_failed, without_failed
        Failed cases count 0, or are left out.
    slow
        Cases whose predictions took longer than 90 s for each class.
    """

    clicks: int
    with_failed: Areas
    without_failed: Areas
    slow: int


def challenge(cases: Sequence[CaseScores]) -> Challenge:
    """What the challenge would tell of cases that were played by its protocol.

    Raises
    ------
    ValueError
        When not all of them were played with the same clicks.
    """
    clicks = _click_rounds(cases)
    each = [_areas(case, clicks) for case in cases]
    done = [it for it, case in zip(each, cases, strict=True) if not case.error]
    slow = sum(_predicting(case) > _SECONDS * len(case.objects) for case in cases)
    return Challenge(len(clicks), _mean(each), _mean(done), slow)


def case_round(case: CaseScores, name: str) -> tuple[float, float]:
    """Dice and surface Dice of a case after one round; 0 when it failed or had no such round."""
    rounds = [it for found in case.objects for it in found.rounds if it.name == name]
    if not rounds:
        return 0.0, 0.0
    overlap = mean(it.dice for it in rounds)
    return overlap, mean(it.nsd for it in rounds) if overlap > _POOR else 0.0


def challenge_rows(cases: Sequence[CaseScores]) -> list[dict[str, float | str]]:
    """The challenge's own file: a row per case, in columns of its names, round 1 being the box."""
    clicks = _click_rounds(cases)
    rows: list[dict[str, float | str]] = []
    for case in cases:
        rounds = list(enumerate(("box", *clicks), 1))
        areas = _areas(case, clicks)
        scores = [case_round(case, name) for _, name in rounds]
        rows.append(
            {
                "CaseName": case.case,
                "TotalRunningTime": _predicting(case),
                **{f"RunningTime_{number}": _predicting(case, name) for number, name in rounds},
                "DSC_AUC": areas.dsc_auc,
                "NSD_AUC": areas.nsd_auc,
                "DSC_Final": areas.dsc_final,
                "NSD_Final": areas.nsd_final,
                **{f"DSC_{number}": score[0] for number, score in enumerate(scores, 1)},
                **{f"NSD_{number}": score[1] for number, score in enumerate(scores, 1)},
                "num_class": len(case.objects),
                "runtime_upperbound": _SECONDS * len(case.objects),
            }
        )
    return rows


def _click_rounds(cases: Sequence[CaseScores]) -> tuple[str, ...]:
    """The names of the rounds with clicks, which all objects share."""
    found = {
        tuple(it.name for it in played.rounds if it.name.isdecimal()): case.case
        for case in cases
        for played in case.objects
    }
    if len(found) > 1:
        (few, one), (many, other), *_ = sorted(found.items(), key=lambda it: len(it[0]))
        raise ValueError(
            f"{one} was played with {len(few)} clicks, {other} with {len(many)}; their areas "
            "cannot be compared. Evaluate them anew with the same settings."
        )
    # where everything failed, nobody can tell: as the challenge has it
    return next(iter(found), tuple(str(n) for n in range(1, _CLICKS + 1)))


def _areas(case: CaseScores, clicks: Sequence[str]) -> Areas:
    if not clicks:
        return Areas(1, nan, nan, nan, nan)
    overlaps, surfaces = zip(*(case_round(case, name) for name in clicks), strict=True)
    return Areas(1, area_under(overlaps), area_under(surfaces), overlaps[-1], surfaces[-1])


def _mean(each: Sequence[Areas]) -> Areas:
    return Areas(
        len(each),
        mean(it.dsc_auc for it in each),
        mean(it.nsd_auc for it in each),
        mean(it.dsc_final for it in each),
        mean(it.nsd_final for it in each),
    )


def _predicting(case: CaseScores, name: str | None = None) -> float:
    """Seconds of the predictions of all objects, in one round or in all of them."""
    rounds = (it for found in case.objects for it in found.rounds)
    return sum(it.seconds for it in rounds if name in (None, it.name))
