"""What the table of pairs tells of labels: how many objects, and how many voxels."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_sam3d.labelled import Pair
from napari_sam3d.plugin.layers.voxels import slabs

_LOG = logging.getLogger(__name__)
_LARGEST = 2**32  # values from here on are no numbers of objects


@dataclass(frozen=True)
class Facts:
    """Objects, and labelled voxels; `labels` has the voxels of each object."""

    labels: dict[int, int]

    @property
    def objects(self) -> int:
        return len(self.labels)

    @property
    def voxels(self) -> int:
        return sum(self.labels.values())


def facts_of(pair: Pair) -> Facts:
    """Count, a slab at a time; what is no positive whole number is left out."""
    counts: dict[int, int] = {}
    for _, slab in slabs(pair.labels):
        values = slab[(slab > 0) & (slab < _LARGEST)]
        found, many = np.unique(values, return_counts=True)
        for value, count in zip(found.tolist(), many.tolist(), strict=True):
            if value == int(value):
                counts[int(value)] = counts.get(int(value), 0) + count
    return Facts(counts)


class Counting(QObject):
    """Counts in a thread of its own, and remembers."""

    counted = Signal()
    """There are new facts."""
    _done = Signal(object, object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._known: WeakKeyDictionary[Pair, Facts | None] = WeakKeyDictionary()
        self._pool = ThreadPoolExecutor(1, "napari-sam3d-count")
        self._done.connect(self._on_done)

    def of(self, pair: Pair) -> Facts | None:
        """The facts of a pair; None until they are counted."""
        if pair not in self._known:
            self._known[pair] = None
            self._pool.submit(facts_of, pair).add_done_callback(partial(self._tell, pair))
        return self._known[pair]

    def close(self) -> None:
        """End the thread after its present pair."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _tell(self, pair: Pair, future: Future[Facts]) -> None:
        """In the thread: hand the result over."""
        if future.cancelled():
            return
        failed = future.exception()
        if failed is not None:
            _LOG.error("The labels of %s cannot be counted", pair.name, exc_info=failed)
            return
        try:
            self._done.emit(pair, future.result())
        except RuntimeError:
            pass  # the window was closed meanwhile

    def _on_done(self, pair: Pair, facts: Facts) -> None:
        self._known[pair] = facts
        self.counted.emit()
