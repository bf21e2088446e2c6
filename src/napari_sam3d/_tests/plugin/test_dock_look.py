"""How the dock looks in a window of 1280 x 800: nothing is cut off, everything says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QMenu,
    QScrollBar,
    QStyle,
    QStyleOptionComboBox,
    QTableWidget,
    QWidget,
)
from superqt import QCollapsible

from napari_sam3d._tests.plugin.conftest import SHAPE, ball, canvas_click, object_is, open_dock
from napari_sam3d.plugin.dock.parts import Column
from napari_sam3d.prompts import Box

SCREEN = (1280, 800)
CONTROLS = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QTableWidget)
FIRST, SECOND = (12, 20, 22), (6, 8, 8)


@pytest.fixture
def viewer(real_viewer):
    viewer = real_viewer(show=True)
    viewer.window.resize(*SCREEN)
    return viewer


@pytest.fixture
def dock(viewer, loader, qtbot):
    """With two objects, a box, and names that are too long for it."""
    image = viewer.add_image(
        np.zeros(SHAPE, np.int16), name="a scan with a name of many words", scale=(2, 1, 1)
    )
    dock = open_dock(viewer, loader, qtbot)
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))
    dock.session.rename(1, "upper lobe of the left lung, as far as it is there")
    dock.controls.new.click()
    canvas_click(viewer, SECOND, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, SECOND), 2))
    dock.session.set_box(Box((4, 6, 6), (8, 10, 10)))
    dock.guide.help.click()
    viewer.window.resize(*SCREEN)
    return dock


def unfolded(dock: Any, qtbot: Any) -> Iterator[str]:
    """The dock as it opens, and with each of its folds open."""
    yield "as it opens"
    for section in dock.findChildren(QCollapsible):
        section.expand(animate=False)
        qtbot.waitUntil(lambda it=section: it.content().height() > 0)
        QApplication.processEvents()
        yield section.text()
        section.collapse(animate=False)


def shown(dock: Any, *kinds: type) -> list[QWidget]:
    """The widgets of these kinds that can be seen, without the parts of one of them."""
    widgets = [w for w in dock.findChildren(QWidget) if isinstance(w, kinds) and w.isVisible()]
    whole = (QComboBox, QAbstractSpinBox, QTableWidget)
    return [
        w
        for w in widgets
        if not isinstance(w, QScrollBar)
        and not any(isinstance(above, whole) or is_folded(above, w) for above in parents(w, dock))
    ]


def parents(widget: QWidget, top: QWidget) -> Iterator[QWidget]:
    above = widget.parentWidget()
    while above is not None and above != top:
        yield above
        above = above.parentWidget()


def is_folded(above: QWidget, widget: QWidget) -> bool:
    """Whether a widget is in a fold that is closed; its title is not."""
    closed = isinstance(above, QCollapsible) and not above.isExpanded()
    return closed and widget != above.toggleButton()


def name(widget: QWidget) -> str:
    text = widget.text() if hasattr(widget, "text") else ""
    return f"{type(widget).__name__} {text or widget.objectName() or widget.toolTip()!r}"


def is_cut_off(widget: QWidget) -> bool:
    """Whether there is more text than room."""
    if isinstance(widget, QLabel) and widget.wordWrap():
        return widget.heightForWidth(widget.width()) > widget.height()
    if isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        room = widget.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            widget,
        )
        texts = [widget.itemText(n) for n in range(widget.count())]
        icon = widget.iconSize().width() + 4 if not widget.itemIcon(0).isNull() else 0
        return max(map(widget.fontMetrics().horizontalAdvance, texts)) + icon > room.width()
    if isinstance(widget, QAbstractSpinBox):  # its hint has room for more than any of its values
        texts = [widget.textFromValue(n) for n in (widget.minimum(), widget.maximum())]
        room = widget.findChild(QLineEdit).contentsRect().width()
        return max(map(widget.fontMetrics().horizontalAdvance, texts)) > room
    if isinstance(widget, QTableWidget):
        header = widget.horizontalHeader()
        sections = range(header.count())
        return any(header.sectionSizeHint(n) > header.sectionSize(n) for n in sections)
    return widget.sizeHint().width() > widget.width()


def test_everything_has_a_tooltip(dock, qtbot) -> None:
    for where in unfolded(dock, qtbot):
        # of a slider with a number, the whole has it
        widgets = [(w, (w, *parents(w, dock))) for w in shown(dock, *CONTROLS)]
        silent = [name(w) for w, whole in widgets if not any(it.toolTip() for it in whole)]
        assert silent == [], where
    for table in dock.findChildren(QTableWidget):
        header = [table.horizontalHeaderItem(n) for n in range(table.columnCount())]
        assert [item.text() for item in header if not item.toolTip()] == []
    menus = dock.findChildren(QMenu)
    actions = [a for menu in menus for a in menu.actions() if not a.isSeparator()]
    assert actions and [a.text() for a in actions if a.toolTip() in ("", a.text())] == []


def test_no_text_is_cut_off(viewer, dock, qtbot) -> None:
    # names are given by the user, and are whole in the list and its tooltips
    named = [dock.images.native, dock.controls.objects, dock.start_from.layers]
    named.append(dock.form.row("model").native)
    kinds = (*CONTROLS, QLabel)
    for where in unfolded(dock, qtbot):
        widgets = [w for w in shown(dock, *kinds) if w not in named]
        assert [name(w) for w in widgets if is_cut_off(w)] == [], where
        assert dock.window().width() <= SCREEN[0] and dock.window().height() <= SCREEN[1], where
        column = dock.findChild(Column)
        right = column.viewport().width()
        inside = [w for w in widgets if column.widget().isAncestorOf(w)]
        outside = [w for w in inside if w.mapTo(column.widget(), QPoint(w.width(), 0)).x() > right]
        assert list(map(name, outside)) == [], where


def test_the_image_keeps_most_of_the_window(dock) -> None:
    assert dock.findChild(Column).minimumSizeHint().width() <= SCREEN[0] / 4


def test_what_is_used_first_stands_first(dock, qtbot) -> None:
    controls, sections = dock.controls, dock.findChildren(QCollapsible)
    titles = [section.text() for section in sections]
    for section in sections:
        section.expand(animate=False)
    order = [
        dock.images.native,
        dock.form.row("model").native,
        controls.positive,
        controls.objects,
        controls.undo,
        controls.segment,
        controls.status,
        dock.form.row("threshold").native,
        dock.hand.keep,
        dock.start_from.start,
        dock.overview.prompts.table,
        dock.overview.objects.table,
        dock.files.save,
    ]
    top = dock.findChild(Column).widget()
    places = [widget.mapTo(top, QPoint(0, 0)).y() for widget in order]
    assert places == sorted(set(places)), titles


def test_what_is_needed_for_a_mask_is_seen_without_scrolling(viewer, dock) -> None:
    column = dock.findChild(Column)
    for widget in (dock.controls.segment, dock.controls.status, dock.model.threshold):
        bottom = widget.mapTo(column.widget(), QPoint(0, widget.height())).y()
        assert bottom <= column.viewport().height()
    assert dock.cursor.isVisible()


def test_the_wheel_over_a_control_scrolls_and_changes_nothing(dock) -> None:
    before = dock.value()
    for row in (dock.form.row("model"), dock.form.row("threshold")):
        middle = row.native.rect().center()
        event = QWheelEvent(
            QPointF(middle),
            QPointF(row.native.mapToGlobal(middle)),
            QPoint(),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(row.native, event)
    assert dock.value() == before
