"""What the cells of the table of objects hold: short numbers, signs, and classes that complete."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from qtpy.QtCore import QModelIndex, QObject, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import (
    QCompleter,
    QLineEdit,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)


class Categories(QStyledItemDelegate):
    """Completes what is typed into a cell.

    Parameters
    ----------
    known
        Gives what was typed so far.
    """

    def __init__(self, parent: QObject, known: Callable[[], list[str]]) -> None:
        super().__init__(parent)
        self._known = known

    def createEditor(
        self, parent: QWidget | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> QWidget:
        editor = QLineEdit(parent)
        completer = QCompleter(self._known(), editor)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        editor.setCompleter(completer)
        return editor


def sign(color: Sequence[float], locked: bool) -> QIcon:
    """A square in a colour (RGB, 0 to 1), or a lock."""
    pixmap = QPixmap(12, 12)
    full = QColor.fromRgbF(*color)
    pixmap.fill(Qt.GlobalColor.transparent if locked else full)
    if locked:
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(full, 1.6))
        painter.drawArc(3, 1, 6, 8, 0, 180 * 16)
        painter.fillRect(1, 5, 10, 7, full)
        painter.end()
    return QIcon(pixmap)


def short(number: float) -> str:
    """Three digits that count, and no power of ten."""
    if not math.isfinite(number):
        return "–"
    if number == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:.{min(digits, 4)}f}"
