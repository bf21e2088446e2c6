"""Everything before a training: pairs are gathered, checked and mended, its time is estimated."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.history import get_open_history, update_open_history
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sam3d.io.pairs import find_pairs
from napari_sam3d.labelled import Pair
from napari_sam3d.plugin.files import background
from napari_sam3d.plugin.tuning.check_table import CheckTable
from napari_sam3d.plugin.tuning.layer_pairs import Match, matches, snapshots
from napari_sam3d.plugin.tuning.pair_chooser import PairChooser
from napari_sam3d.plugin.tuning.pair_table import PairTable
from napari_sam3d.plugin.tuning.training_choice import TrainingChoice
from napari_sam3d.settings import TrainSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.engine.training.preflight import Check
    from napari_sam3d.engine.training.rehearsal import Rehearsal
    from napari_sam3d.plugin.thread.trainer import Trainer

_SETTLE_MS = 300
"""Changes that come together, such as typing, are checked together."""
_NO_PAIRS = "Add labelled volumes first: open layers, or a folder."
_LOOKING = "The pairs are being checked..."
_NOTHING = (
    "There are no labels to add: open an image with a Labels layer that lies on it, or use Add "
    "folder..."
)


class Preparing(QObject):
    """Keeps the checks up to date with the pairs and the settings.

    Parameters
    ----------
    viewer
        Its layers can be added.
    trainer
        Reads files, checks and rehearses.

    Attributes
    ----------
    obstacle
        Why no training can begin; empty when it can.
    """

    obstacle_changed = Signal()
    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """A sentence that must not be missed."""

    def __init__(self, viewer: ViewerModel, trainer: Trainer, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._trainer, self._parent = viewer, trainer, parent
        self.pairs, self.chooser = PairTable(), PairChooser(viewer)
        self.checks, self.choice = CheckTable(), TrainingChoice()
        self.obstacle = _NO_PAIRS
        self._rehearsed: tuple[TrainSettings, tuple[Pair, ...]] | None = None
        self._later = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._later.timeout.connect(self._check)
        self.pairs.changed.connect(self._on_pairs)
        self.pairs.files_wanted.connect(trainer.read_files)
        self.pairs.layers_requested.connect(self._on_layers)
        self.pairs.folder_requested.connect(self._on_folder)
        self.chooser.chosen.connect(self._on_chosen)
        self.checks.fix_requested.connect(self._on_fix)
        self.choice.changed.connect(self.check_soon)
        self.choice.estimate_requested.connect(self._on_estimate)
        trainer.read.connect(self._on_read)
        trainer.checked.connect(self._on_checked)
        trainer.rehearsed.connect(self._on_rehearsed)
        self._show((), "", _NO_PAIRS)

    def check_soon(self) -> None:
        """Something has changed."""
        if self.pairs.value():
            self._show(self.checks.value(), _LOOKING, _LOOKING)
            self._later.start()
        else:
            self._later.stop()
            self._show((), "", _NO_PAIRS)

    def fail(self, sentence: str) -> None:
        """What the trainer was asked for cannot be done."""
        if self.pairs.awaited and self._trainer.state != "reading":
            self.pairs.forget_awaited()
        elif self._rehearsed is not None and self._trainer.state != "rehearsing":
            self._rehearsed = None
        elif self.obstacle == _LOOKING:
            self._show((), sentence, sentence)
        self.refused.emit(sentence)

    def give_up(self) -> None:
        """The trainer was told to stop whatever it does."""
        self.pairs.forget_awaited()
        self._rehearsed = None
        self.check_soon()

    def ask_again(self) -> None:
        """A training has begun, for which the trainer has given up what else was asked for."""
        if self.pairs.awaited:
            self._trainer.read_files(self.pairs.awaited)
        self._rehearsed = None

    def close(self) -> None:
        """Leave the viewer and the trainer alone."""
        self._later.stop()
        self.chooser.close_viewer()
        self.pairs.close_counting()
        trainer = self._trainer
        self.pairs.files_wanted.disconnect(trainer.read_files)
        trainer.read.disconnect(self._on_read)
        trainer.checked.disconnect(self._on_checked)
        trainer.rehearsed.disconnect(self._on_rehearsed)

    # pairs

    def _on_layers(self) -> None:
        clear, unclear = matches(self._viewer)
        self._add(clear)
        added = len(clear)
        self.chooser.ask_about(unclear)
        if unclear:
            named = ", ".join(it.name for it in unclear)
            said = f"It is not clear which image {named} belongs to: choose it below."
            self.said.emit(f"Added {_pairs(added)}. {said}" if added else said)
        elif added:
            self.said.emit(f"Added {_pairs(added)}, with the labels as they are now.")
        else:
            self.refused.emit(_NOTHING)

    def _on_chosen(self, match: Match) -> None:
        self._add([match])
        self.said.emit(f"Added {match.image.name} with {match.labels.name}.")

    def _add(self, wanted: Sequence[Match]) -> None:
        try:
            pairs = background.run(snapshots(self._viewer, wanted), "Copying labels")
        except background.Cancelled:
            return
        except ValueError as error:
            self.refused.emit(str(error))
            return
        for match, pair in zip(wanted, pairs, strict=True):
            self.pairs.add_pair(pair, match)

    def _on_folder(self) -> None:
        start = (*get_open_history(), str(Path.home()))[0]
        chosen = QFileDialog.getExistingDirectory(self._parent, "Folder of labelled pairs", start)
        if chosen:
            self.add_folder(Path(chosen))

    def add_folder(self, folder: Path) -> None:
        """Add the pairs of a folder, told by their names."""
        try:
            files = find_pairs(folder)
        except (ValueError, OSError) as error:
            self.refused.emit(str(error))
            return
        update_open_history(str(folder / "x"))
        before = len(self.pairs.awaited)
        self.pairs.add_files(files)
        new = len(self.pairs.awaited) - before
        self.said.emit(
            f"Reading {_pairs(new)} of {folder.name}." if new else f"{folder.name} is here already."
        )

    def _on_read(self, pairs: Sequence[Pair]) -> None:
        self.pairs.take_read(pairs)
        self.said.emit(f"Added {_pairs(len(pairs))}.")

    def _on_pairs(self) -> None:
        pairs = self.pairs.value()
        self.choice.name_after(pairs)
        self.choice.forget_rehearsal()
        self.check_soon()

    # checks

    def _check(self) -> None:
        self._trainer.check(self.choice.value(), self.pairs.value(), self.choice.run_name())

    def _on_checked(self, checks: Sequence[Check]) -> None:
        if self._later.isActive():  # about what was before the last change
            return
        wrong = [it.sentence for it in checks if it.state == "problem"]
        self._show(checks, "", wrong[0] if wrong else "")

    def _show(self, checks: Sequence[Check], saying: str, obstacle: str) -> None:
        self.checks.set_value(checks, saying)
        if obstacle != _LOOKING:
            self.pairs.set_states(_states(self.pairs.value(), checks))
        self.obstacle = obstacle
        self.choice.set_obstacle(obstacle)
        self.obstacle_changed.emit()

    def _on_fix(self, check: Check, fix: str) -> None:
        if check.instead and fix == check.fix:
            self.choice.set_name(check.instead)
            return
        try:
            mended = background.run(_mended(self.pairs.value(), check, fix), fix)
        except background.Cancelled:
            return
        except ValueError as error:
            self.refused.emit(str(error))
            return
        self.pairs.set_value(mended)

    # the time it takes

    def _on_estimate(self) -> None:
        self._rehearsed = self.choice.value(), self.pairs.value()
        self.said.emit("Doing three real steps, to tell the time...")
        self._trainer.rehearse(*self._rehearsed)

    def _on_rehearsed(self, rehearsal: Rehearsal) -> None:
        asked, self._rehearsed = self._rehearsed, None
        if asked is not None and asked[1] == self.pairs.value():
            self.choice.set_rehearsal(rehearsal, asked[0])
            self.said.emit(rehearsal.sentence)


def _mended(
    pairs: Sequence[Pair], check: Check, fix: str
) -> Generator[float, None, tuple[Pair, ...]]:
    from napari_sam3d.engine.training.preflight import mend

    yield 0.0
    return mend(pairs, check, fix)


def _states(pairs: Sequence[Pair], checks: Sequence[Check]) -> dict[str, str]:
    """The worst that was found of each pair."""
    found: dict[str, str] = {}
    names = {pair.name for pair in pairs}
    for state in ("good", "warning", "problem"):
        found |= {it.pair: state for it in checks if it.state == state and it.pair in names}
    return found


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"
