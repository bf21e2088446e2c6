"""The table of what was said about an object: values go in, what the user wants comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QWidget

from napari_sam3d.plugin.dock.parts import button
from napari_sam3d.plugin.dock.tables import cell, lay_out, low_table


@dataclass(frozen=True)
class PromptRow:
    """A prompt as the table shows it.

    Parameters
    ----------
    kind
        "Point", "Box" or "Scribble".
    positive
        What it says.
    ras_mm
        Right, anterior and superior of its middle, in millimetres.
    """

    kind: str
    positive: bool
    ras_mm: tuple[float, float, float]


class PromptTable(QWidget):
    """The prompts of an object; a row is looked at or deleted."""

    chosen = Signal(int)
    delete_requested = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[PromptRow, ...] = ()
        self.table = low_table(
            ("Type", "What was placed"),
            ("Sign", "+ belongs to the object, − does not"),
            (
                "R, A, S (mm)",
                "Right, anterior and superior, by the header of the file",
            ),
            stretched=2,
        )
        self.table.setToolTip("Choose a prompt to see its slice; key Del removes it")
        # clicked, not current: the same row once more brings its slice back
        self.table.cellClicked.connect(self._on_clicked)
        self.table.currentCellChanged.connect(self._on_current)
        self.delete = button(
            "Delete prompt", "Remove the chosen prompt and compute the mask again; Undo helps"
        )
        self.delete.clicked.connect(self._on_delete)
        self.table.delete_pressed.connect(self._on_delete)
        lay_out(self, self.table, self.delete)
        self.set_value(())

    def value(self) -> tuple[PromptRow, ...]:
        return self._rows

    def set_value(self, rows: Sequence[PromptRow]) -> None:
        """Show prompts, in their order."""
        if len(rows) != len(self._rows):
            with QSignalBlocker(self.table):
                self.table.setCurrentCell(-1, -1)
        self._rows = tuple(rows)
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(rows))
            for line, row in enumerate(rows):
                right, anterior, superior = row.ras_mm
                where = f"{right:.1f}, {anterior:.1f}, {superior:.1f}"
                for column, text in enumerate((row.kind, "+" if row.positive else "−", where)):
                    cell(self.table, line, column, text)
        self.delete.setEnabled(self.table.currentRow() >= 0)

    def _on_clicked(self, line: int, column: int) -> None:
        self._choose(line)

    def _on_current(self, line: int, *_: int) -> None:
        self._choose(line)

    def _choose(self, line: int) -> None:
        chosen = 0 <= line < len(self._rows)
        self.delete.setEnabled(chosen)
        if chosen:
            self.chosen.emit(line)

    def _on_delete(self) -> None:
        line = self.table.currentRow()
        if 0 <= line < len(self._rows):
            self.delete_requested.emit(line)
