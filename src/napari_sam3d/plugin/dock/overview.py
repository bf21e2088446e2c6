"""The two tables of the dock, on a session: the points of an object, and all objects."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_sam3d.io import fresh_source
from napari_sam3d.plugin.dock.measuring import Measuring
from napari_sam3d.plugin.dock.object_table import ObjectRow, ObjectTable
from napari_sam3d.plugin.dock.parts import fold
from napari_sam3d.plugin.dock.prompt_table import PromptRow, PromptTable
from napari_sam3d.plugin.files import background, questions
from napari_sam3d.plugin.files.asking import ask_target
from napari_sam3d.plugin.session.measure import Measures, write_csv
from napari_sam3d.prompts import Box

if TYPE_CHECKING:
    from napari_sam3d.plugin.session.session import Session


class Overview(QWidget):
    """What was said about the current object, and what all objects are like.

    Parameters
    ----------
    session
        Whose points and objects are shown, and changed.
    """

    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """Why something was not done."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.prompts, self.objects = PromptTable(), ObjectTable()
        self.measuring = Measuring(session, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.prompt_section = fold(
            "Prompts of this object", self.prompts, "What was said about it, and where"
        )
        self.object_section = fold(
            "Objects and their measures", self.objects, "Volume, longest diameter, mean; as CSV"
        )
        layout.addWidget(self.prompt_section)
        layout.addWidget(self.object_section)
        # one look at the end of what may be many changes
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._show)
        session.changed.connect(self._soon)
        self.measuring.measured.connect(self._soon)
        self.object_section.toggled.connect(self.measuring.set_active)
        # one at a time: both together are higher than a small screen
        self.prompt_section.toggled.connect(partial(_make_way, self.object_section))
        self.object_section.toggled.connect(partial(_make_way, self.prompt_section))
        self.prompts.chosen.connect(session.look_at)
        self.prompts.delete_requested.connect(session.remove_prompt)
        self.objects.chosen.connect(self._on_chosen)
        self.objects.renamed.connect(session.rename)
        self.objects.classified.connect(session.classify)
        self.objects.locked.connect(session.lock)
        self.objects.color_requested.connect(self._on_color)
        self.objects.delete_requested.connect(self._on_delete)
        self.objects.export_requested.connect(self._on_export)
        self._show()

    def stop(self) -> None:
        """Leave the session alone."""
        self._session.changed.disconnect(self._soon)
        self._later.stop()
        self.measuring.close()

    def _soon(self) -> None:
        self._later.start()

    def _show(self) -> None:
        session, measures = self._session, self.measuring.values
        numbers = sorted(session.objects) if session.image is not None else []
        objects = {n: session.objects[n] for n in numbers}
        self.objects.set_value(
            [
                ObjectRow(n, it.title(n), session.color(n), measures.get(n), it.category, it.locked)
                for n, it in objects.items()
            ],
            session.current,
        )
        parts, volume = session.object.prompts.parts, session.volume
        if volume is None:
            self.prompts.set_value(())
            return
        source = volume.source or fresh_source(volume.grid)
        places = [source.to_ras(np.asarray(part.middle())) + 0.0 for part in parts]
        self.prompts.set_value(
            [
                PromptRow(
                    type(part).__name__,
                    isinstance(part, Box) or part.positive,
                    (float(r), float(a), float(s)),
                )
                for part, (r, a, s) in zip(parts, places, strict=True)
            ]
        )

    def _on_chosen(self, number: int) -> None:
        if number != self._session.current:
            self._session.select(number)

    def _on_color(self, number: int) -> None:
        now = QColor.fromRgbF(*self._session.color(number))
        title = f"Colour of {self._session.title(number)}"
        chosen = QColorDialog.getColor(now, self, title)
        if chosen.isValid():
            self._session.recolor(number, chosen.name())

    def _on_delete(self, number: int) -> None:
        title = self._session.title(number)
        if sentence := self._session.why_locked(number):
            self.refused.emit(sentence)
            return
        question = f"{title} goes with its points and its mask. Undo does not bring it back."
        if questions.allow(question, "Delete", self):
            self._session.delete(number)
            self.said.emit(f"{title} was deleted.")

    def _on_export(self) -> None:
        try:
            sentence = self._export()
        except (ValueError, OSError) as error:
            self.refused.emit(str(error))
            return
        if sentence:
            self.said.emit(sentence)

    def _export(self) -> str:
        image, volume = self._session.require_image()
        path = ask_target(
            image, volume, "_objects.csv", "Export the table", "Table (*.csv)", _csv_path, self
        )
        if path is None:
            return ""
        objects = sorted(self._session.objects.items())
        rows = [(number, it.title(number), it.category) for number, it in objects]
        try:
            measures = background.run(self.measuring.now(), "Measuring the objects")
        except background.Cancelled:
            return ""
        write_csv(path, [(*row, measures.get(row[0], Measures())) for row in rows])
        return f"Table saved in {path.name}."


def _csv_path(typed: str) -> Path:
    return Path(typed) if Path(typed).suffix else Path(f"{typed}.csv")


def _make_way(section: QCollapsible, other_is_open: bool) -> None:
    if other_is_open and section.isExpanded():
        section.collapse(animate=False)
