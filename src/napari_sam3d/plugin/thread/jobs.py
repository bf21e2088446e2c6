"""What a dock asks of the thread with the models, and how a job is answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from napari_sam3d.catalog import model_spec
from napari_sam3d.plugin.session.availability import is_automatic
from napari_sam3d.plugin.session.found import split
from napari_sam3d.prompts import Found

if TYPE_CHECKING:
    from napari_sam3d.engine.classes import ClassPredictor
    from napari_sam3d.engine.predictor import Prediction, Predictor
    from napari_sam3d.prompts import Prompts
    from napari_sam3d.settings import InferenceSettings
    from napari_sam3d.volume import Volume

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """A mask, all classes (without prompts), or just a model in memory (without a volume).

    The classes are those that the model knows by itself, or else those of its adapter.

    With `recut` the mask is made anew of `previous`, for which no model is needed.
    """

    number: int
    settings: InferenceSettings
    volume: Volume | None = None
    prompts: Prompts | None = None
    previous: Prediction | Found | None = None
    recut: bool = False
    asked: float = field(default_factory=time.perf_counter)


class Seat:
    """A dock's place at the thread: its newest job, and how to reach it.

    Parameters
    ----------
    tell
        Name of a signal, number of the job, values; called in any thread.
    """

    def __init__(self, tell: Callable[..., None]) -> None:
        self.tell = tell
        self.slot: Job | None = None
        self.newest = 0
        self.settings: InferenceSettings | None = None
        self.waiting = False
        self.left = False

    def put(self, job: Job) -> None:
        """Ask for this, and for nothing that was asked before."""
        self.slot, self.newest, self.settings, self.waiting = job, job.number, job.settings, True

    def clear(self, newest: int) -> None:
        """Ask for nothing; numbers before this one are not heard any more."""
        self.slot, self.newest, self.waiting = None, newest, False

    def obsolete(self, job: Job) -> bool:
        return self.left or job.number != self.newest

    def uses(self, settings: InferenceSettings) -> bool:
        """Whether the last job was for this model."""
        return self.settings is not None and needs(self.settings) == needs(settings)

    def wants(self, settings: InferenceSettings) -> bool:
        """Whether the newest job is for this model: a second click ends no download."""
        return self.waiting and not self.left and self.uses(settings)


def needs(settings: InferenceSettings) -> tuple[str, str, str, str]:
    """What of the settings a predictor is loaded for; the rest may differ from click to click."""
    return settings.model, settings.adapter, settings.device, settings.precision


def answer(predictor: Predictor, job: Job, seat: Seat) -> None:
    """Do the job, and tell the dock."""
    if job.volume is None:
        seat.tell("ready", job.number, time.perf_counter() - job.asked)
        return
    predictor.settings = job.settings
    seat.tell("computing", job.number)

    def cancelled() -> bool:
        return seat.obsolete(job)

    if job.prompts is not None:
        prediction = predictor.predict(job.volume, job.prompts, _previous(job), cancelled)
        seat.tell("predicted", job.number, prediction)
        return
    start, spec = time.perf_counter(), model_spec(job.settings.model)

    def progress(share: float) -> None:
        seat.tell("progressed", job.number, share)

    if is_automatic(spec):
        labels = cast("ClassPredictor", predictor).segment_all(job.volume, cancelled, progress)
        seat.tell("found", job.number, split(labels, spec), time.perf_counter() - start)
        return
    from napari_sam3d.engine.adapter_facts import read_facts
    from napari_sam3d.engine.places import adapter_path
    from napari_sam3d.engine.proposing import propose

    facts = read_facts(adapter_path(job.settings.adapter))
    proposals = propose(predictor, job.volume, facts, cancelled, progress)
    seat.tell("proposed", job.number, tuple(proposals), time.perf_counter() - start)


def _previous(job: Job) -> Prediction | None:
    """What is to be changed, as the predictors know it."""
    it = job.previous
    if not isinstance(it, Found):
        return it
    assert job.volume is not None
    from napari_sam3d.engine.starting import prediction_of_mask

    spec = model_spec(job.settings.model)
    return prediction_of_mask(it.mask, it.window, job.volume.grid, spec)


def answer_without_model(job: Job, seat: Seat) -> None:
    """Make a mask anew of an earlier answer, and tell the dock."""
    from napari_sam3d.engine.prediction import recut

    assert job.volume is not None and job.prompts is not None
    earlier = cast("Prediction", job.previous)
    prediction = recut(earlier, job.volume.grid, job.prompts, job.settings)
    seat.tell("predicted", job.number, prediction)


def sentence(error: Exception, doing: str = "prediction") -> str:
    """What the user is told; what is not meant for users goes to the log in full.

    Parameters
    ----------
    error
        What ended it.
    doing
        What was being done, as a noun.
    """
    meant = isinstance(error, (ValueError, FileNotFoundError, NotImplementedError))
    if str(error) and (meant or (isinstance(error, OSError) and error.errno is None)):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        _LOG.error("Out of memory in the %s", doing, exc_info=error)
        return f"There is not enough memory for this {doing}; try another device or model."
    _LOG.error("The %s failed", doing, exc_info=error)
    first_line = (str(error).splitlines() or [""])[0]
    return f"The {doing} failed ({type(error).__name__}: {first_line}); the log has the details."
