"""The dialog "Resume...": trainings that can go on, and how far each came."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QSpinBox,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sam3d.engine.training.runs import RunInfo
from napari_sam3d.plugin.dock.tables import cell

_MOST = 1_000_000
_WORDS = {"RUNNING": "interrupted", "STOPPED": "stopped", "FAILED": "failed", "DONE": "finished"}
_COLUMNS = (
    ("Name", "What its adapter is called"),
    ("Status", "How it ended; interrupted when the program did"),
    ("Steps", "Steps done, of how many"),
    ("Model", "What is tuned"),
    ("When", "When it was last heard of"),
)


class ResumeDialog(QDialog):
    """A table of runs; a finished one can go on with more steps.

    Parameters
    ----------
    runs
        The newest first.
    """

    resume_requested = Signal(object, int)
    """A `RunInfo`, and how many steps there shall be in all."""

    def __init__(self, runs: Sequence[RunInfo], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Resume a training")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._runs = sorted(runs, key=lambda it: it.status == "DONE")  # what is not done first
        self.table = QTableWidget(len(runs), len(_COLUMNS))
        self.table.setToolTip("Trainings of this computer; a finished one goes on with more steps")
        self.table.setHorizontalHeaderLabels([title for title, _ in _COLUMNS])
        for column, (_, tooltip) in enumerate(_COLUMNS):
            self.table.horizontalHeaderItem(column).setToolTip(tooltip)
        for line, it in enumerate(self._runs):
            texts = (
                it.name,
                _WORDS.get(it.status, it.status.lower()),
                f"{it.step} of {it.steps}",
                it.model,
                f"{it.when:%d %b, %H:%M}",
            )
            for column, text in enumerate(texts):
                cell(self.table, line, column, text).setToolTip(_about(it))
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.steps = QSpinBox()
        self.steps.setRange(1, _MOST)
        self.steps.setToolTip("Steps in all; more than before make it go on for longer")
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setToolTip("Where its labelled pairs come from")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        accept = QDialogButtonBox.ButtonRole.AcceptRole
        self.resume = buttons.addButton("Resume", accept)
        self.resume.setToolTip("Go on with the chosen training as if nothing had happened")
        self.cancel = buttons.button(QDialogButtonBox.StandardButton.Cancel)
        self.cancel.setToolTip("Leave it")
        form = QFormLayout()
        form.addRow("Steps in all", self.steps)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addLayout(form)
        layout.addWidget(self.note)
        layout.addWidget(buttons)
        self.table.itemSelectionChanged.connect(self._on_chosen)
        self.table.itemDoubleClicked.connect(self._on_accept)
        buttons.accepted.connect(self._on_accept)
        buttons.rejected.connect(self.reject)
        self.resize(640, 360)
        if self._runs:
            self.table.selectRow(0)
        self._on_chosen()

    def _chosen(self) -> RunInfo | None:
        lines = self.table.selectionModel().selectedRows()
        return self._runs[lines[0].row()] if lines else None

    def _on_chosen(self) -> None:
        it = self._chosen()
        self.resume.setEnabled(it is not None)
        self.steps.setEnabled(it is not None)
        self.note.setText("There is no training to go on with." if it is None else _about(it))
        if it is not None:
            done = it.status == "DONE" or it.step >= it.steps
            self.steps.setMinimum(it.step + 1)
            self.steps.setValue(2 * max(it.steps, it.step) if done else it.steps)

    def _on_accept(self, *_: object) -> None:
        it = self._chosen()
        if it is not None:
            self.accept()
            self.resume_requested.emit(it, self.steps.value())


def _about(it: RunInfo) -> str:
    """On what it was begun."""
    missing = [name for name in it.pairs if name not in it.files]
    said = f"{it.name} was begun on {', '.join(it.pairs)}."
    if missing:
        return f"{said} Of layers, and to be among the training pairs again: {', '.join(missing)}."
    return f"{said} They are read from their files."
