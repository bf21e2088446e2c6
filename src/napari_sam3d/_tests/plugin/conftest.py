"""A model that anyone can check by hand, and the dock in napari viewers with a screen."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManifest

import napari_sam3d
from napari_sam3d.engine.fetch import Progress
from napari_sam3d.engine.predictor import Cancelled, Prediction
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

MANIFEST = Path(napari_sam3d.__file__).with_name("napari.yaml")
SHAPE = (24, 40, 44)
"""Of the image of `dock`."""
RADIUS = 3
"""Of the ball that `BallPredictor` finds around a positive point, in voxels."""


def ball(shape: tuple[int, int, int], center: tuple[float, ...], radius: float = RADIUS):
    """True within `radius` voxels of `center`."""
    return sum((i - c) ** 2 for i, c in zip(np.indices(shape), center, strict=True)) <= radius**2


class BallPredictor:
    """The start and the box, with balls around positive points, less balls around negative ones.

    A prediction waits for `go`, in steps at which it can be cancelled.
    """

    def __init__(self, settings: InferenceSettings) -> None:
        self.settings = settings
        self.calls: list[tuple[Prompts, Prediction | None]] = []
        self.cancelled = 0
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()

    def predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Prediction:
        self.calls.append((prompts, previous))
        self.started.set()
        while not self.go.wait(0.01):
            if cancelled():
                self.cancelled += 1
                raise Cancelled
        if self.error is not None:
            raise self.error
        mask = np.zeros(volume.grid.shape, bool)
        if prompts.start is None:
            prompts.check(volume.grid, volume.name)
        else:
            mask[prompts.start.window] = prompts.start.mask
        if prompts.box is not None:
            low, high = prompts.box.voxels()
            mask[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = True
        for position, positive in zip(*prompts.arrays(), strict=True):
            inside = ball(volume.grid.shape, position)
            mask = mask | inside if positive else mask & ~inside
        where = np.argwhere(mask)
        if not len(where):
            where = np.zeros((1, 3), int)
        low, high = where.min(0), where.max(0) + 1
        window = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        patch = Grid.from_spacing((1, 1, 1), (1, 1, 1))
        return Prediction(mask[window], window, patch, np.zeros((1, 1, 1), np.float32), 0.84, 0.31)


class Loader:
    """Stands in for `load_predictor` and keeps what it loaded; waits for `go`."""

    def __init__(self) -> None:
        self.loads: list[InferenceSettings] = []
        self.go = threading.Event()
        self.go.set()
        self.predictor: BallPredictor = BallPredictor(InferenceSettings())

    def __call__(self, settings: InferenceSettings, progress: Progress) -> BallPredictor:
        self.loads.append(settings)
        assert self.go.wait(60)
        self.predictor.settings = settings
        return self.predictor


@pytest.fixture
def qtbot(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Waits longer than pytest-qt would: a software-rendered frame on a busy machine takes long."""
    monkeypatch.setattr(qtbot, "waitUntil", partial(qtbot.waitUntil, timeout=60_000))
    return qtbot


@pytest.fixture(autouse=True)
def work_folder(tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unsaved work is not kept among the data of who runs the tests."""
    folder = tmp_path_factory.mktemp("work")
    monkeypatch.setenv("NAPARI_SAM3D_WORK", str(folder))
    monkeypatch.setenv("NAPARI_SAM3D_DATA", str(folder / "data"))
    return folder


@pytest.fixture
def loader() -> Iterator[Loader]:
    it = Loader()
    yield it
    it.go.set()
    it.predictor.go.set()


@pytest.fixture
def real_viewer(request: pytest.FixtureRequest) -> Any:
    """Makes shown viewers, as plugins get them; skips where there is no screen."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        pytest.skip("no display: run under xvfb-run to see these tests")
    return request.getfixturevalue("make_napari_viewer_proxy")


@pytest.fixture
def viewer(real_viewer: Any) -> Any:
    return real_viewer(show=True)


@pytest.fixture
def image(viewer: Any) -> Any:
    return viewer.add_image(np.zeros(SHAPE, np.int16), name="ct", scale=(2, 1, 1))


@pytest.fixture
def dock(viewer: Any, image: Any, loader: Loader, qtbot: Any) -> Any:
    return open_dock(viewer, loader, qtbot)


def open_dock(viewer: Any, load: Any, qtbot: Any) -> Any:
    """The Segment dock in a viewer, as soon as it can be seen."""
    from napari_sam3d.plugin.segment_widget import SegmentWidget

    widget = SegmentWidget(viewer, load)
    viewer.window.add_dock_widget(widget, name="Segment")
    qtbot.waitUntil(widget.isVisible)
    return widget


def object_is(dock: Any, expected: np.ndarray, object_id: int = 1) -> bool:
    """Whether the mask layer shows exactly these voxels of an object."""
    return np.array_equal(dock.session.labels.data == object_id, expected)


def sentences() -> list[str]:
    """What napari has notified of."""
    from napari.utils.notifications import notification_manager

    return [record.message for record in notification_manager.records]


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


def canvas_click(viewer: Any, voxel: tuple[float, ...], layer: Any, *, control: bool = False):
    """A real mouse press and release on the canvas, where `voxel` of `layer` is drawn."""
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    # which pixel shows a voxel is not public; the plugin itself never asks
    canvas = getattr(viewer, "__wrapped__", viewer).window._qt_viewer.canvas
    if viewer.dims.ndisplay == 2:
        viewer.dims.set_point(range(layer.ndim), layer.data_to_world(voxel))
    at = (canvas.view.transform * canvas.view.scene.transform).map(
        np.array(layer.data_to_world(voxel))[list(viewer.dims.displayed)][::-1]
    )
    x, y = np.rint(at[:2] / at[3]).astype(int)
    modifier = Qt.KeyboardModifier.ControlModifier if control else Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, modifier, QPoint(int(x), int(y)))


def canvas_key(viewer: Any, key: str) -> None:
    """Press a key, such as "Ctrl+Z", with the canvas in focus."""
    from qtpy.QtGui import QKeySequence
    from qtpy.QtTest import QTest

    canvas = getattr(viewer, "__wrapped__", viewer).window._qt_viewer.canvas
    combination = QKeySequence(key)[0]
    QTest.keyClick(canvas.native, combination.key(), combination.keyboardModifiers())
