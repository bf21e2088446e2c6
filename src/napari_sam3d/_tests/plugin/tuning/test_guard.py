"""A training outlives its dock, and its window asks before it closes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton, QWidget

from napari_sam3d._tests.engine.training.small import settings, small_base
from napari_sam3d._tests.plugin.conftest import Loader
from napari_sam3d._tests.plugin.thread.test_trainer import pairs
from napari_sam3d.engine.training import Finished, RunFolder, Step
from napari_sam3d.plugin.tuning import guard as module
from napari_sam3d.plugin.tuning.guard import Guard

LONG = settings(steps=1_000_000, validate_every=100_000)


@pytest.fixture(autouse=True)
def nobody_left(qtbot, one_thread) -> Iterator[None]:
    yield
    for it in module._LEFT:
        it.trainer.stop()
        qtbot.waitUntil(lambda it=it: it.trainer.state == "idle")
    module._LEFT.clear()


@pytest.fixture
def notices(monkeypatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(module, "show_info", told.append)
    return told


class Dock(QWidget):
    """Stands for the Train dock."""

    def __init__(self, loader: Loader) -> None:
        super().__init__()
        self.guard = Guard.take(lambda wanted, progress: small_base(wanted), loader)
        self.trainer = self.guard.trainer
        self.closed = 0
        self.guard.closed.connect(self._on_closed)
        self.guard.attend(self)

    def _on_closed(self) -> None:
        self.closed += 1


@pytest.fixture
def viewer(real_viewer) -> Any:
    return real_viewer(show=True)


@pytest.fixture
def door(viewer) -> Iterator[Door]:
    it = Door(window_of(viewer))
    yield it
    window_of(viewer).removeEventFilter(it)


@pytest.fixture
def dock(viewer, loader, qtbot) -> Dock:
    return opened(viewer, loader, qtbot)


def opened(viewer, loader, qtbot) -> Dock:
    it = Dock(loader)
    viewer.window.add_dock_widget(it, name="Train")
    qtbot.waitUntil(it.isVisible)
    return it


def begin(dock: Dock, qtbot, wanted=LONG) -> None:
    dock.trainer.start(wanted, pairs(), "balls")
    qtbot.waitUntil(lambda: any(isinstance(it, Step) for it in dock.trainer.events))


def window_of(viewer) -> QWidget:
    return getattr(viewer, "__wrapped__", viewer).window._qt_window


class Answer:
    """Presses a button of the next question, and remembers what was asked."""

    def __init__(self, word: str) -> None:
        self.asked: list[str] = []
        self._word = word
        self._timer = QTimer(interval=10)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _look(self) -> None:
        box = QApplication.activeModalWidget()
        if isinstance(box, QMessageBox):
            (button,) = [it for it in box.findChildren(QPushButton) if it.text() == self._word]
            self.asked.append(box.text())
            self._timer.stop()
            button.click()


class Door(QObject):
    """Notes each attempt to close a window that nobody objects to, and leaves it open."""

    def __init__(self, window: QWidget) -> None:
        super().__init__()
        self.passed = 0
        window.installEventFilter(self)  # asked after those that come later

    def eventFilter(self, watched, event) -> bool:
        if event.type() != QEvent.Type.Close:
            return False
        self.passed += 1
        event.ignore()
        return True


def in_the_event_loop(qtbot, act: Callable[[], Any]) -> None:
    done: list[Any] = []
    QTimer.singleShot(0, lambda: done.append(act()))
    qtbot.waitUntil(lambda: bool(done))


def test_a_training_goes_on_without_its_dock_and_the_next_one_shows_it(
    viewer, dock, loader, qtbot, notices
) -> None:
    begin(dock, qtbot)
    trainer = dock.trainer
    viewer.window.remove_dock_widget(dock)
    assert dock.closed == 1 and "goes on without its dock" in notices[0]
    step = trainer.progress[0]
    qtbot.waitUntil(lambda: trainer.progress[0] > step)
    other = opened(viewer, loader, qtbot)
    assert other.trainer is trainer and trainer.state == "running" and not module._LEFT
    trainer.stop()
    qtbot.waitUntil(lambda: trainer.state == "idle")
    viewer.window.remove_dock_widget(other)
    assert Guard.take(loader).trainer is not trainer


def test_its_end_is_told_where_no_dock_shows_it(viewer, dock, loader, qtbot, notices) -> None:
    begin(dock, qtbot, settings(steps=30, validate_every=30))
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: dock.trainer.state == "idle")
    assert len(notices) == 2 and notices[1].startswith("balls: ")
    other = opened(viewer, loader, qtbot)
    assert isinstance(other.trainer.events[-1], Finished)


def test_a_dock_without_a_training_takes_its_trainer_along(viewer, dock, loader, qtbot) -> None:
    trainer = dock.trainer
    viewer.window.remove_dock_widget(dock)
    assert dock.closed == 1
    assert opened(viewer, loader, qtbot).trainer is not trainer


@pytest.mark.parametrize("floating", [False, True])
def test_the_window_asks_and_stays(viewer, door, dock, qtbot, floating) -> None:
    dock.parent().setFloating(floating)
    begin(dock, qtbot)
    answer = Answer("Go on training")
    in_the_event_loop(qtbot, window_of(viewer).close)
    (asked,) = answer.asked
    assert asked.startswith("Training balls runs, step ")
    assert asked.endswith(" of 1000000. Stop it and save, or go on training?")
    assert door.passed == 0 and dock.trainer.state == "running"
    dock.trainer.stop()
    qtbot.waitUntil(lambda: dock.trainer.state == "idle")
    in_the_event_loop(qtbot, window_of(viewer).close)  # nothing is asked
    assert door.passed == 1


def test_the_window_closes_once_all_is_saved(viewer, door, dock, qtbot) -> None:
    begin(dock, qtbot)
    answer = Answer("Stop and save")
    states: list[tuple[str, int]] = []
    dock.trainer.state_changed.connect(lambda it: states.append((it, door.passed)))
    in_the_event_loop(qtbot, window_of(viewer).close)
    assert answer.asked and door.passed == 1
    assert states == [("stopping", 0), ("idle", 0)]
    assert RunFolder.called("balls").read_state()["step"] > 0


def test_a_window_of_a_training_without_a_dock_asks_too(viewer, door, dock, qtbot, notices) -> None:
    begin(dock, qtbot)
    viewer.window.remove_dock_widget(dock)
    answer = Answer("Stop and save")
    in_the_event_loop(qtbot, window_of(viewer).close)
    assert answer.asked and door.passed == 1
    assert RunFolder.called("balls").read_state()["step"] > 0


@pytest.mark.parametrize("script", [False, True])
def test_a_program_that_closes_the_viewer_is_not_asked(viewer, dock, qtbot, script) -> None:
    """Parts of the window are gone by then."""
    begin(dock, qtbot)
    if script:
        viewer.close()
    else:
        in_the_event_loop(qtbot, viewer.close)
    assert RunFolder.called("balls").read_state()["step"] > 0
    qtbot.waitUntil(lambda: not dock.trainer.trains)
