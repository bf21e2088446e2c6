"""Tables of objects and of points: values go in, what the user wants comes out as signals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam3d.plugin.measure import Measures

_LINES, _FEWEST = 4, 2
"""Rows to be seen at once, where the screen is high enough."""
_NAME = 1


@dataclass(frozen=True)
class ObjectRow:
    """An object as the table shows it.

    Parameters
    ----------
    number, title
        Its id and name.
    color
        RGB, 0 to 1.
    measures
        None as long as they are not known.
    """

    number: int
    title: str
    color: tuple[float, float, float]
    measures: Measures | None = None


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


class ObjectTable(QWidget):
    """Objects with their measures; a row is chosen, renamed, deleted, all are exported."""

    chosen = Signal(int)
    renamed = Signal(int, str)
    delete_requested = Signal(int)
    export_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[ObjectRow, ...] = ()
        self.table = _table(
            ("", "The colour and number of the object in the mask layer"),
            ("Name", "Double-click to rename"),
            ("ml", "Volume in millilitres"),
            ("mm", "Longest diameter in millimetres, from outer edge to outer edge"),
            ("Mean", "Mean intensity, in the unit of the image"),
            stretched=_NAME,
        )
        self.table.setToolTip("Choose an object to go on with it; double-click its name to rename")
        self.table.currentCellChanged.connect(self._on_current)
        self.table.itemChanged.connect(self._on_edited)
        self.delete = QPushButton("Delete object...")
        self.delete.setToolTip("Remove the chosen object with its points and its mask")
        self.delete.clicked.connect(self._on_delete)
        self.export = QPushButton("Export CSV...")
        self.export.setToolTip("Write this table to a file, for a spreadsheet")
        self.export.clicked.connect(self.export_requested)
        _lay_out(self, self.table, self.delete, self.export)
        self.set_value((), 0)

    def value(self) -> tuple[ObjectRow, ...]:
        return self._rows

    def set_value(self, rows: Sequence[ObjectRow], current: int) -> None:
        """Show objects, one of them as chosen; an editor that is open stays open."""
        self._rows = tuple(rows)
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(rows))
            for line, row in enumerate(rows):
                it = row.measures
                if it is None or not it.voxels:
                    numbers = ["…" if it is None else "–"] * 3
                else:
                    numbers = [_short(it.volume_ml), f"{it.diameter_mm:.1f}", _short(it.mean)]
                for column, text in enumerate((str(row.number), row.title, *numbers)):
                    item = _cell(self.table, line, column, text)
                    # an open editor would begin anew at each change of its item
                    if column == _NAME and item.toolTip() != row.title:
                        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                        item.setToolTip(row.title)
                self.table.item(line, 0).setData(
                    Qt.ItemDataRole.DecorationRole, QColor.fromRgbF(*row.color)
                )
                if row.number == current and self.table.currentRow() != line:
                    self.table.setCurrentCell(line, _NAME)
        self.delete.setEnabled(bool(rows))
        self.export.setEnabled(bool(rows))

    def _on_current(self, line: int, column: int, before: int, *_: int) -> None:
        if line != before and 0 <= line < len(self._rows):
            self.chosen.emit(self._rows[line].number)

    def _on_edited(self, item: QTableWidgetItem) -> None:
        row = self._rows[item.row()]
        if item.column() == _NAME and item.text().strip() != row.title:
            self.renamed.emit(row.number, item.text().strip())

    def _on_delete(self) -> None:
        line = self.table.currentRow()
        if 0 <= line < len(self._rows):
            self.delete_requested.emit(self._rows[line].number)


class PromptTable(QWidget):
    """The prompts of an object; a row is looked at or deleted."""

    chosen = Signal(int)
    delete_requested = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[PromptRow, ...] = ()
        self.table = _table(
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
        self.delete = QPushButton("Delete prompt")
        self.delete.setToolTip("Remove the chosen prompt and compute the mask again; Undo helps")
        self.delete.clicked.connect(self._on_delete)
        self.table.delete_pressed.connect(self._on_delete)
        _lay_out(self, self.table, self.delete)
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
                    _cell(self.table, line, column, text)
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


class _Table(QTableWidget):
    """A low table that tells when its Delete key is pressed."""

    delete_pressed = Signal()

    def sizeHint(self) -> QSize:
        high = self.verticalHeader().defaultSectionSize()
        return QSize(super().sizeHint().width(), (_LINES + 1) * high + 12)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


def _table(*columns: tuple[str, str], stretched: int) -> _Table:
    """A table of whole rows; each column has a title and says what it is."""
    table = _Table(0, len(columns))
    for column, (title, tooltip) in enumerate(columns):
        item = QTableWidgetItem(title)
        item.setToolTip(tooltip)
        table.setHorizontalHeaderItem(column, item)
    header, lines = table.horizontalHeader(), table.verticalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(stretched, QHeaderView.ResizeMode.Stretch)
    header.setMinimumSectionSize(24)
    header.setHighlightSections(False)
    lines.hide()
    high = table.fontMetrics().height() + 6
    lines.setDefaultSectionSize(high)
    table.setMinimumHeight((_FEWEST + 1) * high + 12)
    table.setMaximumHeight(table.sizeHint().height())
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(
        QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
    )
    return table


def _cell(table: QTableWidget, line: int, column: int, text: str) -> QTableWidgetItem:
    """A cell with a text; made once, so that an open editor keeps its item."""
    item = table.item(line, column)
    if item is None:
        item = QTableWidgetItem()
        item.setFlags(Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled)
        table.setItem(line, column, item)
    if item.text() != text:
        item.setText(text)
    return item


def _lay_out(widget: QWidget, table: QTableWidget, *buttons: QPushButton) -> None:
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(table)
    row = QHBoxLayout()
    for button in buttons:
        row.addWidget(button, stretch=1)
    layout.addLayout(row)


def _short(number: float) -> str:
    """Three digits that count, and no power of ten."""
    if not math.isfinite(number):
        return "–"
    if number == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:.{min(digits, 4)}f}"
