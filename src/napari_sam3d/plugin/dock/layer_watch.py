"""Tells that the list of layers is another one, once the change is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerWatch(QObject):
    """Hears that layers came, went, were moved or renamed.

    napari tells of a change in its middle, and of many one by one.

    Parameters
    ----------
    viewer
        Whose layers are watched.
    parent
        In Qt's sense.
    """

    changed = Signal()
    """Once for all that happened together, back at the event loop."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self.changed)
        for event in self._events():
            event.connect(self._soon)

    def close(self) -> None:
        """Leave the viewer alone."""
        self._later.stop()
        for event in self._events():
            event.disconnect(self._soon)

    def _events(self) -> tuple:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.reordered, events.renamed

    def _soon(self, *_: Any) -> None:
        self._later.start()
