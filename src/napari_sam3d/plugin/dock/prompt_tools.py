"""Which tool the mouse has in the viewer, and how deep the box is that was drawn with it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QTimer
from qtpy.QtWidgets import (
    QButtonGroup,
    QLabel,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
)
from superqt.utils import qthrottled

from napari_sam3d.plugin.dock.parts import button, row
from napari_sam3d.prompts import Box

if TYPE_CHECKING:
    from napari_sam3d.plugin.session.session import Session

_TIPS = {
    "point": "Click on the object, in a slice or in 3D",
    "box": (
        "Draw a rectangle in a slice, or click two opposite corners, also in other slices or in "
        "3D; Esc gives up, Space held moves the view"
    ),
    "scribble": (
        "Paint a stroke along the object in a slice; Ctrl paints the other kind, Esc gives up, "
        "Space held moves the view"
    ),
}
_PACE_MS = 30
"""Between two looks at what is under the mouse in 3D."""
_PAUSE_MS = 400
"""Of the user at the slices, after which the box is taken: each is one step to undo."""


class PromptTools(QWidget):
    """Buttons for the tools and, while there is a box, its slices.

    Parameters
    ----------
    session
        Is told the tool and the box, and says when there is another one.

    Attributes
    ----------
    depth
        The slices, which stand where there is more room.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._axis = 0
        session.pace = partial(qthrottled, timeout=_PACE_MS)
        group = QButtonGroup(self)
        self.buttons: dict[str, QPushButton] = {}
        for tool, tip in _TIPS.items():
            self.buttons[tool] = it = button(tool.capitalize(), tip)
            it.setCheckable(True)
            it.setChecked(tool == "point")
            it.toggled.connect(lambda on, tool=tool: session.set_tool(tool) if on else None)
            group.addButton(it)
        self.first, self.last = QSpinBox(), QSpinBox()
        self.first.setToolTip("The first slice of the box, along the axis across which it lies")
        self.last.setToolTip("The last slice of the box, along the axis across which it lies")
        self.remove = QToolButton()  # the words would widen the dock
        self.remove.setText("✕")
        self.remove.setToolTip("Take the box of this object away; Undo helps")
        self.depth = QWidget(self)
        inner = row(QLabel("Slices"), self.first, QLabel("to"), self.last, self.remove)
        inner.setContentsMargins(0, 0, 0, 0)
        for i in range(inner.count()):
            inner.setStretch(i, int(i in (1, 3)))
        self.depth.setLayout(inner)
        layout = row(*self.buttons.values())
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self._later = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._later.timeout.connect(self._on_pause)
        for box in (self.first, self.last):
            box.valueChanged.connect(self._on_slices)
        self.remove.clicked.connect(self._on_remove)
        session.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the box of the current object."""
        self._later.stop()
        session = self._session
        box = session.object.prompts.box
        self.depth.setVisible(box is not None)
        if box is None:
            return
        _, volume = session.require_image()
        if session.prompt_layer is not None:
            self._axis = session.prompt_layer.box_axis
        first, last = (corner[self._axis] for corner in box.voxels())
        with QSignalBlocker(self.first), QSignalBlocker(self.last):
            self.first.setRange(0, last)
            self.first.setValue(first)
            self.last.setRange(first, volume.grid.shape[self._axis] - 1)
            self.last.setValue(last)

    def _on_slices(self) -> None:
        self.first.setMaximum(self.last.value())
        self.last.setMinimum(self.first.value())
        self._later.start()

    def _on_pause(self) -> None:
        box = self._session.object.prompts.box
        if box is not None:
            low, high = (list(corner) for corner in box.array().tolist())
            low[self._axis], high[self._axis] = float(self.first.value()), float(self.last.value())
            self._session.set_box(Box(tuple(low), tuple(high)))

    def _on_remove(self) -> None:
        self._session.set_box(None)
