"""A few real steps and a look, to know the time and the memory of a training before it starts."""

from __future__ import annotations

import gc
import math
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch

from napari_sam3d.engine.devices import choose_device
from napari_sam3d.engine.memory import Peak, is_out_of_memory
from napari_sam3d.engine.predictor import predictor_of
from napari_sam3d.engine.training.cases import split
from napari_sam3d.engine.training.course import Base
from napari_sam3d.engine.training.kinds import lessons_of
from napari_sam3d.engine.training.loop import load_base
from napari_sam3d.engine.training.memory import too_large
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.engine.training.tuning import Tuner
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import InferenceSettings, TrainSettings

_GB = 1e9


@dataclass(frozen=True)
class Rehearsal:
    """What a training will take.

    Parameters
    ----------
    step_seconds
        Of a step.
    look_seconds
        Of a look at all that is held out.
    peak_bytes
        The most memory it took: on the GPU, or of the process, beyond what was taken before.
    sentence
        The same for people; or what to try when memory was full.
    begin_seconds
        What the first steps take longer in all, until a frozen encoder has seen every patch.
    fits
        Whether there was enough memory. The seconds are 0 when not.
    """

    step_seconds: float
    look_seconds: float
    peak_bytes: int
    sentence: str
    begin_seconds: float = 0.0
    fits: bool = True

    def minutes(self, settings: TrainSettings) -> float:
        """Estimate of a whole training that does not end early.

        Parameters
        ----------
        settings
            Those that were rehearsed; steps and looks may be others.
        """
        looks = 1 + math.ceil(settings.total / settings.validate_every)
        seconds = settings.total * self.step_seconds + looks * self.look_seconds
        return (self.begin_seconds + seconds) / 60


def rehearse(
    settings: TrainSettings,
    cases: Sequence[Labelled],
    load: Callable[[TrainSettings], Base] = load_base,
) -> Generator[float, None, Rehearsal]:
    """Load the model, do three real steps and a look at an object, and forget all of it.

    Nothing is written. Closing the generator frees everything, too.

    Parameters
    ----------
    settings, cases, load
        As for `train`.

    Yields
    ------
    float
        How much of it is done, 0 to 1.

    Returns
    -------
    Rehearsal
        Also when memory is full.

    Raises
    ------
    ValueError, OSError
        With one sentence, when something is wrong with the input.
    """
    device = choose_device(settings.device)
    peak = Peak(device)
    try:
        with peak:
            steps, look, begin = yield from _try(settings, cases, load)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # which hold the network
        if not is_out_of_memory(error):
            raise
        said = too_large(settings, str(device))
        return Rehearsal(0.0, 0.0, peak.bytes, said, fits=False)
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    told = Rehearsal(steps, look, peak.bytes, "", begin)
    minutes = told.minutes(settings)
    return Rehearsal(steps, look, peak.bytes, _sentence(told, minutes, device), begin)


def _try(
    settings: TrainSettings, cases: Sequence[Labelled], load: Callable[[TrainSettings], Base]
) -> Generator[float, None, tuple[float, float, float]]:
    """Seconds of a step, of a look, and of what is done once."""
    parts = split(cases, settings.seed)
    yield 0.0
    base = load(settings)
    recipe = recipe_of(base.spec)
    lessons = lessons_of(base.model, base.spec, parts, settings)
    tuner = Tuner(base.model, lessons, settings, recipe)
    yield 0.25
    spent = []
    # of patches that are used again the second step is done twice: then they are known
    for number, step in enumerate((1, 2, 2 if lessons.fixed else 3), 1):
        started = time.perf_counter()
        loss, _ = tuner.advance(step)
        if not math.isfinite(loss):
            raise ValueError(
                "The loss is no number in the first steps; try a lower learning rate or fp32."
            )
        spent.append(time.perf_counter() - started)
        yield 0.25 + 0.15 * number
    predictor = predictor_of(
        base.model,
        base.spec,
        InferenceSettings(
            model=settings.model, device=settings.device, precision=settings.precision
        ),
    )
    started = time.perf_counter()
    with closing(lessons.look(predictor, 0)) as turns:
        first = next(turns)
    look = (time.perf_counter() - started) * first.total
    yield 1.0
    if not lessons.fixed:  # the first step is slower than all others
        return (spent[1] + spent[2]) / 2, look, 0.0
    once = max(0.0, spent[1] - spent[2]) / settings.accumulate * lessons.fixed
    return spent[2], look, once


def _sentence(told: Rehearsal, minutes: float, device: torch.device) -> str:
    long = f"{60 * minutes:.0f} seconds" if minutes < 1.5 else f"{minutes:.0f} minutes"
    if minutes >= 90:
        long = f"{minutes / 60:.1f} hours"
    return (
        f"About {long}: {told.step_seconds:.2g} s a step, {told.look_seconds:.2g} s a look; "
        f"{told.peak_bytes / _GB:.1f} GB of memory on {device}."
    )
