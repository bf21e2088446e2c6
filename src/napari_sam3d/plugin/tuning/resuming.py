"""Going on with a training: which one, with which pairs, and on how."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_sam3d.engine.training.runs import RunInfo, resumed_settings, runs
from napari_sam3d.plugin.tuning.pair_table import Entry, PairTable
from napari_sam3d.plugin.tuning.resume_dialog import ResumeDialog
from napari_sam3d.settings import TrainSettings


class Resuming(QObject):
    """Has the user choose a training, and gathers what it was begun on.

    Parameters
    ----------
    pairs
        The table: what it has is taken, what it lacks is read into it from files.
    """

    ready = Signal(object, object, str)
    """Settings, entries (list of `Entry`), name: the training can go on."""
    said = Signal(str)
    refused = Signal(str)

    def __init__(self, pairs: PairTable, parent: QWidget) -> None:
        super().__init__(parent)
        self._pairs, self._parent = pairs, parent
        self._wanted: tuple[RunInfo, TrainSettings] | None = None
        self.dialog: ResumeDialog | None = None
        pairs.changed.connect(self._on_pairs)

    def ask(self) -> None:
        """Open the dialog, or say that there is nothing to go on with."""
        found = runs()
        if not found:
            self.refused.emit("There is no training to go on with yet.")
            return
        self.dialog = ResumeDialog(found, self._parent)
        self.dialog.resume_requested.connect(self.resume)
        self.dialog.open()

    def resume(self, info: RunInfo, steps: int) -> None:
        """Go on with a training, up to so many steps in all, once its pairs are here."""
        try:
            settings = replace(resumed_settings(info.name), steps=steps)
        except (ValueError, OSError) as error:
            self.refused.emit(str(error))
            return
        missing = [name for name in info.pairs if self._entry(info, name) is None]
        lost = [name for name in missing if name not in info.files]
        if lost:
            self.refused.emit(
                f"{info.name} was begun on {lost[0]}, a layer, which is not among the training "
                "pairs; open it with its labels and add it."
            )
            return
        self._wanted = info, settings
        if missing:
            self.said.emit(f"Reading the pairs of {info.name}.")
            self._pairs.add_files([info.files[name] for name in missing])
        self._on_pairs()

    def forget(self) -> None:
        """Files cannot be read, or the user does something else."""
        self._wanted = None

    def _on_pairs(self) -> None:
        if self._wanted is None or self._pairs.awaited:
            return
        info, settings = self._wanted
        found = [self._entry(info, name) for name in info.pairs]
        entries = [it for it in found if it is not None]
        if len(entries) == len(info.pairs):
            self._wanted = None
            self.ready.emit(settings, entries, info.name)

    def _entry(self, info: RunInfo, name: str) -> Entry | None:
        """The pair that the run knows by this name."""
        files = info.files.get(name)
        for it in self._pairs.entries():
            if it.pair.name == name or (files is not None and it.pair.files == files):
                volume = replace(it.pair.volume, name=name)
                return replace(it, pair=replace(it.pair, volume=volume))
        return None
