"""The table of objects: values go in, what the user wants comes out as signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QPoint, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QTableWidgetItem, QWidget

from napari_sam3d.plugin.dock.object_cells import Categories, short, sign
from napari_sam3d.plugin.dock.parts import button
from napari_sam3d.plugin.dock.tables import cell, lay_out, low_table
from napari_sam3d.plugin.session.measure import Measures

_NUMBER, _NAME, _CATEGORY = 0, 1, 2
_TYPED = (_NAME, _CATEGORY)
_SHOWN = Qt.ItemDataRole.UserRole
"""Under which a cell knows what it was made to show."""


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
    category
        What it is one of; empty when nobody has said.
    locked
        Whether its mask changes by hand only.
    """

    number: int
    title: str
    color: tuple[float, float, float]
    measures: Measures | None = None
    category: str = ""
    locked: bool = False


class ObjectTable(QWidget):
    """Objects with their measures; a row is chosen, and changed by its cells and a menu.

    The column of classes is shown as soon as there is one.
    """

    chosen = Signal(int)
    renamed = Signal(int, str)
    classified = Signal(int, str)
    color_requested = Signal(int)
    locked = Signal(int, bool)
    delete_requested = Signal(int)
    export_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[ObjectRow, ...] = ()
        self.table = low_table(
            ("", "The colour and number of the object in the mask layer; a lock when it is locked"),
            ("Name", "Double-click to rename"),
            ("Class", "What it is, such as vessel; double-click to change"),
            ("ml", "Volume in millilitres"),
            ("mm", "Longest diameter in millimetres, from outer edge to outer edge"),
            ("Mean", "Mean intensity, in the unit of the image"),
            stretched=_NAME,
        )
        self.table.setToolTip(
            "Choose an object to go on with it; double-click its name to rename; right-click to "
            "lock, recolour or classify it"
        )
        self.table.setItemDelegateForColumn(_CATEGORY, Categories(self.table, self.categories))
        self.table.currentCellChanged.connect(self._on_current)
        self.table.itemChanged.connect(self._on_edited)
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.rename = self._action("Rename", "Type another name", self._on_rename)
        self.classify = self._action(
            "Class...",
            "Say what it is: objects of one class can be saved as one",
            self._on_classify,
        )
        self.recolor = self._action(
            "Colour...", "Show it in another colour", self._emits(self.color_requested)
        )
        self.lock = self._action(
            "Locked", "Its mask changes by hand only: by no prompt and by no other object", None
        )
        self.lock.setCheckable(True)
        self.lock.triggered.connect(self._on_lock)
        self.menu.addSeparator()
        self.delete = self._action(
            "Delete...",
            "Remove it with its points and its mask",
            self._emits(self.delete_requested),
        )
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._on_menu)
        self.edit = button("Object", "Rename, classify, recolour, lock or delete the chosen object")
        self.edit.setMenu(self.menu)
        self.export = button("Export CSV...", "Write this table to a file, for a spreadsheet")
        self.export.clicked.connect(self.export_requested)
        lay_out(self, self.table, self.edit, self.export)
        self.set_value((), 0)

    def value(self) -> tuple[ObjectRow, ...]:
        return self._rows

    def categories(self) -> list[str]:
        """The classes that were used so far."""
        return sorted({row.category for row in self._rows} - {""}, key=str.casefold)

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
                    numbers = [short(it.volume_ml), f"{it.diameter_mm:.1f}", short(it.mean)]
                texts = (str(row.number), row.title, row.category, *numbers)
                for column, text in enumerate(texts):
                    item = cell(self.table, line, column, text)
                    # an open editor would begin anew at each change of its item
                    if column in _TYPED and item.data(_SHOWN) != text:
                        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                        item.setToolTip(text)
                        item.setData(_SHOWN, text)
                looks, first = (row.color, row.locked), self.table.item(line, _NUMBER)
                if first.data(_SHOWN) != looks:
                    first.setData(_SHOWN, looks)
                    first.setIcon(sign(*looks))
                if row.number == current and self.table.currentRow() != line:
                    self.table.setCurrentCell(line, _NAME)
        if self.categories():
            self.table.setColumnHidden(_CATEGORY, False)
        elif self.table.state() != self.table.State.EditingState:
            self.table.setColumnHidden(_CATEGORY, True)
        self.edit.setEnabled(bool(rows))
        self.export.setEnabled(bool(rows))
        self._show_lock()

    def _row(self) -> ObjectRow | None:
        line = self.table.currentRow()
        return self._rows[line] if 0 <= line < len(self._rows) else None

    def _action(self, text: str, tooltip: str, act: Callable[[], object] | None) -> QAction:
        action = QAction(text, self)
        action.setToolTip(tooltip)
        self.menu.addAction(action)
        if act is not None:
            action.triggered.connect(act)
        return action

    def _emits(self, signal: Any) -> Callable[[], object]:
        def act() -> None:
            row = self._row()
            if row is not None:
                signal.emit(row.number)

        return act

    def _show_lock(self) -> None:
        row = self._row()
        self.lock.setChecked(row is not None and row.locked)

    def _on_menu(self, at: QPoint) -> None:
        if self.table.itemAt(at) is not None:  # the press has chosen the row
            self.menu.popup(self.table.viewport().mapToGlobal(at))

    def _on_current(self, line: int, column: int, before: int, *_: int) -> None:
        if line != before and 0 <= line < len(self._rows):
            self.chosen.emit(self._rows[line].number)
            self._show_lock()

    def _on_edited(self, item: QTableWidgetItem) -> None:
        row, text = self._rows[item.row()], item.text().strip()
        if item.column() == _NAME and text != row.title:
            self.renamed.emit(row.number, text)
        elif item.column() == _CATEGORY and text != row.category:
            self.classified.emit(row.number, text)

    def _on_rename(self) -> None:
        self._type(_NAME)

    def _on_classify(self) -> None:
        self.table.setColumnHidden(_CATEGORY, False)
        self._type(_CATEGORY)

    def _type(self, column: int) -> None:
        item = self.table.item(self.table.currentRow(), column)
        if item is not None:
            self.table.editItem(item)

    def _on_lock(self, locked: bool) -> None:
        row = self._row()
        if row is not None:
            self.locked.emit(row.number, locked)
