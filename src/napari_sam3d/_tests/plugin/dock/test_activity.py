"""The bar in napari's activity dock: there while something takes long, and gone however it ends."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils import progress
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QProgressBar, QPushButton, QWidget

from napari_sam3d._tests.plugin.conftest import canvas_click, canvas_key, open_dock
from napari_sam3d.plugin.dock import activity
from napari_sam3d.plugin.dock.activity import Activity
from napari_sam3d.plugin.segment_widget import SegmentWidget

SHAPE = (16, 16, 16)


@pytest.fixture
def dock(viewer, loader, qtbot) -> SegmentWidget:
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    it = open_dock(viewer, loader, qtbot)
    qtbot.waitUntil(lambda: bool(loader.loads))
    return it


def said() -> list[str]:
    """What the bars say, of all viewers."""
    # the bars themselves are public, their list is not
    return sorted(bar.desc for bar in progress._all_instances)


def bars(viewer) -> list[QWidget]:
    """The rows of the activity dock that are there."""
    window = getattr(viewer, "__wrapped__", viewer).window._qt_window
    rows = [
        it for it in window.findChildren(QWidget) if type(it).__name__ == "QtLabeledProgressBar"
    ]
    return [it for it in rows if not it.isHidden()]


def begin(viewer, dock, loader, qtbot) -> None:
    """A prediction that does not end, and its bar."""
    loader.predictor.go.clear()
    canvas_click(viewer, (8, 8, 8), viewer.layers["ct"])
    qtbot.waitUntil(lambda: said() == ["Segmenting: "] and len(bars(viewer)) == 1)


def test_the_bar_goes_with_the_answer(viewer, dock, loader, qtbot) -> None:
    begin(viewer, dock, loader, qtbot)
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: dock.session.labels.data.any())
    assert said() == [] and bars(viewer) == []


def test_the_bar_goes_with_an_error(viewer, dock, loader, qtbot) -> None:
    begin(viewer, dock, loader, qtbot)
    loader.predictor.error = ValueError("This cannot be segmented.")
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: said() == [])


def test_its_button_cancels(viewer, dock, loader, qtbot) -> None:
    begin(viewer, dock, loader, qtbot)
    (bar,) = bars(viewer)
    (button,) = bar.findChildren(QPushButton)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1 and said() == [])
    assert not dock.controls.cancel.isEnabled() and not dock.session.labels.data.any()


def test_escape_takes_the_bar_along(viewer, dock, loader, qtbot) -> None:
    begin(viewer, dock, loader, qtbot)
    canvas_key(viewer, "Escape")
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    assert said() == []


@pytest.mark.parametrize("what", ["dock", "viewer"])
def test_closing_takes_the_bar_along(viewer, dock, loader, qtbot, what) -> None:
    begin(viewer, dock, loader, qtbot)
    if what == "dock":
        viewer.window.remove_dock_widget(dock)
    else:
        viewer.close()
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1 and said() == [])


def test_loading_ahead_has_a_bar_and_can_be_given_up(viewer, loader, qtbot) -> None:
    loader.go.clear()
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    it = SegmentWidget(viewer, loader)
    viewer.window.add_dock_widget(it, name="Segment")
    qtbot.waitUntil(lambda: said() == ["Loading the model compact: "])
    (bar,) = bars(viewer)
    (button,) = bar.findChildren(QPushButton)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: said() == [])
    loader.go.set()
    canvas_click(viewer, (8, 8, 8), viewer.layers["ct"])
    qtbot.waitUntil(lambda: it.session.labels.data.any())


# without a dock


@pytest.fixture
def patient(monkeypatch) -> None:
    monkeypatch.setattr(activity, "_SHOW_AFTER_S", 1e9)


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(activity, "_SHOW_AFTER_S", -1)


def test_what_is_over_soon_shows_nothing(qtbot, patient) -> None:
    it = Activity()
    it.show("Segmenting")
    it._look()
    assert it.is_on and said() == []
    it.end()
    assert not it.is_on


def test_it_shows_the_share_that_is_done(viewer, qtbot, impatient) -> None:
    it = Activity()
    it.show("Downloading", 0.25)
    it._look()
    it._look()
    (row,) = bars(viewer)
    (bar,) = row.findChildren(QProgressBar)
    assert (bar.value(), bar.maximum()) == (25, 100)
    it.set_share(0.5)
    it._look()
    assert (bar.value(), bar.maximum()) == (50, 100)
    it.show("Loading")
    it._look()
    assert bar.maximum() == 0 and said() == ["Loading: "]
    it.end()
    assert said() == []


def test_it_may_end_while_napari_makes_the_bar(qtbot, impatient, monkeypatch) -> None:
    it = Activity()

    class Slow(activity.cancelable_progress):
        def __init__(self, **options) -> None:
            super().__init__(**options)
            it._look()  # napari handles events there
            it.end()

    monkeypatch.setattr(activity, "cancelable_progress", Slow)
    it.show("Segmenting")
    it._look()
    assert said() == [] and not it.is_on
