"""Measures the objects of a session in a thread, each when its mask has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_sam3d.plugin.session.measure import Measures, measure
from napari_sam3d.volume import Volume, Window
from napari_sam3d.windows import around, common, shape_of

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3d.plugin.session.hand_edits import Stroke
    from napari_sam3d.plugin.session.session import Session

_LOG = logging.getLogger(__name__)


class Measuring(QObject):
    """Knows the measures of objects.

    What counts is what the Labels layer shows. An object is looked for in the window of its mask,
    widened by what was painted, never in the whole volume.

    Parameters
    ----------
    session
        Whose objects are measured.
    """

    measured = Signal()
    """There are new numbers in `values`."""
    _done = Signal(int, int, object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.values: dict[int, Measures] = {}
        self._session = session
        self._windows: dict[int, Window] = {}
        self._due: dict[int, None] = {}
        self._labels: Labels | None = None
        self._strokes: tuple[Stroke, ...] = ()
        self._volume: Volume | None = None
        self._running = False
        self._active = False
        self._round = 0
        self._pool = ThreadPoolExecutor(1, "napari-sam3d-measure")
        self._done.connect(self._on_done)
        session.changed.connect(self._look)
        session.mask_changed.connect(self._on_mask)
        session.hand.changed.connect(self._on_hand)
        self._look()

    def set_active(self, active: bool) -> None:
        """Whether anybody looks; the numbers of what changed meanwhile come then."""
        if active and not self._active:
            # that a mask was taken back by the undo of its layer, nobody says
            self._due.update(dict.fromkeys(self._windows))
        self._active = active
        self._next()

    def close(self) -> None:
        """End the thread after its present object, and forget the session."""
        self._session.changed.disconnect(self._look)
        self._session.mask_changed.disconnect(self._on_mask)
        self._session.hand.changed.disconnect(self._on_hand)
        self._active = False
        self._pool.shutdown(wait=False, cancel_futures=True)

    def now(self) -> Generator[float, None, dict[int, Measures]]:
        """Steps that measure all objects as they are at this moment, for any thread.

        They yield the share that is done, and return the measures.
        """
        self._look()
        return _one_by_one(
            {n: self._measure(n) for n in self._windows if n in self._session.objects}
        )

    def _look(self) -> None:
        """Begin again when the layer or the image is another one."""
        session = self._session
        if session.labels != self._labels or session.volume is not self._volume:
            self._labels = session.labels
            self._strokes = ()
            self._volume = session.volume
            self._round += 1
            self.values, self._windows, self._due = {}, {}, {}
            for number in session.objects if session.labels is not None else ():
                self._on_mask(number)
            self._on_hand()

    def _on_mask(self, number: int) -> None:
        self._look()
        it = self._session.objects.get(number)
        if it is None:
            self.values.pop(number, None)
            self._windows.pop(number, None)
            self._due.pop(number, None)
            return
        if it.shown is not None:
            self._widen(number, it.shown.window)
        if number in self._windows:
            self._changed(self._windows[number])

    def _on_hand(self) -> None:
        """Measure where strokes came, were undone or done again."""
        self._look()
        before, self._strokes = self._strokes, tuple(self._session.hand.edits.done)
        for stroke in {*before} ^ {*self._strokes}:
            for block in stroke.blocks:
                for number in np.unique([block.before[block.mask], block.after[block.mask]]):
                    if number in self._session.objects:
                        self._widen(int(number), block.window)
                self._changed(block.window)

    def _widen(self, number: int, window: Window) -> None:
        if all(shape_of(window)):
            self._windows[number] = around([self._windows.get(number, window), window])

    def _changed(self, window: Window) -> None:
        """Measure all objects again that may have voxels here."""
        for number, own in self._windows.items():
            if common(own, window) is not None:
                self._due[number] = None
        self._next()

    def _next(self) -> None:
        if self._running or not self._active or not self._due:
            return
        number = (
            self._session.current if self._session.current in self._due else next(iter(self._due))
        )
        del self._due[number]
        self._running = True
        future = self._pool.submit(self._measure(number))
        future.add_done_callback(partial(self._tell, self._round, number))

    def _measure(self, number: int) -> Callable[[], Measures]:
        volume, labels, window = self._volume, self._labels, self._windows[number]
        data = None if labels is None else labels.data

        def run() -> Measures:
            if volume is None or data is None:
                return Measures()
            # a stroke may be going on; what it changes is measured again
            mask = np.asarray(data[window]) == number
            return measure(mask, volume.data[window], volume.grid.affine)

        return run

    def _tell(self, of_round: int, number: int, future: Future) -> None:
        """In the thread: hand the result over."""
        failed = None if future.cancelled() else future.exception()
        if failed is not None:
            _LOG.error("An object cannot be measured", exc_info=failed)
        known = failed is None and not future.cancelled()
        try:
            self._done.emit(of_round, number, future.result() if known else None)
        except RuntimeError:
            pass  # the window was closed meanwhile

    def _on_done(self, of_round: int, number: int, result: Measures | None) -> None:
        self._running = False
        if of_round == self._round and number in self._session.objects and result is not None:
            self.values[number] = result
            self.measured.emit()
        self._next()


def _one_by_one(
    measures: Mapping[int, Callable[[], Measures]],
) -> Generator[float, None, dict[int, Measures]]:
    values: dict[int, Measures] = {}
    for number, find in measures.items():
        yield len(values) / len(measures)
        values[number] = find()
    return values
