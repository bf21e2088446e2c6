"""The one long-lived thread that loads models and predicts; the newest request wins."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction, Predictor
    from napari_sam3d.prompts import Prompts
    from napari_sam3d.settings import InferenceSettings
    from napari_sam3d.volume import Volume

    Load = Callable[[InferenceSettings], Predictor]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    number: int
    settings: InferenceSettings
    volume: Volume | None = None
    prompts: Prompts | None = None
    previous: Prediction | None = None


class Worker(QObject):
    """Predicts in a thread of its own and answers on the thread that made it.

    Only the newest request is answered: an older one is cancelled where it stands and its answer,
    should it still come, is dropped by its number. One thread does all the work because cuDNN
    keeps its plans per thread; a thread per prediction would plan anew each time.

    Parameters
    ----------
    load
        Returns the predictor for some settings; called in the thread.
    """

    loading = Signal(int, str)
    """Number, model: a model is being loaded for this request."""
    ready = Signal(int, float)
    """Number, seconds: what `warm` asked for is loaded."""
    predicted = Signal(int, object)
    """Number, Prediction."""
    failed = Signal(int, str)
    """Number, one sentence for the user."""
    _reported = Signal(object, int, tuple)

    def __init__(self, load: Load | None = None) -> None:
        super().__init__()
        self._load = load or _load_predictor
        self._numbers = itertools.count(1)
        self._newest = 0
        self._slot: _Job | None = None
        self._stopped = False
        self._wake = threading.Condition()
        # queued by name: the thread must never run a slot of the user interface itself
        self._reported.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._thread = threading.Thread(target=self._run, name="napari-sam3d", daemon=True)
        self._thread.start()

    def submit(
        self,
        settings: InferenceSettings,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None = None,
    ) -> int:
        """Ask for a mask; returns the number that the answer will carry."""
        return self._put(_Job(next(self._numbers), settings, volume, prompts, previous))

    def warm(self, settings: InferenceSettings) -> int:
        """Load the model now, so that the first click need not wait for it."""
        return self._put(_Job(next(self._numbers), settings))

    def cancel(self) -> None:
        """Give up the request under way; nothing more is heard of it."""
        with self._wake:
            self._newest = next(self._numbers)
            self._slot = None

    def stop(self) -> None:
        """End the thread as soon as it notices; does not wait."""
        with self._wake:
            self._stopped = True
            self._slot = None
            self._wake.notify()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the thread to end after `stop`; whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, job: _Job) -> int:
        with self._wake:
            self._newest = job.number
            self._slot = job
            self._wake.notify()
        return job.number

    def _obsolete(self, job: _Job) -> bool:
        return self._stopped or job.number != self._newest

    def _deliver(self, signal: str, number: int, values: tuple) -> None:
        if not self._stopped and number == self._newest:
            getattr(self, signal).emit(number, *values)

    def _tell(self, signal: str, job: _Job, *values: object) -> None:
        try:
            self._reported.emit(signal, job.number, values)
        except RuntimeError:  # Qt has deleted this object: nobody is left to hear
            self._stopped = True

    def _run(self) -> None:
        loaded: tuple[InferenceSettings, Predictor] | None = None
        while (job := self._next()) is not None:
            try:
                start = time.perf_counter()
                if loaded is None or not _same_model(loaded[0], job.settings):
                    self._tell("loading", job, job.settings.model)
                    loaded = None  # frees the old model before the next one is loaded
                    loaded = job.settings, self._load(job.settings)
                if job.volume is None:
                    self._tell("ready", job, time.perf_counter() - start)
                elif not self._obsolete(job):
                    self._tell("predicted", job, self._predict(loaded[1], job))
            except Exception as error:
                # a cancelled request ends in `Cancelled`, or in whatever broke on the way out
                if not self._obsolete(job):
                    self._tell("failed", job, _sentence(error))
            del job  # else the last volume stays in memory while the thread waits

    def _next(self) -> _Job | None:
        """The next job, as soon as there is one; None at the end."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopped or self._slot is not None)
            job, self._slot = self._slot, None
            return None if self._stopped else job

    def _predict(self, predictor: Predictor, job: _Job) -> Prediction:
        assert job.volume is not None and job.prompts is not None
        predictor.settings = job.settings  # the threshold may differ from the one it loaded with
        return predictor.predict(job.volume, job.prompts, job.previous, lambda: self._obsolete(job))


def _same_model(one: InferenceSettings, other: InferenceSettings) -> bool:
    """Whether two settings differ in no more than the threshold, which costs no loading."""
    return replace(one, threshold=other.threshold) == other


def _load_predictor(settings: InferenceSettings) -> Predictor:
    from napari_sam3d.engine.predictor import load_predictor

    return load_predictor(settings)


def _sentence(error: Exception) -> str:
    """What the user is told; what is not meant for users goes to the log in full."""
    if isinstance(error, (ValueError, FileNotFoundError, NotImplementedError)) and str(error):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        _LOG.exception("Out of memory while predicting")
        return "There is not enough memory for this prediction; try another device or model."
    _LOG.exception("The prediction failed")
    first_line = (str(error).splitlines() or [""])[0]
    return f"The prediction failed ({type(error).__name__}: {first_line}); the log has the details."
