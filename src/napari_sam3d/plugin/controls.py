"""The buttons of the Segment dock: what the user asks for leaves as signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap, QResizeEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

KEYS = {"new": "N", "kind": "G", "cancel": "Escape"}
"""Keys bound in the viewer; napari 0.9 has no use of its own for them."""
_STEPS = 1000
_NARROW = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon


@dataclass(frozen=True, kw_only=True)
class State:
    """What the controls show.

    Parameters
    ----------
    objects
        Number, title and colour (0 to 1, RGB) of each object.
    current
        Number of the current object.
    """

    objects: tuple[tuple[int, str, tuple[float, float, float]], ...] = ()
    current: int = 1
    can_undo: bool = False
    can_redo: bool = False
    can_clear: bool = False
    has_image: bool = False


class Controls(QWidget):
    """Kind of point, objects, history, run and status.

    Parameters
    ----------
    rows
        Labels and widgets for the top, in line with our own.
    """

    positive_changed = Signal(bool)
    object_chosen = Signal(int)
    new_requested = Signal()
    undo_requested = Signal()
    redo_requested = Signal()
    clear_requested = Signal()
    segment_requested = Signal()
    cancel_requested = Signal()
    open_requested = Signal()
    add_weights_requested = Signal()
    save_requested = Signal()
    save_prompts_requested = Signal()
    load_prompts_requested = Signal()

    def __init__(self, rows: Sequence[tuple[str, QWidget]] = ()) -> None:
        super().__init__()
        flip = f"key {KEYS['kind']} switches; Ctrl+click places the other kind once"
        self.positive = QRadioButton("Positive")
        self.positive.setToolTip(f"Points say: this belongs to the object ({flip})")
        self.positive.setChecked(True)
        self.negative = QRadioButton("Negative")
        self.negative.setToolTip(f"Points say: this does not belong to the object ({flip})")
        kinds = QButtonGroup(self)
        kinds.addButton(self.positive)
        kinds.addButton(self.negative)
        self.positive.toggled.connect(self.positive_changed)
        self.objects = QComboBox()
        self.objects.setToolTip("The object that points belong to; choose one to go on with it")
        self.objects.activated.connect(self._on_object)
        self.new = _button("New object", f"Begin the next object (key {KEYS['new']})")
        self.undo = _button("Undo", "Take back the last change of points (Ctrl+Z on the points)")
        self.redo = _button("Redo", "Bring back what was undone (Ctrl+Shift+Z on the points)")
        self.clear = _button("Clear", "Remove the points and the mask of this object; Undo helps")
        self.auto = QCheckBox("Segment after each point")
        self.auto.setToolTip("Off: place several points, then press Segment")
        self.auto.setChecked(True)
        self.segment = _button("Segment", "Compute the mask of this object now")
        self.cancel = _button("Cancel", "Stop the computation (key Esc)")
        self.open = _button("Open NIfTI...", "Choose an image file (.nii, .nii.gz, .hdr, .img)")
        self.add_weights = _button(
            "Add weights...", "Choose a file of weights, of whatever model; it is recognised"
        )
        self.save = _button("Save masks...", "Write masks as NIfTI, with the names of their labels")
        self.prompts = _button("Prompts", "Save the points of all objects in a file, or load them")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        saving = menu.addAction("Save prompts...", self.save_prompts_requested.emit)
        saving.setToolTip("Write the points of all objects, to go on with them on another day")
        loading = menu.addAction("Load prompts...", self.load_prompts_requested.emit)
        loading.setToolTip("Add the objects of a file to those that are here")
        self.prompts.setMenu(menu)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setFixedHeight(4)
        keep = self.busy.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.busy.setSizePolicy(keep)
        for button, signal in (
            (self.new, self.new_requested),
            (self.undo, self.undo_requested),
            (self.redo, self.redo_requested),
            (self.clear, self.clear_requested),
            (self.segment, self.segment_requested),
            (self.cancel, self.cancel_requested),
            (self.open, self.open_requested),
            (self.add_weights, self.add_weights_requested),
            (self.save, self.save_requested),
        ):
            button.clicked.connect(signal)
        self._lay_out(rows)
        self.set_state(State())
        self.set_busy(False)

    def _lay_out(self, rows: Sequence[tuple[str, QWidget]]) -> None:
        self._form = form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, widget in rows:
            widget.setMinimumWidth(0)
            form.addRow(label, widget)
            if label == "Model":
                form.addRow("", self.add_weights)
        for box in (*(widget for _, widget in rows), self.objects):
            if isinstance(box, QComboBox):  # a long name must not widen the whole dock
                box.setSizeAdjustPolicy(_NARROW)
                box.setMinimumContentsLength(8)
        form.addRow("Point", _row(self.positive, self.negative))
        form.addRow("Object", _row(self.objects, self.new))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.open)
        layout.addLayout(form)
        layout.addLayout(_row(self.undo, self.redo, self.clear))
        layout.addWidget(self.auto)
        layout.addLayout(_row(self.segment, self.cancel))
        layout.addWidget(self.busy)
        layout.addWidget(self.status)
        layout.addLayout(_row(self.save, self.prompts))

    def add_section(self, section: QWidget) -> None:
        """Add what is used after a mask is there, and before it is saved."""
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(layout.count() - 1, section)

    def set_state(self, state: State) -> None:
        self.objects.clear()
        for number, title, color in state.objects:
            self.objects.addItem(_swatch(color), title, number)
            self.objects.setItemData(self.objects.count() - 1, title, Qt.ItemDataRole.ToolTipRole)
        self.objects.setCurrentIndex(self.objects.findData(state.current))
        self.objects.setEnabled(bool(state.objects))
        self.undo.setEnabled(state.can_undo)
        self.redo.setEnabled(state.can_redo)
        self.clear.setEnabled(state.can_clear)
        self.open.setVisible(not state.has_image)

    def set_busy(self, busy: bool) -> None:
        self.set_progress(None)
        self.busy.setVisible(busy)
        self.cancel.setEnabled(busy)

    def show_row(self, widget: QWidget, shown: bool) -> None:
        """Show or hide one of the rows at the top, with its label."""
        widget.setVisible(shown)
        self._form.labelForField(widget).setVisible(shown)  # QFormLayout.setRowVisible needs Qt 6

    def set_status(self, sentence: str) -> None:
        self.status.setText(sentence)
        self._fit_status()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit_status()

    def _fit_status(self) -> None:
        """Room for all lines, and for two at least; else a long sentence presses on the buttons."""
        lines = 2 * self.status.fontMetrics().lineSpacing()
        self.status.setMinimumHeight(max(lines, self.status.heightForWidth(self.status.width())))

    def set_progress(self, share: float | None) -> None:
        """Show the share that is done, 0 to 1, or that nobody knows it."""
        self.busy.setRange(0, 0 if share is None else _STEPS)
        if share is not None:
            self.busy.setValue(round(_STEPS * share))

    def set_takes(self, clicks: bool, negative: bool) -> None:
        """Grey out the points that a model does not know."""
        self.positive.setEnabled(clicks)
        self.negative.setEnabled(negative)
        self.auto.setEnabled(clicks)
        if not negative:
            self.positive.setChecked(True)

    def switch_kind(self) -> None:
        """Positive to negative, or back."""
        other = self.negative if self.positive.isChecked() else self.positive
        if other.isEnabled():
            other.setChecked(True)

    def _on_object(self, index: int) -> None:
        self.object_chosen.emit(self.objects.itemData(index))


def _button(text: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tooltip)
    return button


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, stretch=1)
    return row


def _swatch(color: Sequence[float]) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor.fromRgbF(*color))
    return QIcon(pixmap)
