"""What masks do where the user has painted, and where objects meet: a part of the Segment dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QWidget

from napari_sam3d.plugin.dock.parts import button

if TYPE_CHECKING:
    from napari_sam3d.plugin.session.session import Session

_MEET = {"Keep what is there": False, "Overwrite": True}


class HandControls(QWidget):
    """Keep or forget hand edits, keep or overwrite other objects.

    Parameters
    ----------
    session
        Its `hand` is told.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.keep = QCheckBox("Keep hand edits")
        self.keep.setToolTip(
            "Voxels that you paint or erase in the mask layer stay as you left them when the next "
            "mask comes. Off: the next mask of an object replaces them"
        )
        self.keep.setChecked(session.hand.keep)
        self.forget = button(
            "Forget edits",
            "Leave what you painted and erased of this object to the next mask; nothing changes "
            "now",
        )
        self.meet = QComboBox()
        for text, overwrite in _MEET.items():
            self.meet.addItem(text, overwrite)
        self.meet.setToolTip(
            "Where a mask meets another object: keep the voxels of that object, or take them. What "
            "was painted by hand stays in both cases"
        )
        self.meet.setCurrentIndex(self.meet.findData(session.hand.overwrite))
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.keep, 0, 0)
        layout.addWidget(self.forget, 0, 1)
        layout.addWidget(QLabel("Objects meet"), 1, 0)
        layout.addWidget(self.meet, 1, 1)
        self.keep.toggled.connect(self._on_keep)
        self.forget.clicked.connect(self._on_forget)
        self.meet.activated.connect(self._on_meet)
        session.changed.connect(self.refresh)
        session.hand.changed.connect(self.refresh)
        self.refresh()

    def teardown(self) -> None:
        """Listen no longer."""
        self._session.changed.disconnect(self.refresh)
        self._session.hand.changed.disconnect(self.refresh)

    def refresh(self) -> None:
        """There is something to forget, or not."""
        self.forget.setEnabled(self._session.hand.edits.about(self._session.current))

    def _on_keep(self, keep: bool) -> None:
        self._session.hand.keep = keep

    def _on_forget(self) -> None:
        self._session.hand.forget(self._session.current)

    def _on_meet(self, index: int) -> None:
        self._session.hand.overwrite = bool(self.meet.itemData(index))
