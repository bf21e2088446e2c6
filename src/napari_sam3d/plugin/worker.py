"""The one long-lived thread that loads models and predicts; the newest request wins."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QObject, Qt, Signal

from napari_sam3d.catalog import model_spec
from napari_sam3d.plugin.found import split
from napari_sam3d.plugin.loading import Apart, load_predictor, needs_download, reports
from napari_sam3d.prompts import Found

if TYPE_CHECKING:
    from napari_sam3d.engine.classes import ClassPredictor
    from napari_sam3d.engine.predictor import Prediction, Predictor
    from napari_sam3d.plugin.loading import Load
    from napari_sam3d.prompts import Prompts
    from napari_sam3d.settings import InferenceSettings
    from napari_sam3d.volume import Volume

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    number: int
    settings: InferenceSettings
    volume: Volume | None = None
    prompts: Prompts | None = None
    previous: Prediction | Found | None = None


class Worker(QObject):
    """Predicts in a thread of its own and answers on the thread that made it.

    Only the newest request is answered: an older one is cancelled where it stands and its answer,
    should it still come, is dropped by its number. One thread does all the work because cuDNN
    keeps its plans per thread; a thread per prediction would plan anew each time.

    Parameters
    ----------
    load
        Returns the predictor for some settings, and tells how far a download is; called in a
        thread.
    """

    loading = Signal(int, str)
    """Number, model: a model is being loaded for this request."""
    ready = Signal(int, float)
    """Number, seconds: what `warm` asked for is loaded."""
    downloading = Signal(int, object, object)
    """Number, bytes done, bytes in all: weights are on their way; 0 in all when unknown."""
    computing = Signal(int)
    """Number: the model is loaded and at work."""
    progressed = Signal(int, float)
    """Number, share of the work on all classes that is done."""
    predicted = Signal(int, object)
    """Number, Prediction."""
    found = Signal(int, object, float)
    """Number, all that was found (tuple of `Found`), seconds."""
    failed = Signal(int, str)
    """Number, one sentence for the user."""
    _reported = Signal(object, int, tuple)

    def __init__(self, load: Load | None = None) -> None:
        super().__init__()
        self._load = load or load_predictor
        self._numbers = itertools.count(1)
        self._newest = 0
        self._wanted: InferenceSettings | None = None
        self._slot: _Job | None = None
        self._stopped = False
        self._stale = False
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
        previous: Prediction | Found | None = None,
    ) -> int:
        """Ask for a mask; returns the number that the answer will carry."""
        return self._put(_Job(next(self._numbers), settings, volume, prompts, previous))

    def find_all(self, settings: InferenceSettings, volume: Volume) -> int:
        """Ask for all classes that a model knows; returns the number of the answer."""
        return self._put(_Job(next(self._numbers), settings, volume))

    def warm(self, settings: InferenceSettings) -> int:
        """Load the model now, so that the first click need not wait for it."""
        return self._put(_Job(next(self._numbers), settings))

    def forget(self) -> None:
        """Load the model anew for the next request: its file was replaced."""
        self._stale = True

    def cancel(self) -> None:
        """Give up the request under way; nothing more is heard of it."""
        with self._wake:
            self._newest = next(self._numbers)
            self._wanted = None
            self._slot = None
            self._wake.notify_all()

    def stop(self) -> None:
        """End the thread as soon as it notices; does not wait."""
        with self._wake:
            self._stopped = True
            self._slot = None
            self._wake.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the thread to end after `stop`; whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, job: _Job) -> int:
        with self._wake:
            self._newest = job.number
            self._wanted = job.settings
            self._slot = job
            self._wake.notify_all()
        return job.number

    def _obsolete(self, job: _Job) -> bool:
        return self._stopped or job.number != self._newest

    def _wants(self, settings: InferenceSettings) -> bool:
        """Whether the newest request is for this model: a second click ends no download."""
        wanted = self._wanted
        return not self._stopped and wanted is not None and _same_model(wanted, settings)

    def _deliver(self, signal: str, number: int, values: tuple) -> None:
        if not self._stopped and number == self._newest:
            getattr(self, signal).emit(number, *values)

    def _tell(self, signal: str, number: int, *values: object) -> None:
        try:
            self._reported.emit(signal, number, values)
        except RuntimeError:  # Qt has deleted this object: nobody is left to hear
            self._stopped = True

    def _run(self) -> None:
        loaded: tuple[InferenceSettings, Predictor] | None = None
        while (job := self._next()) is not None:
            try:
                start = time.perf_counter()
                if self._stale or loaded is None or not _same_model(loaded[0], job.settings):
                    self._stale = False
                    loaded = None  # frees the old model before the next one is loaded
                    loaded = job.settings, self._predictor(job.settings)
                if job.volume is None:
                    self._tell("ready", job.number, time.perf_counter() - start)
                elif not self._obsolete(job):
                    self._answer(loaded[1], job)
            except Exception as error:
                # a cancelled request ends in `Cancelled`, or in whatever broke on the way out
                if not self._obsolete(job):
                    self._tell("failed", job.number, _sentence(error))
            del job  # else the last volume stays in memory while the thread waits

    def _next(self) -> _Job | None:
        """The next job, as soon as there is one; None at the end."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopped or self._slot is not None)
            job, self._slot = self._slot, None
            return None if self._stopped else job

    def _predictor(self, settings: InferenceSettings) -> Predictor:
        """The model, loaded here, or in another thread when it has to be downloaded."""
        self._tell("loading", self._newest, settings.model)
        progress = reports(
            lambda *values: self._tell("downloading", self._newest, *values),
            lambda: self._wants(settings),
        )
        if not needs_download(settings):
            return self._load(settings, progress)
        apart = Apart(lambda: self._load(settings, progress), self._on_apart)
        with self._wake:
            self._wake.wait_for(lambda: apart.over or not self._wants(settings))
        if not apart.over:
            from napari_sam3d.engine.prediction import Cancelled

            raise Cancelled
        return apart.result()

    def _on_apart(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _answer(self, predictor: Predictor, job: _Job) -> None:
        assert job.volume is not None
        predictor.settings = job.settings  # the threshold may differ from the one it loaded with
        self._tell("computing", job.number)
        if job.prompts is not None:
            self._tell("predicted", job.number, self._predict(predictor, job))
            return
        start = time.perf_counter()
        found = self._find_all(predictor, job)
        self._tell("found", job.number, found, time.perf_counter() - start)

    def _predict(self, predictor: Predictor, job: _Job) -> Prediction:
        assert job.volume is not None and job.prompts is not None
        previous = job.previous
        if isinstance(previous, Found):
            from napari_sam3d.engine.starting import prediction_of_mask

            spec, it = model_spec(job.settings.model), previous
            previous = prediction_of_mask(it.mask, it.window, job.volume.grid, spec)
        return predictor.predict(job.volume, job.prompts, previous, lambda: self._obsolete(job))

    def _find_all(self, predictor: Predictor, job: _Job) -> tuple[Found, ...]:
        finder = cast("ClassPredictor", predictor)  # by the catalog
        assert job.volume is not None
        labels = finder.segment_all(
            job.volume,
            lambda: self._obsolete(job),
            lambda share: self._tell("progressed", job.number, share),
        )
        return split(labels, model_spec(job.settings.model))


def _same_model(one: InferenceSettings, other: InferenceSettings) -> bool:
    """Whether two settings differ in nothing for which a model has to be loaded anew."""
    return replace(one, threshold=other.threshold, slices=other.slices) == other


def _sentence(error: Exception) -> str:
    """What the user is told; what is not meant for users goes to the log in full."""
    meant = isinstance(error, (ValueError, FileNotFoundError, NotImplementedError))
    if str(error) and (meant or (isinstance(error, OSError) and error.errno is None)):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        _LOG.exception("Out of memory while predicting")
        return "There is not enough memory for this prediction; try another device or model."
    _LOG.exception("The prediction failed")
    first_line = (str(error).splitlines() or [""])[0]
    return f"The prediction failed ({type(error).__name__}: {first_line}); the log has the details."
