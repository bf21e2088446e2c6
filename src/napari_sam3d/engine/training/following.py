"""What the other processes of a training do: the steps that the first one tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from napari_sam3d.engine.training.cases import split
from napari_sam3d.engine.training.course import Base
from napari_sam3d.engine.training.distributed import Begin, Team
from napari_sam3d.engine.training.kinds import lessons_of, spec_for
from napari_sam3d.engine.training.loop import load_base
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.engine.training.tuning import Tuner
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import TrainSettings


def follow(
    read: Callable[[], Sequence[Labelled]], load: Callable[[TrainSettings], Base] = load_base
) -> None:
    """Follow the first process until it ends.

    Parameters
    ----------
    read
        Brings the cases; the first process has the same.
    load
        Brings the network.

    Raises
    ------
    ValueError, OSError
        With one sentence, when it failed here; the first process has then said so, too.
    """
    team = Team.of_processes()
    assert team is not None
    try:
        begin = team.hear()
        if begin is None:
            return
        tuner, problem = None, None
        try:
            tuner = _tuner(begin, team, read, load)
        except Exception as error:  # told where the others wait for it
            problem = error
        while (step := team.hear()) is not None:
            if tuner is None:
                team.agree(0.0, problem)
            else:
                tuner.advance(step)
    finally:
        team.leave()


def _tuner(
    begin: Begin,
    team: Team,
    read: Callable[[], Sequence[Labelled]],
    load: Callable[[TrainSettings], Base],
) -> Tuner:
    """The same as that of the first process."""
    settings = begin.settings
    cases = read()
    if tuple(case.name for case in cases) != begin.names:
        raise ValueError("The processes were given different volumes; give all the same.")
    parts = split(cases, settings.seed)
    base = load(replace(settings, device=team.device(settings.device)))
    spec = spec_for(base.spec, parts)
    lessons = lessons_of(base.model, spec, parts, settings)
    tuner = Tuner(base.model, lessons, settings, recipe_of(spec), team)
    if begin.state is not None:
        tuner.restore(begin.state, "the state of the run")
    return tuner
