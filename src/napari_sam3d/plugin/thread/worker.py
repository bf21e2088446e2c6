"""A dock's end of the thread that loads models and predicts: requests go in, signals come out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal

from napari_sam3d.plugin.thread.jobs import Job, Seat
from napari_sam3d.plugin.thread.loading import load_predictor
from napari_sam3d.plugin.thread.shared_thread import SharedThread

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction
    from napari_sam3d.plugin.thread.loading import Load
    from napari_sam3d.prompts import Found, Prompts
    from napari_sam3d.settings import InferenceSettings
    from napari_sam3d.volume import Volume


class Worker(QObject):
    """Asks a thread for predictions and answers on the thread that made it.

    Only the newest request is answered: an older one is cancelled where it stands and its answer,
    should it still come, is dropped by its number. The thread and its models are shared by all
    workers with the same `load`; what one of them asks or cancels is nothing to the others.

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
    proposed = Signal(int, object, float)
    """Number, what came of each class of the adapter (tuple of `Proposal`), seconds."""
    failed = Signal(int, str)
    """Number, one sentence for the user."""
    _reported = Signal(object, int, tuple)

    def __init__(self, load: Load | None = None) -> None:
        super().__init__()
        self._numbers = itertools.count(1)
        # queued by name: the thread must never run a slot of the user interface itself
        self._reported.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._seat = Seat(self._tell)
        self._thread = SharedThread.join(load or load_predictor, self._seat)

    def submit(
        self,
        settings: InferenceSettings,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | Found | None = None,
        recut: bool = False,
    ) -> int:
        """Ask for a mask; returns the number that the answer will carry.

        With `recut` the settings are applied to `previous` anew, without the model.
        """
        return self._put(Job(next(self._numbers), settings, volume, prompts, previous, recut))

    def find_all(self, settings: InferenceSettings, volume: Volume) -> int:
        """Ask for all classes that a model, or its adapter, knows; returns the answer's number."""
        return self._put(Job(next(self._numbers), settings, volume))

    def warm(self, settings: InferenceSettings) -> int:
        """Load the model now, so that the first click need not wait for it."""
        return self._put(Job(next(self._numbers), settings))

    def must_wait(self) -> bool:
        """Whether the thread works for another dock at the moment."""
        return self._thread.is_busy_elsewhere(self._seat)

    def forget(self) -> None:
        """Load the model anew for the next request: its file was replaced."""
        self._thread.forget()

    def cancel(self) -> None:
        """Give up the request under way; nothing more is heard of it."""
        self._thread.cancel(self._seat, next(self._numbers))

    def stop(self) -> None:
        """Give up everything, and end the thread when no other worker needs it; does not wait."""
        self._thread.leave(self._seat)

    def wait(self, timeout_s: float) -> bool:
        """Wait after `stop` for the thread to leave our work, or to end; whether it did."""
        return self._thread.wait(self._seat, timeout_s)

    def _put(self, job: Job) -> int:
        self._thread.put(self._seat, job)
        return job.number

    def _deliver(self, signal: str, number: int, values: tuple) -> None:
        if not self._seat.left and number == self._seat.newest:
            getattr(self, signal).emit(number, *values)

    def _tell(self, signal: str, number: int, *values: object) -> None:
        try:
            self._reported.emit(signal, number, values)
        except RuntimeError:  # Qt has deleted this object: nobody is left to hear
            self.stop()
