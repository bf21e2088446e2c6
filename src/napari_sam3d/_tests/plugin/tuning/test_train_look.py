"""How the Train dock looks in a window of 1280 x 800: nothing cut off, everything explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QLabel, QTableWidget
from superqt import QLargeIntSpinBox

from napari_sam3d._tests.plugin.test_dock_look import (
    CONTROLS,
    SCREEN,
    is_cut_off,
    name,
    parents,
    shown,
    unfolded,
)
from napari_sam3d._tests.plugin.tuning.conftest import ball_pair, ready
from napari_sam3d._tests.plugin.tuning.fake_trainer import BASE, BETTER
from napari_sam3d.engine.training.events import Validated
from napari_sam3d.plugin.dock.parts import Column

LONG = "a scan with a name of many words, of the third of three days_image.nii.gz"


def empty(dock, trainer, qtbot) -> None:
    """Nothing was added."""


def problem(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    pair = ball_pair(LONG)
    dock.pairs.add_pair(replace(pair, labels=np.zeros_like(pair.labels)))
    qtbot.waitUntil(lambda: bool(dock.checks.buttons()))


def running(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    dock.run.start.click()
    trainer.begin(400, held_out=("ball 1",))
    trainer.step(*range(1, 51))
    trainer.tell(Validated(50, BETTER, BASE, True))
    qtbot.waitUntil(lambda: "Best" in dock.progress.scores.text())


def finished(dock, trainer, qtbot) -> None:
    running(dock, trainer, qtbot)
    trainer.finish()
    qtbot.waitUntil(dock.run.start.isEnabled)


STATES = (empty, problem, running, finished)


@pytest.mark.parametrize("state", STATES)
def test_everything_has_a_tooltip_and_room(viewer, dock, trainer, qtbot, state) -> None:
    state(dock, trainer, qtbot)
    viewer.window.resize(*SCREEN)
    # names are given by the user, and are whole in tooltips
    named = [dock.choice.form.row(it).native for it in ("model", "adapter")]
    named += [dock.choice.name, dock.next_case.adapter]
    column = dock.findChild(Column)
    for where in unfolded(dock, qtbot):
        controls = [(w, (w, *parents(w, dock))) for w in shown(dock, *CONTROLS)]
        silent = [name(w) for w, whole in controls if not any(it.toolTip() for it in whole)]
        assert silent == [], where
        widgets = [w for w in shown(dock, *CONTROLS, QLabel) if w not in named]
        widgets = [w for w in widgets if not isinstance(w, QLargeIntSpinBox)]  # any number fits
        assert [name(w) for w in widgets if is_cut_off(w)] == [], where
        assert dock.window().width() <= SCREEN[0] and dock.window().height() <= SCREEN[1], where
        right = column.viewport().width()
        inside = [w for w in widgets if column.widget().isAncestorOf(w)]
        outside = [w for w in inside if w.mapTo(column.widget(), QPoint(w.width(), 0)).x() > right]
        assert list(map(name, outside)) == [], where
    for table in dock.findChildren(QTableWidget):
        header = [table.horizontalHeaderItem(n) for n in range(table.columnCount())]
        assert [item.text() for item in header if not item.toolTip()] == []
    assert column.minimumSizeHint().width() <= SCREEN[0] / 4
    assert dock.run.stop.isVisible() and dock.run.status.isVisible()  # without scrolling


def test_curves_are_seen_without_scrolling_as_soon_as_they_are_there(
    viewer, dock, trainer, qtbot
) -> None:
    running(dock, trainer, qtbot)
    column, curves = dock.findChild(Column), dock.progress.curves

    def in_view() -> bool:
        top = curves.mapTo(column.viewport(), QPoint(0, 0)).y()
        return top >= 0 and top + curves.height() <= column.viewport().height()

    qtbot.waitUntil(in_view)


def test_the_legend_hides_no_curve(dock, trainer, qtbot) -> None:
    running(dock, trainer, qtbot)
    curves = dock.progress.curves
    qtbot.waitUntil(lambda: curves.dice.height() > 0)
    assert curves.legend.geometry().bottom() <= curves.dice.geometry().top()
    assert not curves.legend.geometry().intersects(curves.loss.geometry())


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_curves_can_be_read_in_each_theme(viewer, dock, trainer, qtbot, theme) -> None:
    running(dock, trainer, qtbot)
    viewer.theme = theme
    curves = dock.progress.curves
    paper = curves.dice.backgroundBrush().color()
    ink = curves.dice.getAxis("left").textPen().color()
    assert abs(paper.lightness() - ink.lightness()) > 120
    for curve in curves.scores:
        drawn = curve.opts["pen"].color()
        assert abs(paper.lightness() - drawn.lightness()) > 40, drawn.name()


def test_the_wheel_over_a_plot_is_left_to_the_dock(dock, trainer, qtbot) -> None:
    running(dock, trainer, qtbot)
    curves = dock.progress.curves
    qtbot.waitUntil(curves.dice.isVisible)
    under = curves.childAt(curves.dice.geometry().center()) or curves
    assert not curves.dice.isAncestorOf(under) and under is not curves.dice
    before = curves.dice.getViewBox().viewRange()
    event = QWheelEvent(
        QPointF(5, 5),
        QPointF(under.mapToGlobal(QPoint(5, 5))),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(under, event)
    assert not event.isAccepted()  # goes on to what scrolls
    assert curves.dice.getViewBox().viewRange() == before
