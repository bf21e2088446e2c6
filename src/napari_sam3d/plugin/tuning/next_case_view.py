"""What is seen of a folder of volumes: the list, the buttons, and the bar in the Segment dock."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam3d.plugin.dock.parts import button, row
from napari_sam3d.plugin.dock.tables import cell, low_table

_SIGN, _NAME = 0, 1
SIGNS = {
    "done": ("✓", "Has labels"),
    "open": ("▸", "Is open"),
    "skipped": ("–", "Was skipped"),
    "failed": ("!", "Cannot be used"),
    "": ("", "Has no labels yet"),
}


class CaseList(QWidget):
    """The volumes of a folder, and how many of them have labels."""

    chosen = Signal(int)
    """A volume was double-clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.table = low_table(
            ("", "A tick where there are labels"),
            ("Volume", "The images of the folder; double-click to open one"),
            stretched=_NAME,
        )
        self.table.setEditTriggers(self.table.EditTrigger.NoEditTriggers)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at their ends
        self.table.setToolTip("The images of the folder; double-click to open one")
        self.count = QLabel()
        self.count.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.count)
        self.table.cellDoubleClicked.connect(lambda line, _: self.chosen.emit(line))

    def set_value(self, names: Sequence[str], states: Sequence[str]) -> None:
        """Show volumes, and of each its state: a key of `SIGNS`."""
        self.table.setRowCount(len(names))
        for line, (name, state) in enumerate(zip(names, states, strict=True)):
            sign, meaning = SIGNS[state]
            cell(self.table, line, _SIGN, sign).setToolTip(meaning)
            cell(self.table, line, _NAME, name).setToolTip(f"{name}\n{meaning}")
            if state == "open":
                self.table.setCurrentCell(line, _NAME)
        done = sum(state == "done" for state in states)
        self.count.setText(f"{done} of {len(names)} have labels" if names else "")
        self.setVisible(bool(names))


class CaseButtons(QWidget):
    """What can be done with the volume that is open."""

    next_requested = Signal()
    add_requested = Signal()
    skip_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.add = button(
            "Add to the training set",
            "Write the masks as labels beside the image, and add both to the training pairs",
        )
        self.skip = button("Skip", "Close this volume without labels, and open the next one")
        self.next = button("Open next case", "Close this volume, and open the next without labels")
        self.add.clicked.connect(self.add_requested)
        self.skip.clicked.connect(self.skip_requested)
        self.next.clicked.connect(self.next_requested)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addWidget(self.add)
        layout.addLayout(row(self.next, self.skip))

    def set_state(self, text: str, is_open: bool, is_added: bool, more: bool) -> None:
        """Show what is possible.

        Parameters
        ----------
        text
            Which volume is open; empty for none.
        is_open, is_added
            Whether there is one, and whether it is in the training set.
        more
            Whether there are volumes without labels.
        """
        self.text.setText(text)
        self.text.setVisible(bool(text))
        self.add.setVisible(is_open)
        self.add.setEnabled(is_open and not is_added)
        self.skip.setVisible(is_open and not is_added)
        self.next.setEnabled(more)
