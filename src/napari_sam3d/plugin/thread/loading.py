"""Loading a model in the background: downloads that tell how far they are and can be left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from napari_sam3d.catalog import model_spec
from napari_sam3d.plugin.session.availability import is_ready
from napari_sam3d.plugin.thread.importing import collector_resting, import_engine
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari_sam3d.engine.fetch import Progress
    from napari_sam3d.engine.predictor import Predictor
    from napari_sam3d.settings import TrainSettings

    Load = Callable[[InferenceSettings, Progress], Predictor]

T = TypeVar("T")

_EVERY_S = 0.1
"""Between two reports on a download; one comes with every piece."""


def load_predictor(settings: InferenceSettings, progress: Progress) -> Predictor:
    """The engine's own, imported when it is first needed."""
    import_engine()
    from napari_sam3d.engine.predictor import load_predictor

    if needs_download(settings):  # nobody knows how long it takes
        return load_predictor(settings, progress)
    with collector_resting():  # some models bring large libraries
        return load_predictor(settings, progress)


def needs_download(settings: InferenceSettings | TrainSettings) -> bool:
    """Whether loading begins with a download."""
    return not is_ready(model_spec(settings.model))


def reports(tell: Callable[[int, int], None], wanted: Callable[[], bool]) -> Progress:
    """A progress function that tells now and then, and ends a download that is not wanted.

    Parameters
    ----------
    tell
        Told the bytes done and the bytes in all.
    wanted
        Whether to go on. A file that has come in full is kept all the same.
    """
    last = float("-inf")

    def progress(done: int, total: int) -> None:
        nonlocal last
        complete = 0 < total <= done
        if not complete and not wanted():
            from napari_sam3d.engine.prediction import Cancelled

            raise Cancelled
        now = time.perf_counter()
        if complete or now - last >= _EVERY_S:
            last = now
            tell(done, total)

    return progress


class Apart(Generic[T]):
    """A call in a thread of its own, which is left behind when nobody wants its result any longer.

    A connection that hangs is noticed after half a minute only; until then nothing must wait.

    Parameters
    ----------
    call
        What to run.
    ended
        Called in the thread at its end.
    """

    def __init__(self, call: Callable[[], T], ended: Callable[[], None]) -> None:
        self.over = False
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._call = call
        self._ended = ended
        threading.Thread(target=self._run, name="napari-sam3d apart", daemon=True).start()

    def result(self) -> T:
        """What was returned, or the exception that ended it; once."""
        if self._error is not None:
            raise self._error
        return self._results.pop()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:
            self._error = error  # for whoever waits
        self.over = True
        self._ended()
