"""What the dock is put together from: buttons, rows, folds, and a column that scrolls."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QObject, QSize, Qt
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

    def minimumSizeHint(self) -> QSize:
        """So wide that nothing is cut off, also beside the bar; as low as any other."""
        inner, bar = self.widget(), self.verticalScrollBar()
        high = super().minimumSizeHint().height()
        if inner is None or bar is None:
            return QSize(0, high)
        beside = bar.sizeHint().width() + 2 * self.frameWidth()
        return QSize(inner.minimumSizeHint().width() + beside, high)

    def sizeHint(self) -> QSize:
        inner = self.widget()
        high = 0 if inner is None else inner.sizeHint().height()
        return QSize(self.minimumSizeHint().width(), high + 2 * self.frameWidth())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or not isinstance(watched, QWidget):
            return super().eventFilter(watched, event)
        if event.type() == QEvent.Type.LayoutRequest and watched is self.widget():
            self.updateGeometry()
        if event.type() == QEvent.Type.Wheel and _turns_with_the_wheel(watched):
            if not watched.hasFocus():
                event.ignore()  # goes on to what scrolls
                return True
        return super().eventFilter(watched, event)


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
    # a text has the colour of the theme; an icon would keep that of its first moment
    it = QCollapsible(title, expandedIcon=QIcon(), collapsedIcon=QIcon())
    it.toggled.connect(lambda opened: it.setText(_title(title, opened)))
    it.setText(_title(title, False))
    it.toggleButton().setToolTip(tooltip)
    it.setDuration(0)
    it.addWidget(content)
    it.layout().setContentsMargins(0, 0, 0, 0)
    it.layout().setSpacing(0)
    it.content().layout().setContentsMargins(0, 6, 0, 6)
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


def _title(title: str, opened: bool) -> str:
    return f"{'▾' if opened else '▸'}  {title}"


def _turns_with_the_wheel(widget: QWidget) -> bool:
    kinds = (QComboBox, QAbstractSpinBox, QAbstractSlider)
    return isinstance(widget, kinds) and not isinstance(widget, QScrollBar)
