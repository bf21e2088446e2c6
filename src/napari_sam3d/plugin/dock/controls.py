"""What the dock always shows: image, model, prompts, objects, and what is being done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QProgressBar,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam3d.plugin.dock.keys import KEYS
from napari_sam3d.plugin.dock.parts import StatusLine, button, keep_narrow, row, swatch

_STEPS = 1000


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


class Controls(QWidget):
    """Sign of prompts, objects, history, run and status: what the user wants leaves as signals.

    Parameters
    ----------
    rows
        Labels and widgets for the top, in line with our own; without a label over the whole width.
    """

    positive_changed = Signal(bool)
    object_chosen = Signal(int)
    new_requested = Signal()
    undo_requested = Signal()
    redo_requested = Signal()
    clear_requested = Signal()
    segment_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, rows: Sequence[tuple[str, QWidget]] = ()) -> None:
        super().__init__()
        flip = f"key {KEYS['kind']} switches; Ctrl+click places the other kind once"
        self.positive = QRadioButton("Positive")
        self.positive.setToolTip(f"Prompts say: this belongs to the object ({flip})")
        self.positive.setChecked(True)
        self.negative = QRadioButton("Negative")
        self.negative.setToolTip(f"Prompts say: this does not belong to the object ({flip})")
        kinds = QButtonGroup(self)
        kinds.addButton(self.positive)
        kinds.addButton(self.negative)
        self.positive.toggled.connect(self.positive_changed)
        self.objects = QComboBox()
        self.objects.setToolTip("The object that prompts belong to; choose one to go on with it")
        self.objects.activated.connect(self._on_object)
        keep_narrow(self.objects)
        self.new = button("New object", f"Begin the next object (key {KEYS['new']})")
        self.undo = button("Undo", "Take back the last prompt (Ctrl+Z in the prompt layer)")
        self.redo = button("Redo", "Bring back what was undone (Ctrl+Shift+Z in the prompt layer)")
        self.clear = button("Clear", "Remove the prompts and the mask of this object; Undo helps")
        self.auto = QCheckBox("Segment after each prompt")
        self.auto.setToolTip("Off: place several prompts, then press Segment")
        self.auto.setChecked(True)
        self.segment = button("Segment", "Compute the mask of this object now")
        self.cancel = button("Cancel", "Stop the computation (key Esc)")
        self.status = StatusLine()
        self.busy = QProgressBar()
        self.busy.setToolTip("How far the computation is, where that is known")
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setFixedHeight(4)
        keep = self.busy.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.busy.setSizePolicy(keep)
        for it, signal in (
            (self.new, self.new_requested),
            (self.undo, self.undo_requested),
            (self.redo, self.redo_requested),
            (self.clear, self.clear_requested),
            (self.segment, self.segment_requested),
            (self.cancel, self.cancel_requested),
        ):
            it.clicked.connect(signal)
        self._lay_out(rows)
        self.set_state(State())
        self.set_busy(False)

    def _lay_out(self, rows: Sequence[tuple[str, QWidget]]) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, widget in rows:
            widget.setMinimumWidth(0)
            if label:
                form.addRow(label, widget)
            else:
                form.addRow(widget)
        form.addRow("Sign", row(self.positive, self.negative))
        form.addRow("Object", row(self.objects, self.new))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addLayout(row(self.undo, self.redo, self.clear))
        layout.addWidget(self.auto)
        layout.addLayout(row(self.segment, self.cancel))
        layout.addWidget(self.busy)
        layout.addWidget(self.status)

    def set_state(self, state: State) -> None:
        self.objects.clear()
        for number, title, color in state.objects:
            self.objects.addItem(swatch(color), title, number)
            self.objects.setItemData(self.objects.count() - 1, title, Qt.ItemDataRole.ToolTipRole)
        self.objects.setCurrentIndex(self.objects.findData(state.current))
        self.objects.setEnabled(bool(state.objects))
        self.undo.setEnabled(state.can_undo)
        self.redo.setEnabled(state.can_redo)
        self.clear.setEnabled(state.can_clear)

    def set_busy(self, busy: bool) -> None:
        self.set_progress(None)
        self.busy.setVisible(busy)
        self.cancel.setEnabled(busy)

    def set_progress(self, share: float | None) -> None:
        """Show the share that is done, 0 to 1, or that nobody knows it."""
        self.busy.setRange(0, 0 if share is None else _STEPS)
        if share is not None:
            self.busy.setValue(round(_STEPS * share))

    def set_takes(self, clicks: bool, negative: bool, box: bool) -> None:
        """Grey out what means nothing to a model."""
        self.positive.setEnabled(clicks)
        self.negative.setEnabled(negative)
        self.auto.setEnabled(clicks or box)
        if not negative:
            self.positive.setChecked(True)

    def switch_kind(self) -> None:
        """Positive to negative, or back."""
        other = self.negative if self.positive.isChecked() else self.positive
        if other.isEnabled():
            other.setChecked(True)

    def _on_object(self, index: int) -> None:
        self.object_chosen.emit(self.objects.itemData(index))
