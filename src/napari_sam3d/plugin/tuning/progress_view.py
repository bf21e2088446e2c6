"""How a training goes: curves, where it is, how good it is, and the preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam3d.plugin.tuning.curves import Curves
from napari_sam3d.plugin.tuning.preview import Find, PreviewLayer
from napari_sam3d.plugin.tuning.record import Record
from napari_sam3d.plugin.tuning.verdict_bar import breakable

if TYPE_CHECKING:
    from napari.components import ViewerModel

_DRAW_MS = 200
"""Steps that come faster are drawn together."""


class ProgressView(QWidget):
    """Hidden until a training begins; stays when it is over.

    Parameters
    ----------
    viewer, find
        As for the preview.
    """

    def __init__(self, viewer: ViewerModel, find: Find) -> None:
        super().__init__()
        self._record = Record()
        self.title, self.where, self.scores = QLabel(), QLabel(), QLabel()
        self.title.setToolTip("What is tuned, and on what")
        self.where.setToolTip("How far it is, and how long it will take")
        self.scores.setToolTip("Dice on what is held out, after 1, 3 and 5 clicks")
        self.curves = Curves(viewer)
        self.preview = PreviewLayer(viewer, find)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for label in (self.title, self.where, self.scores):
            label.setWordWrap(True)
            layout.addWidget(label)
        layout.addWidget(self.curves)
        layout.addWidget(self.preview)
        self._soon = QTimer(self, singleShot=True, interval=_DRAW_MS)
        self._soon.timeout.connect(self._draw)
        self.hide()

    def begin(self, record: Record) -> None:
        """Show another training."""
        self._record = record
        self._draw()
        self.show()

    def refresh(self) -> None:
        """The record has grown."""
        self.where.setText(self._record.where())
        if not self._soon.isActive():
            self._soon.start()

    def end(self, how: str) -> None:
        """The training is over, in a word."""
        self._soon.stop()
        self._draw()
        self.where.setText(f"{how} after step {self._record.step} of {self._record.steps}")

    def leave(self) -> None:
        """Leave the viewer alone."""
        self._soon.stop()
        self.preview.leave()
        self.curves.leave()

    def _draw(self) -> None:
        record = self._record
        if record.started is not None:
            self.title.setText(breakable(_title(record)))
        self.where.setText(record.where())
        self.scores.setText(record.scores())
        self.curves.set_value(record)


def _title(record: Record) -> str:
    it = record.started
    assert it is not None
    learned = _count(len(it.cases))
    held = "slices of the same" if it.optimistic else _count(len(it.held_out))
    return f"{it.name}: learns from {learned}, judged on {held}"


def _count(volumes: int) -> str:
    return "1 volume" if volumes == 1 else f"{volumes} volumes"
