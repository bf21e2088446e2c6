"""A training from its first event to its last."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.adapters import base_sum, load_tuned
from napari_sam3d.engine.fetch import Progress
from napari_sam3d.engine.memory import is_out_of_memory
from napari_sam3d.engine.training.course import Base, Broken, Course
from napari_sam3d.engine.training.distributed import Team
from napari_sam3d.engine.training.events import (
    Event,
)
from napari_sam3d.engine.training.memory import too_large
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.engine.training.run_folder import RunFolder
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import TrainSettings


def load_base(settings: TrainSettings, progress: Progress = lambda done, total: None) -> Base:
    """The model that the settings name, with the adapter to begin with.

    Parameters
    ----------
    settings
        Model, adapter and device.
    progress
        Told how far a download is, when there is one.

    Raises
    ------
    ValueError
        When it cannot be tuned, is not here, or the adapter does not fit.
    """
    recipe_of(model_spec(settings.model))
    model, spec = load_tuned(settings, progress)
    return Base(model, spec, base_sum(spec))


def train(
    settings: TrainSettings,
    cases: Sequence[Labelled],
    folder: RunFolder,
    *,
    resume: bool = False,
    load: Callable[[TrainSettings], Base] = load_base,
) -> Generator[Event, None, None]:
    """Tune a model on labelled volumes; nothing happens until the first event is asked for.

    Under torchrun this is for the first process, `following.follow` for the others.

    Closing the generator saves: the run can be resumed, and what was best, when it was better than
    the model before, is an adapter that can be chosen.

    Parameters
    ----------
    settings
        What the user wants.
    cases
        Some are held out to tell whether it helps.
    folder
        Where the files of the run go. Its name is that of the adapter.
    resume
        Go on with the run that is in the folder.
    load
        Brings the network.

    Yields
    ------
    Event
        `Started` first; `Finished` or `Failed` last, unless it is closed.

    Raises
    ------
    ValueError, OSError
        With one sentence before `Started`, when something is wrong with the input.
    """
    team = Team.of_processes()
    if team is None:
        yield from _events(Course(settings, cases, folder, resume, load), settings)
        return
    try:
        own = _on_device_of(team, load)
        yield from _events(Course(settings, cases, folder, resume, own, team), settings)
    finally:
        team.leave()


def _events(training: Course, settings: TrainSettings) -> Generator[Event, None, None]:
    """All events, whatever happens."""
    try:
        yield from training.run()
    except (GeneratorExit, KeyboardInterrupt):
        training.stop()
        raise
    except (Broken, OSError, ValueError, MemoryError, RuntimeError) as error:
        sentence = _sentence(error, settings)
        if sentence is None:
            training.give_up("an error of the program")
            raise
        yield training.fail(sentence)
    finally:
        training.free()


def _on_device_of(
    team: Team, load: Callable[[TrainSettings], Base]
) -> Callable[[TrainSettings], Base]:
    return lambda settings: load(replace(settings, device=team.device(settings.device)))


def _sentence(error: Exception, settings: TrainSettings) -> str | None:
    """What is said of an error; None for those that are the program's own."""
    if is_out_of_memory(error):
        return too_large(settings)
    if isinstance(error, RuntimeError):
        return None
    return " ".join(str(error).split()) or type(error).__name__
