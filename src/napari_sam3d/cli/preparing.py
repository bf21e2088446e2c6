"""What `napari-sam3d train` says before it starts: what is wrong, and how long it takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam3d.engine.fetch import Progress
    from napari_sam3d.engine.training.preflight import Check
    from napari_sam3d.labelled import Labelled, Pair
    from napari_sam3d.settings import TrainSettings


def prepared(
    settings: TrainSettings,
    pairs: Sequence[Pair],
    name: str | None,
    *,
    fix: bool,
    table: bool,
    quiet: bool,
) -> tuple[Labelled, ...]:
    """The pairs as training takes them, once all that is wrong was told.

    Parameters
    ----------
    settings, pairs
        As for `preflight`.
    name
        Of the run to be; None for one that goes on.
    fix
        Mend what can be.
    table
        Print all checks, also those that are good.
    quiet
        Say nothing of warnings.

    Raises
    ------
    ValueError
        When a problem is left: with its sentence, or with how many there are.
    """
    from napari_sam3d.engine.training.preflight import labelled, mend_all, preflight

    if fix:
        pairs, mended = mend_all(pairs)
        for check in mended:
            if not quiet:
                print(f"{_line(check)} Done: {check.fix.lower()}.", file=sys.stderr)
    checks = list(preflight(settings, pairs, name))
    if table:
        for check in checks:
            print(f"{check.state:8} {_line(check)}")
    problems = [it for it in checks if it.state == "problem"]
    if len(problems) == 1:
        raise ValueError(f"{_line(problems[0])}{_hint(problems)}")
    if problems:
        if not table:
            for check in problems:
                print(_line(check), file=sys.stderr)
        raise ValueError(f"{len(problems)} problems are in the way.{_hint(problems)}")
    for check in checks:
        # that there are few volumes is told by the training itself
        if check.state == "warning" and check.kind != "count" and not quiet and not table:
            print(_line(check), file=sys.stderr)
    return labelled(pairs)


def rehearsed(settings: TrainSettings, cases: Sequence[Labelled], progress: Progress) -> None:
    """Print how long a training takes and how much memory; ValueError when there is too little."""
    from napari_sam3d.engine import training
    from napari_sam3d.engine.training.rehearsal import rehearse
    from napari_sam3d.io.read import finish

    told = finish(rehearse(settings, cases, lambda it: training.load_base(it, progress)))
    if not told.fits:
        raise ValueError(told.sentence)
    print(f"{'good':8} {told.sentence}")


def _line(check: Check) -> str:
    named = not check.pair or check.sentence.startswith(check.pair)
    return check.sentence if named else f"{check.pair}: {check.sentence}"


def _hint(problems: Sequence[Check]) -> str:
    return " Add --fix to mend it." if any(it.automatic for it in problems) else ""
