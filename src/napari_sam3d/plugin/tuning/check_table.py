"""The table of what was found out before a training, with a button for what can be mended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sam3d.plugin.dock.tables import LowTable, cell, low_table
from napari_sam3d.plugin.tuning.state_icons import state_icon
from napari_sam3d.plugin.tuning.verdict_bar import breakable

if TYPE_CHECKING:
    from napari_sam3d.engine.training.preflight import Check

_ORDER = ("problem", "warning", "good")
_SIGN, _SENTENCE = 0, 1
_HIGHEST, _QUIET = 190, 84  # pixels, with something to do and without


class CheckTable(QWidget):
    """Problems first, then remarks, then what is in order."""

    fix_requested = Signal(object, str)
    """A `Check`, and the text of the button that was pressed."""

    def __init__(self) -> None:
        super().__init__()
        self._checks: tuple[Check, ...] = ()
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.summary.setToolTip("What the checks came to; they run by themselves after each change")
        self.table: LowTable = low_table(
            ("", "In order, worth a look, or in the way"),
            ("Check", "What was found, and a button where it can be mended at once"),
            stretched=_SENTENCE,
        )
        self.table.setToolTip("What was looked at before the training, problems first")
        self.table.horizontalHeader().hide()
        self.table.setWordWrap(True)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        lines = self.table.verticalHeader()
        lines.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary)
        layout.addWidget(self.table)
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._fit)
        self.set_value((), "")

    def value(self) -> tuple[Check, ...]:
        return self._checks

    def set_value(self, checks: Sequence[Check], saying: str = "") -> None:
        """Show what was found; `saying` in place of a summary, such as that it is being looked."""
        self._checks = tuple(sorted(checks, key=_rank))
        self.summary.setText(saying or _summary(self._checks))
        self.table.setVisible(bool(self._checks))
        self.table.clearContents()
        self.table.setRowCount(len(self._checks))
        for line, check in enumerate(self._checks):
            cell(self.table, line, _SIGN, "").setIcon(state_icon(check.state))
            self.table.setCellWidget(line, _SENTENCE, self._line(check))
        self._later.start()

    def buttons(self) -> list[QPushButton]:
        """Those that mend something, from top to bottom."""
        found = []
        for line in range(self.table.rowCount()):
            found += self.table.cellWidget(line, _SENTENCE).findChildren(QPushButton)
        return found

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._later.start()

    def _line(self, check: Check) -> QWidget:
        """The sentence, and below it the buttons that mend it."""
        it = QWidget()
        layout = QVBoxLayout(it)
        layout.setContentsMargins(2, 2, 2, 2)
        sentence = QLabel(breakable(check.sentence))
        sentence.setWordWrap(True)
        sentence.setTextFormat(Qt.TextFormat.PlainText)
        sentence.setToolTip(f"{check.pair}: {check.sentence}" if check.pair else check.sentence)
        layout.addWidget(sentence)
        fixes = [fix for fix in (check.fix, check.other) if fix]
        for fix in fixes:
            press = QPushButton(fix)
            press.setToolTip(f"{fix}: changes what is learned from, never a file or a layer")
            press.clicked.connect(partial(self._on_fix, check, fix))
            layout.addWidget(press, alignment=Qt.AlignmentFlag.AlignLeft)
        return it

    def _on_fix(self, check: Check, fix: str, *_: bool) -> None:
        self.fix_requested.emit(check, fix)

    def _fit(self) -> None:
        """Rows as high as their sentences, and a table as high as its rows, up to a bound."""
        _fit_rows(self.table)
        high = self.table.verticalHeader().length() + 2 * self.table.frameWidth() + 2
        bound = _HIGHEST if any(it.state != "good" for it in self._checks) else _QUIET
        self.table.setFixedHeight(min(max(high, 24), bound))


def _fit_rows(table: QTableWidget) -> None:
    wide = table.columnWidth(_SENTENCE)
    lines = table.verticalHeader()
    lines.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    for line in range(table.rowCount()):
        content = table.cellWidget(line, _SENTENCE).layout()
        lines.resizeSection(line, max(content.totalHeightForWidth(wide), 20))


def _rank(check: Check) -> tuple[int, bool]:
    """The worst first, and what sums all up before what is in order."""
    return _ORDER.index(check.state), check.kind != "count"


def _summary(checks: Sequence[Check]) -> str:
    """How many there are of each kind."""
    problems = sum(it.state == "problem" for it in checks)
    warnings = sum(it.state == "warning" for it in checks)
    good = len(checks) - problems - warnings
    if not checks:
        return "Add labelled volumes, and they are checked here."
    parts = []
    if problems:
        parts.append(f"{problems} problem{'s' * (problems > 1)} to be solved")
    if warnings:
        parts.append(f"{warnings} remark{'s' * (warnings > 1)}")
    parts.append(f"{good} in order")
    said = ", ".join(parts)
    return f"{said[0].upper()}{said[1:]}."
