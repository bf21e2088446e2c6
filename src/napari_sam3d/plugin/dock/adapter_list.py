"""The adapters of the chosen model, in the dock: with which it works, or with none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from qtpy.QtCore import QFileSystemWatcher, QObject, QTimer, Signal

from napari_sam3d.engine.places import adapter_file, adapters_folder, adapters_of

PLAIN = "none: as it came"
_SETTLE_MS = 100
"""A file that is being copied into the folder changes many times."""


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
    lost = Signal(str)
    """The file of the chosen adapter is gone, or is no adapter of this model any more."""
    replaced = Signal(str)
    """The file of the chosen adapter is another one now."""

    def __init__(self, model: str, parent: QObject) -> None:
        super().__init__(parent)
        self._model = model
        self._names: list[str] = []
        self._stamps: dict[str, tuple[int, ...]] = {}
        self._row: Any = None
        adapters_folder().mkdir(parents=True, exist_ok=True)
        self._later = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._later.timeout.connect(self.refresh)
        self._watcher = QFileSystemWatcher([str(adapters_folder())], self)
        self._watcher.directoryChanged.connect(self._on_disk)
        self._watcher.fileChanged.connect(self._on_disk)
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
                self._look()
                self._row.reset_choices()
            self.changed.emit()

    def knows(self, name: str) -> bool:
        """Whether an adapter is among the choices, or none is asked for."""
        return not name or name in self._names

    def stamp(self, name: str) -> tuple[int, ...]:
        """Differs when the file of an adapter is another one."""
        return self._stamps.get(name, ())

    def refresh(self) -> None:
        """Look again; an adapter that is gone is not chosen any more."""
        before, stamps = self._row.value, self._stamps
        self._look()
        self._row.reset_choices()
        self.changed.emit()
        if before and before not in self._names:
            self.lost.emit(before)
        elif before and stamps.get(before) != self.stamp(before):
            self.replaced.emit(before)

    def _on_disk(self, _: str) -> None:
        self._later.start()

    def _look(self) -> None:
        self._names = adapters_of(self._model)
        self._stamps = {name: _stamp(adapter_file(name)) for name in self._names}
        # of a file that is written in place the folder says nothing
        files = {str(path) for path in adapters_folder().glob("*.safetensors")}
        new = files - set(self._watcher.files())
        if new:
            self._watcher.addPaths(sorted(new))


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs when a file was replaced, or written to."""
    with suppress(OSError):
        told = path.stat()
        return told.st_ino, told.st_size, told.st_mtime_ns
    return ()
