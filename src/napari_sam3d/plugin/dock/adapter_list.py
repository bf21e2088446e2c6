"""The adapters of the chosen model, in the dock: with which it works, or with none."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QFileSystemWatcher, QObject, Signal

from napari_sam3d.engine.places import adapters_folder, adapters_of

PLAIN = "none: as it came"


class AdapterList(QObject):
    """Names of adapters, looked up anew when the model changes and when a file comes or goes.

    Parameters
    ----------
    model
        Name of the model.
    parent
        In Qt's sense.
    """

    changed = Signal()
    """There may be others."""

    def __init__(self, model: str, parent: QObject) -> None:
        super().__init__(parent)
        self._model = model
        self._names: list[str] = []
        self._row: Any = None
        adapters_folder().mkdir(parents=True, exist_ok=True)
        self._watcher = QFileSystemWatcher([str(adapters_folder())], self)
        self._watcher.directoryChanged.connect(self.refresh)
        self._look()

    def choices(self, _: Any = None) -> list[tuple[str, str]]:
        """A text and a name for each adapter, and for none."""
        return [(PLAIN, ""), *((name, name) for name in self._names)]

    def attach(self, row: Any) -> None:
        """Keep a magicgui combo box with `choices` up to date."""
        self._row = row

    @property
    def empty(self) -> bool:
        """Whether there is nothing to choose."""
        return not self._names

    def show_model(self, model: str) -> None:
        """List the adapters of another model; the row tells nobody of that."""
        if model != self._model:
            self._model = model
            with self._row.changed.blocked():
                self.refresh()

    def knows(self, name: str) -> bool:
        """Whether an adapter is among the choices, or none is asked for."""
        return not name or name in self._names

    def refresh(self, _: str = "") -> None:
        """Look again; an adapter that is gone is not chosen any more."""
        self._look()
        if self._row is not None:
            self._row.reset_choices()
        self.changed.emit()

    def _look(self) -> None:
        self._names = adapters_of(self._model)
