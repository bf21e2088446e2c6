"""Train docks in real windows, with a trainer that does as the tests say, or with the real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam3d._tests.engine.training import small
from napari_sam3d._tests.plugin.tuning.fake_trainer import FakeTrainer
from napari_sam3d.labelled import Pair
from napari_sam3d.plugin.train_widget import TrainWidget


@pytest.fixture
def viewer(real_viewer):
    viewer = real_viewer(show=True)
    viewer.window.resize(1280, 800)
    return viewer


@pytest.fixture
def trainer() -> FakeTrainer:
    return FakeTrainer()


@pytest.fixture
def dock(viewer, trainer, qtbot) -> Iterator[TrainWidget]:
    return open_dock(viewer, qtbot, trainer=trainer)


def open_dock(viewer: Any, qtbot: Any, **wanted: Any) -> TrainWidget:
    """A Train dock in the window of a viewer."""
    widget = TrainWidget(viewer, **wanted)
    viewer.window.add_dock_widget(widget, name="Train")
    qtbot.waitUntil(widget.isVisible)
    return widget


def ball_pair(name: str = "ball", seed: int = 0, names: dict[int, str] | None = None) -> Pair:
    """A bright ball with its labels, as a volume of its own."""
    case = small.ball(name, 4 + 0.5 * seed, seed)
    return Pair(case.volume, case.labels, case.volume.grid, names or {})


def add_balls(dock: TrainWidget, count: int = 3) -> None:
    for number in range(count):
        dock.pairs.add_pair(ball_pair(f"ball {number}", number, {3: "nucleus"}))


def add_ball_layers(viewer: Any, name: str = "ball", seed: int = 0) -> tuple[Any, Any]:
    """An Image layer and a Labels layer on it."""
    case = small.ball(name, 5, seed)
    image = viewer.add_image(np.asarray(case.volume.data), name=name)
    return image, viewer.add_labels(case.labels.copy(), name=f"{name}_seg")


def press(button: Any) -> None:
    """A real click."""
    assert button.isVisible() and button.isEnabled(), button.text()
    at = QPoint(10, button.height() // 2)  # a tick box feels its box and its words only
    QTest.mouseClick(button, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


def ready(dock: TrainWidget, qtbot: Any, count: int = 3) -> None:
    """Pairs are there, and nothing stands in the way."""
    add_balls(dock, count)
    qtbot.waitUntil(dock.run.start.isEnabled)
