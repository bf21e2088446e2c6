"""What came of a training, which stays until it is closed or another one begins."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from napari_sam3d.plugin.dock.parts import button
from napari_sam3d.plugin.tuning.state_icons import state_icon

_SIDE = 14


class VerdictBar(QFrame):
    """A sign, a sentence, and what can be done next; hidden until there is a verdict."""

    use_requested = Signal()
    folder_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.sign = QLabel()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setToolTip("What came of the training")
        self.dismiss = QToolButton()
        self.dismiss.setText("✕")
        self.dismiss.setToolTip("Close this; the files of the training stay")
        self.use = button(
            "Use it in Segment", "Choose the model with this adapter in the Segment dock"
        )
        self.folder = button(
            "Open its folder", "Show the files of the training: curves, log, adapters"
        )
        top = QHBoxLayout()
        top.addWidget(self.sign, alignment=Qt.AlignmentFlag.AlignTop)
        top.addWidget(self.text, stretch=1)
        top.addWidget(self.dismiss, alignment=Qt.AlignmentFlag.AlignTop)
        below = QHBoxLayout()
        below.addWidget(self.use)
        below.addWidget(self.folder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(top)
        layout.addLayout(below)
        self.dismiss.clicked.connect(self.hide)
        self.use.clicked.connect(self.use_requested)
        self.folder.clicked.connect(self.folder_requested)
        self.hide()

    def set_verdict(self, state: str, sentence: str, can_use: bool, has_folder: bool) -> None:
        """Say it.

        Parameters
        ----------
        state
            "good", "warning" or "problem".
        sentence
            What came of it.
        can_use
            Whether there is an adapter that can be chosen.
        has_folder
            Whether there are files.
        """
        self.sign.setPixmap(state_icon(state).pixmap(_SIDE, _SIDE))
        self.text.setText(breakable(sentence))
        self.use.setVisible(can_use)
        self.folder.setVisible(has_folder)
        self.show()


def breakable(text: str) -> str:
    """A text that can be wrapped within names of files, too."""
    return "".join(f"{it}\u200b" if it in "_/\\" else it for it in text)


def stacked(*widgets: QWidget) -> QWidget:
    """Below each other, without a margin."""
    it = QWidget()
    layout = QVBoxLayout(it)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return it
