"""A summary as text: aligned tables that are Markdown, too, and the rows of a CSV file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isnan

from napari_sam3d.engine.evaluation.challenge_scores import Areas, Challenge
from napari_sam3d.engine.evaluation.results import CaseScores
from napari_sam3d.engine.evaluation.summary import Summary

_NONE = "-"
_SHOWN = 6
"""Rounds that a table of classes has columns for."""


def table(summary: Summary) -> str:
    """The summary as Markdown that can be read in a terminal as it is."""
    failed = [f"- {_line(it.case)}: {_line(it.error)}" for it in summary.failed]
    parts = [
        counted(summary),
        *([] if summary.challenge is None else [_challenge(summary, summary.challenge)]),
        *([_rounds(summary), _classes(summary)] if summary.objects else []),
        *([_reached(summary)] if summary.reached else []),
        *([_cost(summary)] if summary.objects else []),
        *(["\n".join([_title(summary, "Failed cases"), "", *failed])] if failed else []),
    ]
    return "\n\n".join(parts)


def counted(summary: Summary) -> str:
    """How much was looked at, such as "12 objects of 3 classes in 4 cases; 1 case failed."."""
    done = len(summary.cases) - len(summary.failed)
    text = (
        f"{_number(len(summary.objects), 'object')} of {_number(len(summary.classes), 'class')} "
        f"in {_number(done, 'case')}"
    )
    failed = len(summary.failed)
    return f"{text}; {_number(failed, 'case')} failed." if failed else f"{text}."


def rows(cases: Sequence[CaseScores]) -> list[dict[str, str | int | float]]:
    """One row for each object and round, for a CSV file; failed cases have none."""
    return [
        {
            "case": case.case,
            "class": it.class_label,
            "name": it.name,
            "instance": it.label,
            "voxels": it.voxels,
            "ml": it.volume_ml,
            "contrast": it.contrast,
            "round": played.name,
            "dice": played.dice,
            "nsd": played.nsd,
            "hd95": played.hd95_mm,
            "seconds": played.seconds,
            "said": json.dumps(played.said),
        }
        for case in cases
        for it in case.objects
        for played in it.rounds
    ]


def _title(summary: Summary, text: str) -> str:
    return f"### {text} ({summary.protocol}, NSD at {summary.tolerance_mm:g} mm)"


def _challenge(summary: Summary, found: Challenge) -> str:
    usual = "the challenge's 5 clicks, areas 0 to 4"
    range_ = f"{found.clicks} clicks, areas 0 to {max(found.clicks - 1, 0)}"
    title = _title(summary, f"Mean of cases, {usual if found.clicks == 5 else range_}")
    failed = len(summary.failed)
    lines: list[tuple[str, ...]] = [("", "cases", "DSC_AUC", "NSD_AUC", "DSC_Final", "NSD_Final")]
    if failed:
        lines += [
            _area("failed cases count 0", found.with_failed),
            _area("failed cases left out", found.without_failed),
        ]
    else:
        lines.append(_area("all cases", found.with_failed))
    note = (
        f"Predictions took longer than the challenge's 90 s a class in "
        f"{_number(found.slow, 'case')}; nothing was taken off for that."
    )
    return _table(title, lines) + (f"\n\n{note}" if found.slow else "")


def _area(name: str, found: Areas) -> tuple[str, ...]:
    means = (found.dsc_auc, found.nsd_auc, found.dsc_final, found.nsd_final)
    return (name, str(found.cases), *(_score(it) for it in means))


def _rounds(summary: Summary) -> str:
    found = summary.rounds
    lines = [
        ("round", *(it.name for it in found)),
        ("Dice, mean of cases", *(_score(it.case_dice) for it in found)),
        ("Dice, mean of classes", *(_score(it.class_dice) for it in found)),
        ("Dice, lower quartile of objects", *(_score(it.dice.low) for it in found)),
        ("Dice, median of objects", *(_score(it.dice.median) for it in found)),
        ("Dice, upper quartile of objects", *(_score(it.dice.high) for it in found)),
        ("NSD, mean of cases", *(_score(it.case_nsd) for it in found)),
        ("NSD, mean of classes", *(_score(it.class_nsd) for it in found)),
        ("NSD, median of objects", *(_score(it.nsd.median) for it in found)),
        ("HD95 in mm, median of finite ones", *(_plain(it.hd95_mm) for it in found)),
        ("HD95 infinite, objects", *(str(it.hd95_infinite) for it in found)),
        ("objects", *(str(it.dice.count) for it in found)),
    ]
    return _table(_title(summary, "By round"), lines)


def _classes(summary: Summary) -> str:
    last = len(summary.rounds) - 1
    shown = sorted({round(i * last / (_SHOWN - 1)) for i in range(_SHOWN)})
    names = [summary.rounds[i].name for i in shown]
    titles = (*(f"Dice {name}" for name in names), f"NSD {names[-1]}")
    lines = [("class", "label", "cases", "objects", *titles)]
    for it in summary.classes:
        head = (_line(it.name) or _NONE, str(it.label), str(it.cases), str(it.objects))
        lines.append((*head, *(_score(it.dice[i]) for i in shown), _score(it.nsd[last])))
    over_classes = [summary.rounds[i].class_dice for i in shown]
    over_cases = [summary.rounds[i].case_dice for i in shown]
    done = str(len(summary.cases) - len(summary.failed))
    count = str(len(summary.objects))
    end = summary.rounds[last]
    totals = (
        ("mean of classes", over_classes, end.class_nsd),
        ("mean of cases", over_cases, end.case_nsd),
    )
    for name, dices, nsd in totals:
        lines.append((name, "", done, count, *(_score(it) for it in dices), _score(nsd)))
    text = _table(_title(summary, "By class, mean of its cases"), lines)
    if summary.protocol == "cvpr25":
        text += (
            "\n\nNSD of a case counts 0 where its mean Dice is 0.2 or less; "
            "NSD of a class is as measured."
        )
    return text


def _reached(summary: Summary) -> str:
    lines = [("Dice", "reached by", "median clicks", "mean clicks")]
    for it in summary.reached:
        lines.append((f"{it.dice:.2f}", f"{it.share:.0%}", _plain(it.median), f"{it.mean:.2f}"))
    never = summary.reached[0].never
    boxed = summary.rounds[0].name == "box"
    note = f"Objects that do not reach it count as {never} clicks"
    note += "; a box is no click." if boxed else "."
    return _table(_title(summary, "Clicks to a Dice, over objects"), lines) + f"\n\n{note}"


def _cost(summary: Summary) -> str:
    lines = [("seconds a prediction", "median", "95th percentile", "predictions")]
    for name, it in (
        ("first of an object", summary.first_seconds),
        ("later ones", summary.later_seconds),
    ):
        lines.append((name, _plain(it.median), _plain(it.late), str(it.count)))
    memory = f"{summary.peak_bytes / 2**30:.2f} GiB"
    whole = f"Peak memory {memory}; {summary.seconds:,.0f} s for all, with reading and scoring."
    return _table(_title(summary, "Time and memory"), lines) + f"\n\n{whole}"


def _table(title: str, lines: Sequence[Sequence[str]]) -> str:
    """Markdown with columns of one width, the first to the left, numbers to the right."""
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]

    def row(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    rule = row(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join([title, "", row(lines[0]), rule, *map(row, lines[1:])])


def _score(value: float) -> str:
    return _NONE if isnan(value) else f"{value:.3f}"


def _plain(value: float) -> str:
    return _NONE if isnan(value) else f"{value:.3g}"


def _number(count: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{count:,} {what if count == 1 else plural}"


def _line(text: str) -> str:
    """A text that neither ends a line nor a cell."""
    return " ".join(text.split()).replace("|", "\\|")
