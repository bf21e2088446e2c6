"""Signs for what is good, doubtful, wrong or not yet known; readable on light and dark."""

from __future__ import annotations

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF

GREEN, AMBER, RED, GREY = "#2e9e5b", "#c98500", "#d64545", "#8a8f98"
_SIDE = 14
_TICK = ((3.5, 7.5), (6.0, 10.0), (10.5, 4.5))
_CROSS = (((4.5, 4.5), (9.5, 9.5)), ((9.5, 4.5), (4.5, 9.5)))


def state_icon(state: str) -> QIcon:
    """A tick for "good", a triangle for "warning", a cross for "problem", a dot for the rest."""
    pixmap = QPixmap(_SIDE, _SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    white = QPen(QColor("white"), 1.8)
    if state == "warning":
        painter.setBrush(QColor(AMBER))
        painter.drawPolygon(QPolygonF([QPointF(7, 1), QPointF(13.5, 13), QPointF(0.5, 13)]))
        painter.setPen(white)
        painter.drawLine(QPointF(7, 5.2), QPointF(7, 8.6))
        painter.drawPoint(QPointF(7, 11))
    elif state in ("good", "problem"):
        painter.setBrush(QColor(GREEN if state == "good" else RED))
        painter.drawEllipse(0, 0, _SIDE, _SIDE)
        painter.setPen(white)
        lines = [_TICK[:2], _TICK[1:]] if state == "good" else _CROSS
        for start, end in lines:
            painter.drawLine(QPointF(*start), QPointF(*end))
    else:
        painter.setBrush(QColor(GREY))
        painter.drawEllipse(5, 5, 4, 4)
    painter.end()
    return QIcon(pixmap)
