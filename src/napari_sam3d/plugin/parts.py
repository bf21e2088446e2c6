"""What the dock is put together from: buttons, rows, folds, and a column that scrolls."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

_NARROW = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon


class Column(QScrollArea):
    """Parts one below the other, that scroll where the screen is too low for them.

    The wheel scrolls, also over a control: it changes a value only where the user has clicked
    before.

    Parameters
    ----------
    parts
        From top to bottom.
    """

    def __init__(self, parts: Sequence[QWidget]) -> None:
        super().__init__()
        inner = QWidget()
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in parts:
            layout.addWidget(part)
        layout.addStretch(1)
        for control in inner.findChildren(QWidget):
            if _turns_with_the_wheel(control):
                control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                control.installEventFilter(self)
        inner.installEventFilter(self)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or not isinstance(watched, QWidget):
            return False
        if event.type() == QEvent.Type.LayoutRequest and watched is self.widget():
            bar = self.verticalScrollBar()
            width = bar.sizeHint().width() if bar is not None else 0
            self.setMinimumWidth(watched.minimumSizeHint().width() + width)
        if event.type() == QEvent.Type.Wheel and _turns_with_the_wheel(watched):
            if not watched.hasFocus():
                event.ignore()  # goes on to what scrolls
                return True
        return False


class StatusLine(QLabel):
    """A sentence, with room for all its lines and for two at least."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setToolTip("What was done last, or is being done")

    def set_sentence(self, sentence: str) -> None:
        self.setText(sentence)
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Else a long sentence presses on what is below."""
        lines = 2 * self.fontMetrics().lineSpacing()
        self.setMinimumHeight(max(lines, self.heightForWidth(self.width())))


def button(text: str, tooltip: str) -> QPushButton:
    it = QPushButton(text)
    it.setToolTip(tooltip)
    return it


def row(*widgets: QWidget) -> QHBoxLayout:
    """Side by side, each as wide as the others."""
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget, stretch=1)
    return layout


def fold(title: str, content: QWidget, tooltip: str) -> QCollapsible:
    """A part that is closed until its title is clicked."""
    it = QCollapsible(title, expandedIcon="▾", collapsedIcon="▸")
    it.toggleButton().setToolTip(tooltip)
    it.setDuration(0)
    it.addWidget(content)
    it.layout().setContentsMargins(0, 0, 0, 0)
    return it


def keep_narrow(box: QComboBox) -> None:
    """A long name must not widen the whole dock."""
    box.setSizeAdjustPolicy(_NARROW)
    box.setMinimumContentsLength(8)


def swatch(color: Sequence[float]) -> QIcon:
    """A square in a colour: RGB, 0 to 1."""
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor.fromRgbF(*color))
    return QIcon(pixmap)


def _turns_with_the_wheel(widget: QWidget) -> bool:
    kinds = (QComboBox, QAbstractSpinBox, QAbstractSlider)
    return isinstance(widget, kinds) and not isinstance(widget, QScrollBar)
