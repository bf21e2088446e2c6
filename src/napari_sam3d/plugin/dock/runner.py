"""Asks the worker what the session wants to know, and hands the answers back."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_sam3d.catalog import model_spec
from napari_sam3d.plugin.dock.activity import Activity
from napari_sam3d.plugin.dock.found_words import what_was_found, what_was_proposed
from napari_sam3d.plugin.session.availability import (
    can_answer,
    is_automatic,
    is_ready,
    no_clicks,
    obstacle,
)
from napari_sam3d.plugin.session.found import add_found, request_all
from napari_sam3d.plugin.session.objects import Found, Request
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.plugin.thread.worker import Worker
from napari_sam3d.settings import AFTER_THE_NETWORK, InferenceSettings

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction
    from napari_sam3d.engine.proposing import Proposal
    from napari_sam3d.plugin.thread.loading import Load

_SETTLE_MS = 50
"""Edits that come together are asked for together: napari emits two events for each."""
_WARM_MS = 500
"""Until a model is loaded ahead: the first frame of new layers and the libraries of torch would
wait for each other."""
_CLICK = "Click on the object, in a slice or in the 3D view."


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
    proposed = Signal()
    """The classes of an adapter were looked for, and what was found is there."""
    progressed = Signal(object)
    """The share that is done, 0 to 1; None when nobody knows."""

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
        self._doing = ""
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(self._ask)
        self._ahead = QTimer(self, singleShot=True, interval=_WARM_MS)
        self._ahead.timeout.connect(self._load_ahead)
        self._tick = QTimer(self, interval=500)
        self._tick.timeout.connect(self._say_elapsed)
        self._activity = Activity(self)
        self._activity.cancelled.connect(self.cancel)
        session.prompts_changed.connect(self._on_prompts_changed)
        self.worker.loading.connect(self._on_loading)
        self.worker.ready.connect(self._on_ready)
        self.worker.predicted.connect(self._on_predicted)
        self.worker.failed.connect(self._on_failed)
        self.worker.downloading.connect(self._on_downloading)
        self.worker.computing.connect(self._on_computing)
        self.worker.progressed.connect(self._on_progressed)
        self.worker.found.connect(self._on_found)
        self.worker.proposed.connect(self._on_proposed)

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way, or about to be asked for."""
        return self._request is not None or (self.auto and self._session.pending() is not None)

    def set_settings(self, settings: InferenceSettings) -> None:
        """Ask for the current object again, with these.

        A model without clicks leaves what is there as it is, and one whose weights are not here
        waits for the next click: choosing it downloads nothing. What is only done to the answer of
        the model, such as another threshold where that grades the voxels, does not need it.
        """
        before, self._settings = self._settings, settings
        after = {name: getattr(settings, name) for name in AFTER_THE_NETWORK}
        if (self._request is None or self._request.recut) and replace(before, **after) == settings:
            request = self._session.to_recut(before.threshold != settings.threshold)
            if request is not None:
                self._submit(request)
                return
        self._drop()
        spec = model_spec(settings.model)
        if can_answer(spec, self._session.object.prompts):
            self._session.forget_answers(ask=is_ready(spec))

    def warm(self) -> None:
        """Load the model while the user looks for the place to click, when its weights are here."""
        self._ahead.start()

    def _load_ahead(self) -> None:
        spec = model_spec(self._settings.model)
        if self._request is None and is_ready(spec):
            self.worker.warm(self._settings)

    def run(self) -> None:
        """Ask for the current object, although it may have its answer; ValueError if it cannot.

        A model that needs no clicks is asked for all that it knows, and one with an adapter for
        the classes of that when nothing was said yet.
        """
        self._session.require_image()
        spec = model_spec(self._settings.model)
        sentence = obstacle(spec)
        if sentence:
            raise ValueError(sentence)
        if is_automatic(spec) and not can_answer(spec, self._session.object.prompts):
            self._find_all()
            return
        if self._settings.adapter and not self._session.object.prompts.begun:
            self.propose()
            return
        self._session.require_point()
        if self._request is None:
            self._session.forget_answers()
        self._ask(forced=True)

    def propose(self) -> None:
        """Ask for the classes of the adapter where they are to be expected, without a click.

        ValueError with a sentence when there is no image or no adapter, or all is there already.
        """
        self._session.require_image()
        spec = model_spec(self._settings.model)
        if sentence := obstacle(spec):
            raise ValueError(sentence)
        if not self._settings.adapter:
            raise ValueError("Choose an adapter first: it knows what to look for.")
        self._find_all()

    def _find_all(self) -> None:
        request = self._request
        if request is not None and request.volume is not self._session.volume:
            self._drop()  # of an image that was left a moment ago
        if self._request is None:
            self._submit(request_all(self._session))

    def cancel(self) -> None:
        """Give up the request under way; it is not asked again by itself."""
        if self._request is not None:
            whole = self._request.object_id is None
            self._session.settle(self._request)
            self._drop()
            self.said.emit(
                "Cancelled; nothing was changed."
                if whole
                else "Cancelled; the points are kept. Segment computes the mask after all."
            )
        elif self._activity.is_on:
            self.worker.cancel()
            self._activity.end()
            self.said.emit("Cancelled; the model is loaded at the next click.")

    def stop(self) -> None:
        """End the thread and the timers."""
        self._session.prompts_changed.disconnect(self._on_prompts_changed)
        self._settle.stop()
        self._ahead.stop()
        self._tick.stop()
        self._activity.end()
        self.worker.stop()

    def _on_prompts_changed(self) -> None:
        self._settle.start()

    def _ask(self, *, forced: bool = False) -> None:
        spec = model_spec(self._settings.model)
        request = self._session.pending()
        whole = self._request is not None and self._request.object_id is None
        if whole or (request is not None and not can_answer(spec, request.prompts)):
            if self._request is not None and self._request.volume is not self._session.volume:
                self._drop()
        elif request is None:
            if self._request is not None and not self._request.recut:
                self._drop()
        elif sentence := obstacle(spec):
            self._session.settle(request)
            self._drop()
            self.refused.emit(sentence)
        elif not (forced or self.auto):
            what = request.prompts.words()
            what = what[:1].upper() + what[1:]
            self.said.emit(f"{what} placed; press Segment to compute the mask.")
        elif self._request is None or not request.same(self._request):
            self._submit(request)

    def _submit(self, request: Request) -> None:
        self._ahead.stop()
        self._request = request
        self._since = time.perf_counter()
        if request.object_id is None:
            self.worker.find_all(self._settings, request.volume)
        else:
            self.worker.submit(
                self._settings, request.volume, request.prompts, request.previous, request.recut
            )
        self._do("Waiting for the other viewer" if self.worker.must_wait() else "Segmenting")
        self.busy_changed.emit(True)
        self._tick.start()

    def _do(self, doing: str) -> None:
        """Say what is being done, from now on with the seconds."""
        self._doing = doing
        self._activity.show(doing)
        self.progressed.emit(None)
        self.said.emit(f"{doing} ...")

    def _drop(self) -> None:
        if self._request is not None:
            self.worker.cancel()
        self._rest()

    def _rest(self) -> Request | None:
        request, self._request = self._request, None
        if request is not None:  # else a model may be on its way
            self._activity.end()
        self._tick.stop()
        self.busy_changed.emit(False)
        return request

    def _say_elapsed(self) -> None:
        if self._doing:
            seconds = time.perf_counter() - self._since
            self.said.emit(f"{self._doing} ... {seconds:.0f} s (Esc cancels)")

    def _on_loading(self, number: int, model: str) -> None:
        self._do(f"Loading the model {model}")

    def _on_downloading(self, number: int, done: int, total: int) -> None:
        if 0 < total <= done:
            self._do(f"Loading the model {self._settings.model}")
            return
        self._doing = ""  # bytes tell more than seconds
        share = done / total if total else None
        self._activity.show(f"Downloading {self._settings.model}", share)
        self.progressed.emit(share)
        of = f" of {total / 1e6:.0f} MB ({100 * done // total} %)" if total else " MB"
        self.said.emit(
            f"Downloading {self._settings.model}: {done / 1e6:.0f}{of}. Esc cancels; what has "
            "come is kept."
        )

    def _on_computing(self, number: int) -> None:
        self._do("Segmenting")

    def _on_progressed(self, number: int, share: float) -> None:
        self._activity.set_share(share)
        self.progressed.emit(share)

    def _on_ready(self, number: int, seconds: float) -> None:
        self._activity.end()
        what = no_clicks(model_spec(self._settings.model)) or _CLICK
        self.said.emit(f"Model loaded in {seconds:.1f} s. {what}")

    def _on_found(self, number: int, found: tuple[Found, ...], seconds: float) -> None:
        request = self._rest()
        if request is not None:
            here = add_found(self._session, request, found)
            classes = model_spec(request.model).classes
            self.said.emit(what_was_found(tuple(here.values()), found, classes, seconds))
        self._ask()

    def _on_proposed(self, number: int, proposals: tuple[Proposal, ...], seconds: float) -> None:
        request = self._rest()
        if request is not None:
            found = tuple(it.found for it in proposals if it.found is not None)
            here = add_found(self._session, request, found)
            self.said.emit(what_was_proposed(tuple(here.values()), proposals, seconds))
            self.proposed.emit()
        self._ask()

    def _on_predicted(self, number: int, prediction: Prediction) -> None:
        request = self._rest()
        if request is not None and self._session.accept(request, prediction):
            what = f"in {prediction.seconds:.2f} s ({request.prompts.words()})"
            if request.recut:
                cut = f"cut at a probability of {self._settings.threshold:g}"
                self.said.emit(f"Mask {cut if prediction.graded else 'made anew'}.")
            elif prediction.mask.any():
                # not every network judges itself
                known = math.isfinite(prediction.score)
                score = f", expected IoU {prediction.score:.2f}" if known else ""
                self.said.emit(f"Mask {what}{score}")
            else:
                self.said.emit(f"The model found nothing {what}; add another point.")
        self._ask()

    def _on_failed(self, number: int, sentence: str) -> None:
        request = self._rest()
        self._activity.end()
        if request is not None:
            self._session.settle(request)
        self.refused.emit(sentence)
