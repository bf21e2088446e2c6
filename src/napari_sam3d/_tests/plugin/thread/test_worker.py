"""The thread: the newest request wins, nothing is lost, nothing is heard twice."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
from qtpy.QtCore import QThread

from napari_sam3d._tests.plugin.conftest import RADIUS, Loader, ball
from napari_sam3d.engine.prediction import Cancelled
from napari_sam3d.plugin.thread.loading import reports
from napari_sam3d.plugin.thread.worker import Worker
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SETTINGS = InferenceSettings()
SHAPE = (16, 16, 16)


@pytest.fixture
def worker(qtbot, loader: Loader):
    it = Worker(loader)
    yield it
    loader.predictor.go.set()
    it.stop()
    assert it.wait(5)


@pytest.fixture
def volume() -> Volume:
    return Volume(np.zeros(SHAPE, np.uint8), Grid.from_spacing(SHAPE, (1, 1, 1)))


def at(z: float, y: float, x: float) -> Prompts:
    return Prompts().add(Point((z, y, x)))


class Heard(list):
    """All that a worker says, in order."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        worker.predicted.connect(lambda number, it: self.append((number, "mask", it)))
        worker.failed.connect(lambda number, it: self.append((number, "error", it)))
        worker.predicted.connect(lambda *_: self.threads.add(QThread.currentThread()))
        self.threads: set = set()


def test_answers_with_its_number_on_the_thread_that_asked(qtbot, worker, volume) -> None:
    heard = Heard(worker)
    number = worker.submit(SETTINGS, volume, at(8, 8, 8))
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert heard[0][:2] == (number, "mask")
    np.testing.assert_array_equal(heard[0][2].full(SHAPE), ball(SHAPE, (8, 8, 8), RADIUS))
    assert heard.threads == {QThread.currentThread()}


def test_the_newest_request_wins(qtbot, worker, loader, volume) -> None:
    heard = Heard(worker)
    loader.predictor.go.clear()
    worker.submit(SETTINGS, volume, at(2, 2, 2))
    qtbot.waitUntil(loader.predictor.started.is_set)
    worker.submit(SETTINGS, volume, at(3, 3, 3))
    last = worker.submit(SETTINGS, volume, at(4, 4, 4))
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert heard[0][0] == last
    asked = [prompts.points[0].position_voxel[0] for prompts, _ in loader.predictor.calls]
    assert asked[0] == 2 and asked[-1] == 4


def test_a_late_answer_is_dropped(qtbot, worker, loader, volume) -> None:
    heard = Heard(worker)
    worker.submit(SETTINGS, volume, at(2, 2, 2))
    # no event is handled here: the answer comes to lie in the event queue, to be dropped there
    assert loader.predictor.started.wait(5)
    worker.cancel()
    last = worker.submit(SETTINGS, volume, at(4, 4, 4))
    qtbot.waitUntil(lambda: bool(heard))
    assert [number for number, *_ in heard] == [last]


def test_cancel_ends_a_prediction_in_silence(qtbot, worker, loader, volume) -> None:
    heard = Heard(worker)
    loader.predictor.go.clear()
    worker.submit(SETTINGS, volume, at(2, 2, 2))
    qtbot.waitUntil(loader.predictor.started.is_set)
    worker.cancel()
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    loader.predictor.go.set()
    number = worker.submit(SETTINGS, volume, at(4, 4, 4))
    qtbot.waitUntil(lambda: bool(heard))
    assert [(n, kind) for n, kind, _ in heard] == [(number, "mask")]


def test_one_load_serves_all_requests_with_the_same_settings(qtbot, worker, loader, volume) -> None:
    with qtbot.waitSignal(worker.ready):
        worker.warm(SETTINGS)
    for position in (3, 4):
        with qtbot.waitSignal(worker.predicted):
            worker.submit(SETTINGS, volume, at(position, 8, 8))
    others = [InferenceSettings(precision="fp32"), InferenceSettings(adapter="nuclei")]
    for other in others:
        with qtbot.waitSignal(worker.predicted):
            worker.submit(other, volume, at(5, 8, 8))
    assert loader.loads == [SETTINGS, *others]


@pytest.mark.parametrize(
    ("error", "said", "logged"),
    [
        (ValueError("The point is outside."), "The point is outside.", False),
        (RuntimeError("CUDA error: boom\nmore"), "RuntimeError: CUDA error: boom)", True),
        (RuntimeError("CUDA out of memory. Tried"), "not enough memory", True),
        (KeyError("encoder.weight"), "KeyError", True),
        (
            OSError("sam.pth could not be fetched:\n404."),
            "sam.pth could not be fetched: 404.",
            False,
        ),
        (OSError(28, "No space left"), "OSError: [Errno 28] No space left)", True),
        (AssertionError(), "AssertionError", True),
    ],
)
def test_an_error_is_a_sentence_and_the_worker_lives(
    qtbot, worker, loader, volume, caplog, error, said, logged
) -> None:
    heard = Heard(worker)
    loader.predictor.error = error
    with caplog.at_level(logging.ERROR):
        worker.submit(SETTINGS, volume, at(8, 8, 8))
        qtbot.waitUntil(lambda: len(heard) == 1)
    assert heard[0][1] == "error" and said in heard[0][2] and "\n" not in heard[0][2]
    assert bool(caplog.records) == logged
    loader.predictor.error = None
    worker.submit(SETTINGS, volume, at(8, 8, 8))
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert heard[1][1] == "mask"


def test_a_model_that_does_not_load_is_tried_again(qtbot, loader, volume) -> None:
    broken = [True]

    def load(settings, progress):
        if broken:
            broken.pop()
            raise ValueError("There is no such model.")
        return loader(settings, progress)

    worker = Worker(load)
    heard = Heard(worker)
    for _ in range(2):
        worker.submit(SETTINGS, volume, at(8, 8, 8))
        n = len(heard) + 1
        qtbot.waitUntil(lambda n=n: len(heard) == n)
    assert [kind for _, kind, _ in heard] == ["error", "mask"]
    worker.stop()
    assert worker.wait(5)


def test_stop_ends_the_thread_in_the_middle_of_a_prediction(qtbot, loader, volume) -> None:
    worker = Worker(loader)
    loader.predictor.go.clear()
    worker.submit(SETTINGS, volume, at(8, 8, 8))
    qtbot.waitUntil(loader.predictor.started.is_set)
    worker.stop()
    assert worker.wait(5)


class Download:
    """Loads once `go` is set, and tells its progress at each `step`."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.go = threading.Event()
        self.started = threading.Event()
        self.ended: list[str] = []
        self.total = 100

    def __call__(self, settings, progress):
        if settings.model == "compact":
            return self.loader(settings, progress)
        progress(0, self.total)
        self.started.set()
        assert self.go.wait(60)
        try:
            progress(50, self.total)
            progress(100, self.total)
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("whole")
        return self.loader(settings, progress)


@pytest.fixture
def download(qtbot, loader, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path))
    it = Download(loader)
    yield it
    it.go.set()


@pytest.fixture
def downloader(qtbot, download):
    it = Worker(download)
    yield it
    download.go.set()
    it.stop()
    assert it.wait(5)


FAR = InferenceSettings(model="sam_vit_b")


def test_a_download_tells_how_far_it_is(qtbot, downloader, download, volume) -> None:
    told: list[tuple[int, int, int]] = []
    downloader.downloading.connect(lambda *values: told.append(values))
    number = downloader.submit(FAR, volume, at(8, 8, 8))
    qtbot.waitUntil(lambda: told == [(number, 0, 100)])
    with qtbot.waitSignal(downloader.predicted):
        download.go.set()
    assert told[-1] == (number, 100, 100) and download.ended == ["whole"]


def test_a_download_that_hangs_keeps_nobody_waiting(qtbot, downloader, download, volume) -> None:
    heard = Heard(downloader)
    downloader.submit(FAR, volume, at(8, 8, 8))
    qtbot.waitUntil(download.started.is_set)
    number = downloader.submit(SETTINGS, volume, at(4, 4, 4))
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert heard[0][:2] == (number, "mask") and download.ended == []
    download.go.set()
    qtbot.waitUntil(lambda: download.ended == ["Cancelled"])


def test_a_second_request_does_not_end_a_download(qtbot, downloader, download, volume) -> None:
    heard = Heard(downloader)
    downloader.submit(FAR, volume, at(8, 8, 8))
    qtbot.waitUntil(download.started.is_set)
    number = downloader.submit(FAR, volume, at(4, 4, 4))
    download.go.set()
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert heard[0][:2] == (number, "mask") and download.ended == ["whole"]


def test_stop_ends_the_thread_in_the_middle_of_a_download(
    qtbot, downloader, download, volume
) -> None:
    downloader.submit(FAR, volume, at(8, 8, 8))
    qtbot.waitUntil(download.started.is_set)
    downloader.stop()
    assert downloader.wait(5) and download.ended == []


def test_what_has_come_in_full_is_kept(qtbot) -> None:
    told: list[int] = []
    progress = reports(lambda done, total: told.append(done), lambda: False)
    progress(100, 100)
    assert told == [100]
    for done, total in ((50, 100), (50, 0)):
        with pytest.raises(Cancelled):
            progress(done, total)


def test_a_replaced_file_is_loaded_again(qtbot, worker, loader, volume) -> None:
    for forget in (False, False, True):
        if forget:
            worker.forget()
        with qtbot.waitSignal(worker.predicted):
            worker.submit(SETTINGS, volume, at(8, 8, 8))
    assert len(loader.loads) == 2
