"""Curves of a training: Dice of what is held out beside that of the model before, and the loss."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam3d.engine.training.events import COUNTED
from napari_sam3d.plugin.tuning.record import Record

if TYPE_CHECKING:
    from napari.components import ViewerModel

_COLORS = ("#3b8fe0", "#dd7d1a", "#2fa36b")
"""Of the Dice after each count of clicks: told apart by everybody, on light and on dark."""
_LOSS = "#8f7fe0"
_DICE_HIGH, _LOSS_HIGH = 150, 102
_AXIS = 44  # pixels for the numbers at the left
_MARGIN = 0.04


class Curves(QWidget):
    """Two plots over the same steps, with the legend above them, where it hides no curve.

    Parameters
    ----------
    viewer
        Its theme gives the colours of paper and ink.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        pg = _pyqtgraph()
        self._dash = Qt.PenStyle.DashLine
        self.legend = QLabel(_legend())
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.dice, self.loss = (_plot(pg, title) for title in ("Dice", "loss"))
        self.dice.setFixedHeight(_DICE_HIGH)
        self.loss.setFixedHeight(_LOSS_HIGH)
        self.loss.setLabel("bottom", "step")
        self.scores = [
            self.dice.plot(pen=pg.mkPen(color, width=2), symbol="o", symbolSize=5)
            for color in _COLORS
        ]
        for curve, color in zip(self.scores, _COLORS, strict=True):
            curve.setSymbolBrush(color)
            curve.setSymbolPen(color)
        self._bases = [
            self.dice.plot(pen=pg.mkPen(color, width=1.5, style=self._dash)) for color in _COLORS
        ]
        self._losses = self.loss.plot(pen=pg.mkPen(_LOSS, width=2))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for part in (self.legend, self.dice, self.loss):
            layout.addWidget(part)
        self.setToolTip(
            "Above: how well the model does on what is held out, after 1, 3 and 5 clicks; dashed, "
            "as it was before tuning. Below: the loss, smoothed"
        )
        viewer.events.theme.connect(self.restyle)
        self.restyle()

    def sizeHint(self) -> QSize:
        return QSize(200, super().sizeHint().height())

    def set_value(self, record: Record) -> None:
        """Draw what has been told so far."""
        if record.started is not None:
            self.legend.setText(_legend(record.started.counted))
        last = max(record.steps, 1)
        self.dice.setXRange(0, last, padding=0.02)
        self.loss.setXRange(0, last, padding=0.02)
        at = np.array([look.step for look in record.looks], float)
        for number, curve in enumerate(self.scores):
            told = [value for look in record.looks for value in look.dice[number : number + 1]]
            curve.setData(at[: len(told)], np.array(told, float))
        for number, line in enumerate(self._bases):
            base = record.base[number : number + 1]
            line.setData([0.0, last] if base else [], [*base, *base])
        told = [value for look in record.looks for value in look.dice] + [*record.base]
        low, high = (min(told), max(told)) if told else (0.0, 1.0)
        self.dice.setYRange(max(0.0, low - _MARGIN), min(1.0, high + _MARGIN), padding=0)
        losses = np.array(record.losses, float).reshape(-1, 2)
        self._losses.setData(losses[:, 0], losses[:, 1])

    def restyle(self, *_: Any) -> None:
        """Take the colours of the theme."""
        theme = get_theme(self._viewer.theme)
        ink = theme.text.as_rgb_tuple()
        for plot in (self.dice, self.loss):
            plot.setBackground(theme.foreground.as_rgb_tuple())
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen((*ink[:3], 110))
                axis.setTextPen(ink)

    def leave(self) -> None:
        """Leave the viewer alone."""
        self._viewer.events.theme.disconnect(self.restyle)


def _plot(pg: Any, title: str) -> Any:
    """A plot that is looked at, not worked with: the wheel scrolls the dock."""
    plot = pg.PlotWidget()
    plot.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    plot.setMinimumWidth(0)
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(False, False)
    plot.setLabel("left", title)
    plot.getAxis("left").setWidth(_AXIS)
    for side in ("left", "bottom"):
        plot.getAxis(side).enableAutoSIPrefix(False)
    plot.showGrid(x=False, y=True, alpha=0.15)
    plot.getPlotItem().setContentsMargins(0, 4, 8, 4)
    return plot


def _legend(counted: Sequence[int] = COUNTED) -> str:
    words = [
        f"{count} click{'s' * (count > 1)}" if count else "without clicks" for count in counted
    ]
    parts = [
        f'<span style="color:{color}">●</span>&nbsp;{word.replace(" ", "&nbsp;")}'
        for color, word in zip(_COLORS, words, strict=False)
    ]
    return " &nbsp;".join([*parts, "╌&nbsp;before"])


def _pyqtgraph() -> Any:
    """Imported with the first plot; it would put itself before napari's way of showing errors."""
    hooks = sys.excepthook, threading.excepthook
    try:
        import pyqtgraph

        return pyqtgraph
    finally:
        sys.excepthook, threading.excepthook = hooks
