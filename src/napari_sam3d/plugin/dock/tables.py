"""What the tables of the dock are made of: low tables of whole rows, with buttons below."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam3d.plugin.dock.parts import row

_LINES, _FEWEST = 4, 2
"""Rows to be seen at once, where the screen is high enough."""


class LowTable(QTableWidget):
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


def low_table(*columns: tuple[str, str], stretched: int) -> LowTable:
    """A table of whole rows; each column has a title and says what it is."""
    table = LowTable(0, len(columns))
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


def cell(table: QTableWidget, line: int, column: int, text: str) -> QTableWidgetItem:
    """A cell with a text; made once, so that an open editor keeps its item."""
    item = table.item(line, column)
    if item is None:
        item = QTableWidgetItem()
        item.setFlags(Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled)
        table.setItem(line, column, item)
    if item.text() != text:
        item.setText(text)
    return item


def lay_out(widget: QWidget, table: QTableWidget, *buttons: QPushButton) -> None:
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(table)
    layout.addLayout(row(*buttons))
