"""The models in memory, and those on their way there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_sam3d.plugin.thread.jobs import Seat, needs
from napari_sam3d.plugin.thread.loading import Apart, needs_download, reports

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Predictor
    from napari_sam3d.plugin.thread.loading import Load
    from napari_sam3d.settings import InferenceSettings

_MOST = 2
"""Models in memory at once, when several docks use different ones."""


class Predictors:
    """Loads predictors and keeps those in use. Lives in one thread; downloads have their own.

    Parameters
    ----------
    load
        Returns the predictor for some settings, and tells how far a download is.
    seats
        Who is there now.
    arrived
        Called, in any thread, when a download has ended.
    """

    def __init__(
        self, load: Load, seats: Callable[[], tuple[Seat, ...]], arrived: Callable[[], None]
    ) -> None:
        self.stale = False
        self._load = load
        self._seats = seats
        self._arrived = arrived
        self._kept: OrderedDict[tuple, Predictor] = OrderedDict()
        self._apart: dict[tuple, Apart[Predictor]] = {}

    def is_coming(self, settings: InferenceSettings) -> bool:
        """Whether it is being downloaded."""
        apart = self._apart.get(needs(settings))
        return apart is not None and not apart.over

    def get(self, settings: InferenceSettings) -> Predictor | None:
        """The predictor for some settings; None while it is being downloaded."""
        key = needs(settings)
        if self.stale:
            self.stale = False
            self._kept.clear()
        if key not in self._kept:
            self.tidy(_MOST - 1)  # frees a model before another one is loaded
            predictor = self._loaded(settings)
            if predictor is None:
                return None
            self._kept[key] = predictor
        self._kept.move_to_end(key)
        return self._kept[key]

    def tidy(self, most: int = _MOST) -> None:
        """Drop what nobody uses, and what was used longest ago when there are too many."""
        used = {needs(seat.settings) for seat in self._seats() if seat.settings is not None}
        for key in [key for key in self._kept if key not in used]:
            del self._kept[key]
        while len(self._kept) > most:
            self._kept.popitem(last=False)
        for key in [key for key, it in self._apart.items() if it.over and key not in used]:
            del self._apart[key]

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._apart.clear()

    def _loaded(self, settings: InferenceSettings) -> Predictor | None:
        """The model, loaded here, or in another thread when it has to be downloaded."""
        apart = self._apart.pop(needs(settings), None)
        if apart is not None:
            try:
                return apart.result()
            except Exception as error:
                from napari_sam3d.engine.prediction import Cancelled

                if not isinstance(error, Cancelled):
                    raise
                # it was given up, and is wanted again
        self._tell(settings, "loading", settings.model)
        progress = reports(
            lambda *values: self._tell(settings, "downloading", *values),
            lambda: any(seat.wants(settings) for seat in self._seats()),
        )
        if not needs_download(settings):
            return self._load(settings, progress)
        self._apart[needs(settings)] = Apart(lambda: self._load(settings, progress), self._arrived)
        return None

    def _tell(self, settings: InferenceSettings, signal: str, *values: object) -> None:
        """Tell all who wait for this model."""
        for seat in self._seats():
            if seat.wants(settings):
                seat.tell(signal, seat.newest, *values)
