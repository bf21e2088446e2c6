"""Asks the worker what the session wants to know, and hands the answers back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam3d.plugin.objects import Request
from napari_sam3d.plugin.session import Session
from napari_sam3d.plugin.worker import Worker
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction
    from napari_sam3d.plugin.worker import Load

_SETTLE_MS = 50
"""Edits that come together are asked for together: napari emits two events for each."""
_INVITATION = "Click on the object in the 2D view."


class Runner(QObject):
    """Keeps one request under way while there is something to ask.

    Parameters
    ----------
    session
        Says what is pending and takes the answers.
    settings
        With which model, and how.
    load
        Loads a predictor, in the worker's thread; the engine's `load_predictor` by default.
    """

    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """A sentence that must not be missed: something failed."""
    busy_changed = Signal(bool)

    def __init__(
        self,
        session: Session,
        settings: InferenceSettings,
        load: Load | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.auto = True
        self.worker = Worker(load)
        self._session = session
        self._settings = settings
        self._request: Request | None = None
        self._since = 0.0
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(self._ask)
        self._tick = QTimer(self, interval=500)
        self._tick.timeout.connect(self._say_elapsed)
        session.prompts_changed.connect(self._on_prompts_changed)
        self.worker.loading.connect(self._on_loading)
        self.worker.ready.connect(self._on_ready)
        self.worker.predicted.connect(self._on_predicted)
        self.worker.failed.connect(self._on_failed)

    def set_settings(self, settings: InferenceSettings) -> None:
        """Ask for the current object again, with these."""
        self._settings = settings
        self._drop()
        self._session.forget_answers()

    def warm(self) -> None:
        """Load the model while the user looks for the place to click."""
        if self._request is None:
            self.worker.warm(self._settings)

    def run(self) -> None:
        """Ask for the current object, although it may have its answer; ValueError if it cannot."""
        self._session.require_point()
        if self._request is None:
            self._session.forget_answers()
        self._ask(forced=True)

    def cancel(self) -> None:
        """Give up the request under way; it is not asked again by itself."""
        if self._request is not None:
            self._session.settle(self._request)
            self._drop()
            self.said.emit("Cancelled; the points are kept. Segment computes the mask after all.")

    def stop(self) -> None:
        """End the thread and the timers."""
        self._session.prompts_changed.disconnect(self._on_prompts_changed)
        self._settle.stop()
        self._tick.stop()
        self.worker.stop()

    def _on_prompts_changed(self) -> None:
        self._settle.start()

    def _ask(self, *, forced: bool = False) -> None:
        request = self._session.pending()
        if request is None:
            self._drop()
        elif not (forced or self.auto):
            self.said.emit(f"{_points(request)} placed; press Segment to compute the mask.")
        elif self._request is None or not request.same(self._request):
            self._request = request
            self._since = time.perf_counter()
            self.worker.submit(self._settings, request.volume, request.prompts, request.previous)
            self.said.emit("Segmenting ...")
            self.busy_changed.emit(True)
            self._tick.start()

    def _drop(self) -> None:
        if self._request is not None:
            self.worker.cancel()
        self._rest()

    def _rest(self) -> Request | None:
        request, self._request = self._request, None
        self._tick.stop()
        self.busy_changed.emit(False)
        return request

    def _say_elapsed(self) -> None:
        seconds = time.perf_counter() - self._since
        self.said.emit(f"Segmenting ... {seconds:.0f} s (Esc cancels)")

    def _on_loading(self, number: int, model: str) -> None:
        self.said.emit(f"Loading the model {model} ...")

    def _on_ready(self, number: int, seconds: float) -> None:
        self.said.emit(f"Model loaded in {seconds:.1f} s. {_INVITATION}")

    def _on_predicted(self, number: int, prediction: Prediction) -> None:
        request = self._rest()
        if request is not None and self._session.accept(request, prediction):
            what = f"in {prediction.seconds:.2f} s ({_points(request)})"
            if prediction.mask.any():
                self.said.emit(f"Mask {what}, expected IoU {prediction.score:.2f}")
            else:
                self.said.emit(f"The model found nothing {what}; add another point.")
        self._ask()

    def _on_failed(self, number: int, sentence: str) -> None:
        request = self._rest()
        if request is not None:
            self._session.settle(request)
        self.refused.emit(sentence)


def _points(request: Request) -> str:
    n = len(request.prompts.points)
    return f"{n} point" if n == 1 else f"{n} points"
