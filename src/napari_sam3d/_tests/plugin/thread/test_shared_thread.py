"""Two docks, one thread: nobody hears, cancels or ends what the other one asked."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from napari_sam3d._tests.plugin.conftest import BallPredictor, Loader, ball, canvas_click
from napari_sam3d.engine.prediction import Cancelled
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.plugin.thread.loading import load_predictor
from napari_sam3d.plugin.thread.worker import Worker
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SHAPE = (16, 16, 16)
COMPACT = InferenceSettings()
OTHER = InferenceSettings(precision="fp32")
THIRD = InferenceSettings(precision="bf16")
FAR = InferenceSettings(model="sam_vit_b")


@pytest.fixture
def volume() -> Volume:
    return Volume(np.zeros(SHAPE, np.uint8), Grid.from_spacing(SHAPE, (1, 1, 1)))


@pytest.fixture
def hire(qtbot, loader: Loader):
    """Makes workers, and sees to it that their thread ends."""
    made: list[Worker] = []

    def worker(load: Callable | None = None) -> Worker:
        made.append(Worker(load or loader))
        return made[-1]

    yield worker
    loader.predictor.go.set()
    for it in made:
        it.stop()
    assert all(it.wait(5) for it in made)


def at(*position: float) -> Prompts:
    return Prompts().add(Point(position))


def answers(worker: Worker) -> list[int]:
    heard: list[int] = []
    worker.predicted.connect(lambda number, prediction: heard.append(number))
    return heard


def threads() -> int:
    return sum(thread.name == "napari-sam3d" for thread in threading.enumerate())


def test_workers_with_one_load_share_thread_and_model(qtbot, hire, loader, volume) -> None:
    before = threads()
    one, other = hire(), hire()
    assert threads() == before + 1
    apart = Loader()
    third = hire(apart)
    assert threads() == before + 2
    for worker in (one, other, third):
        with qtbot.waitSignal(worker.predicted):
            worker.submit(COMPACT, volume, at(8, 8, 8))
    assert len(loader.loads) == len(apart.loads) == 1


def test_each_hears_its_own_answer_only(qtbot, hire, loader, volume) -> None:
    one, other = hire(), hire()
    heard = {one: answers(one), other: answers(other)}
    loader.predictor.go.clear()
    first = one.submit(COMPACT, volume, at(2, 2, 2))
    qtbot.waitUntil(loader.predictor.started.is_set)
    assert other.must_wait() and not one.must_wait()
    second = other.submit(COMPACT, volume, at(4, 4, 4))
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: bool(heard[one] and heard[other]))
    assert heard == {one: [first], other: [second]} and loader.predictor.cancelled == 0


def test_cancelling_and_stopping_leave_the_others_work_alone(qtbot, hire, loader, volume) -> None:
    one, other = hire(), hire()
    heard = answers(one)
    loader.predictor.go.clear()
    number = one.submit(COMPACT, volume, at(2, 2, 2))
    qtbot.waitUntil(loader.predictor.started.is_set)
    other.submit(COMPACT, volume, at(4, 4, 4))
    other.cancel()
    other.submit(COMPACT, volume, at(5, 5, 5))
    other.stop()
    assert other.wait(5)
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: heard == [number])
    asked = [prompts.points[0].position_voxel[0] for prompts, _ in loader.predictor.calls]
    assert asked == [2] and loader.predictor.cancelled == 0


def test_the_one_whose_work_is_under_way_may_stop(qtbot, hire, loader, volume) -> None:
    one, other = hire(), hire()
    heard = answers(other)
    loader.predictor.go.clear()
    one.submit(COMPACT, volume, at(2, 2, 2))
    qtbot.waitUntil(loader.predictor.started.is_set)
    number = other.submit(COMPACT, volume, at(4, 4, 4))
    one.stop()
    assert one.wait(5) and loader.predictor.cancelled == 1
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: heard == [number])


def test_none_is_served_twice_while_another_waits(qtbot, hire, loader, volume) -> None:
    one, other = hire(), hire()
    heard = answers(other)
    loader.predictor.go.clear()
    one.submit(COMPACT, volume, at(1, 1, 1))
    qtbot.waitUntil(loader.predictor.started.is_set)
    other.submit(COMPACT, volume, at(9, 9, 9))
    for z in (2, 3):  # the first of them cancels what is under way
        one.submit(COMPACT, volume, at(z, 1, 1))
    qtbot.waitUntil(lambda: len(loader.predictor.calls) == 2)
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: len(loader.predictor.calls) == 3 and bool(heard))
    asked = [prompts.points[0].position_voxel[0] for prompts, _ in loader.predictor.calls]
    assert asked == [1, 9, 3]


class Shelf:
    """Loads a predictor of its own for each call, and forgets it at once."""

    def __init__(self) -> None:
        self.loads: list[InferenceSettings] = []
        self.there: list[weakref.ref] = []

    def __call__(self, settings, progress):
        self.loads.append(settings)
        it = BallPredictor(settings)
        self.there.append(weakref.ref(it))
        return it

    def count(self) -> int:
        gc.collect()
        return sum(ref() is not None for ref in self.there)


def test_models_stay_while_a_dock_uses_them(qtbot, hire, volume) -> None:
    shelf = Shelf()
    one, other = hire(shelf), hire(shelf)

    def ask(worker: Worker, settings: InferenceSettings) -> None:
        with qtbot.waitSignal(worker.predicted):
            worker.submit(settings, volume, at(8, 8, 8))

    ask(one, COMPACT)
    ask(one, OTHER)
    assert shelf.count() == 1  # nobody uses the first any longer
    ask(other, COMPACT)
    ask(one, InferenceSettings(precision="fp32", threshold=0.7))
    ask(other, COMPACT)
    assert shelf.count() == 2 and shelf.loads == [COMPACT, OTHER, COMPACT]
    third = hire(shelf)
    ask(third, THIRD)
    assert shelf.count() == 2 and len(shelf.loads) == 4
    ask(other, COMPACT)
    assert len(shelf.loads) == 4  # the one used longest ago had to go
    third.stop()
    one.stop()
    qtbot.waitUntil(lambda: shelf.count() == 1)
    other.stop()
    assert other.wait(5) and shelf.count() == 0


class Download:
    """Loads `FAR` once `go` is set; everything else at once."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.go, self.started = threading.Event(), threading.Event()
        self.begun = 0
        self.ended: list[str] = []

    def __call__(self, settings, progress):
        if settings.model != FAR.model:
            return self.loader(settings, progress)
        self.begun += 1
        self.started.set()
        assert self.go.wait(60)
        try:
            progress(50, 100)
        except Cancelled:
            self.ended.append("cancelled")
            raise
        self.ended.append("whole")
        progress(100, 100)
        return BallPredictor(settings)


@pytest.fixture
def download(loader, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path))
    it = Download(loader)
    yield it
    it.go.set()


def test_a_click_is_served_while_another_dock_downloads(
    qtbot, hire, download, loader, volume
) -> None:
    one, other = hire(download), hire(download)
    heard = answers(one)
    number = one.submit(FAR, volume, at(2, 2, 2))
    qtbot.waitUntil(download.started.is_set)
    with qtbot.waitSignal(other.predicted):
        other.submit(COMPACT, volume, at(4, 4, 4))
    assert heard == [] and download.ended == []
    download.go.set()
    qtbot.waitUntil(lambda: heard == [number])
    assert download.ended == ["whole"]


def test_two_docks_share_a_download_and_one_may_give_it_up(qtbot, hire, download, volume) -> None:
    one, other = hire(download), hire(download)
    heard = answers(other)
    told: list[int] = []
    other.downloading.connect(lambda number, done, total: told.append(done))
    one.submit(FAR, volume, at(2, 2, 2))
    qtbot.waitUntil(download.started.is_set)
    number = other.submit(FAR, volume, at(4, 4, 4))
    one.cancel()
    download.go.set()
    qtbot.waitUntil(lambda: heard == [number])
    assert download.begun == 1 and download.ended == ["whole"] and told == [50, 100]


def test_a_download_that_was_given_up_begins_again_when_it_is_wanted(
    qtbot, hire, download, volume
) -> None:
    one = hire(download)
    heard = answers(one)
    one.submit(FAR, volume, at(2, 2, 2))
    qtbot.waitUntil(download.started.is_set)
    one.cancel()
    download.go.set()
    qtbot.waitUntil(lambda: download.ended == ["cancelled"])
    number = one.submit(FAR, volume, at(4, 4, 4))
    qtbot.waitUntil(lambda: heard == [number])
    assert download.ended == ["cancelled", "whole"]


def test_two_images_do_not_mix_in_the_shared_model(qtbot, hire, one_thread) -> None:
    """Each click is answered as by a model of its own, though both images have the same patches."""
    grid = Grid.from_spacing((24, 24, 24), (1, 1, 1))
    noise = np.random.default_rng(0).normal(0, 5, (24, 24, 24))
    bright = [100 * ball((24, 24, 24), (12, 12, 12), radius) + noise for radius in (4, 8)]
    volumes = [Volume(it.astype(np.float32), grid) for it in bright]
    clicks = at(12, 12, 12), at(12, 12, 12).add(Point((12, 12, 14)))

    def ask(workers: list[Worker]) -> list[np.ndarray]:
        masks = []
        for prompts in clicks:
            for worker, volume in zip(workers, volumes, strict=True):
                with qtbot.waitSignal(worker.predicted, timeout=60_000) as heard:
                    worker.submit(COMPACT, volume, prompts)
                masks.append(heard.args[1].full(grid.shape))
        return masks

    def load(settings, progress):
        return load_predictor(settings, progress)

    together = ask([hire(load), hire(load)])
    apart = ask([hire(lambda *args: load(*args)), hire(lambda *args: load(*args))])
    assert together[0].sum() < together[1].sum()
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("moment", ["loading", "computing"])
def test_the_program_may_end_in_the_middle(moment) -> None:
    """Torch aborts the whole process when Python takes its thread away."""
    code = (
        "import time\n"
        "import numpy as np\n"
        "from qtpy.QtCore import QCoreApplication\n"
        "from napari_sam3d.plugin.thread.worker import Worker\n"
        "from napari_sam3d import Grid, InferenceSettings, Point, Prompts, Volume\n"
        "app, shape = QCoreApplication([]), (64, 64, 64)\n"
        "volume = Volume(np.zeros(shape, np.float32), Grid.from_spacing(shape, (1, 1, 1)))\n"
        "worker = Worker()\n"
        f"worker.{moment}.connect(lambda *_: app.quit())\n"
        "worker.submit(InferenceSettings(), volume, Prompts().add(Point((32, 32, 32))))\n"
        "app.exec()\n"
        "class Slow:\n"  # Python takes its time to end, as with a window
        "    def __del__(self, sleep=time.sleep): sleep(1)\n"
        "slow = Slow()\n"
        "print('over')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "over"), done.stderr


# in real viewers


@pytest.fixture
def docks(real_viewer, loader, qtbot) -> list[tuple]:
    """Two viewers with a black image and a dock each, the second one on the screen.

    With two canvases on the screen vispy 0.17 draws into the wrong one after a layer was removed;
    it does so without any plugin.
    """
    made = []
    for name in ("left", "right"):
        viewer = real_viewer(show=name == "right")
        image = viewer.add_image(np.zeros(SHAPE, np.int16), name=name)
        dock = SegmentWidget(viewer, loader)
        viewer.window.add_dock_widget(dock, name="Segment")
        made.append((viewer, image, dock))
    qtbot.waitUntil(dock.isVisible)
    return made


def shows(dock: SegmentWidget, *center: int) -> bool:
    return np.array_equal(dock.session.labels.data == 1, ball(SHAPE, center))


def test_two_viewers_have_one_model_and_a_state_each(docks, loader, qtbot) -> None:
    (left, left_image, one), (right, right_image, other) = docks
    loader.predictor.go.clear()
    canvas_click(left, (4, 4, 4), left_image)
    qtbot.waitUntil(loader.predictor.started.is_set)
    canvas_click(right, (9, 9, 9), right_image)
    qtbot.waitUntil(lambda: other.controls.status.text().startswith("Waiting for the other"))
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: shows(one, 4, 4, 4) and shows(other, 9, 9, 9))
    assert len(loader.loads) == 1 and loader.predictor.cancelled == 0
    for it in (one, other):
        assert it.controls.status.text().startswith("Mask in 0.31 s (1 point)")
        assert len(it.session.object.prompts.points) == 1


@pytest.mark.parametrize("close", ["dock", "viewer"])
def test_closing_one_in_the_middle_leaves_the_other(docks, loader, qtbot, close) -> None:
    (left, left_image, one), (right, right_image, other) = docks
    loader.predictor.go.clear()
    canvas_click(left, (4, 4, 4), left_image)
    qtbot.waitUntil(loader.predictor.started.is_set)
    canvas_click(right, (9, 9, 9), right_image)
    qtbot.waitUntil(other.controls.busy.isVisible)
    worker = one.runner.worker
    if close == "dock":
        left.window.remove_dock_widget(one)
    else:
        left.close()
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    assert worker.wait(5)
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: shows(other, 9, 9, 9))
    canvas_click(right, (9, 9, 11), right_image)
    qtbot.waitUntil(lambda: len(loader.predictor.calls) == 3)
    assert len(loader.loads) == 1
