"""Long work in the shared thread: clicks go first, and nothing that was begun is left open."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator

import numpy as np
import pytest

from napari_sam3d._tests.plugin.conftest import BallPredictor, Loader
from napari_sam3d.plugin.thread.shared_thread import SharedThread
from napari_sam3d.plugin.thread.work import Elsewhere, Work
from napari_sam3d.plugin.thread.worker import Worker
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SHAPE = (16, 16, 16)
VOLUME = Volume(np.zeros(SHAPE, np.uint8), Grid.from_spacing(SHAPE, (1, 1, 1)))
CLICK = Prompts().add(Point((8, 8, 8)))


class Diary(list):
    """What was done in the thread, in order; each entry waits to be allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.allowed = threading.Semaphore(0), threading.Semaphore(0)
        self.threads: set[str] = set()

    def write(self, what: str) -> None:
        self.append(what)
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        assert self.allowed.acquire(timeout=60)

    def allow(self, count: int = 1) -> None:
        self.allowed.release(count)

    def wait(self) -> None:
        """Until there is another entry."""
        assert self.begun.acquire(timeout=60)

    def steps(self, name: str, count: int = 3) -> Generator[None, None, None]:
        try:
            for number in range(count):
                self.write(f"{name} {number}")
                yield
        finally:
            self.append(f"{name} closed")


@pytest.fixture
def diary(loader: Loader) -> Diary:
    it = Diary()

    class Writing(BallPredictor):
        def predict(self, volume, prompts, previous=None, cancelled=lambda: False):
            it.write("click")
            return super().predict(volume, prompts, previous, cancelled)

    loader.predictor = Writing(InferenceSettings())
    return it


@pytest.fixture
def begin(loader: Loader, diary: Diary):
    """Begins works in the thread of the loader, and sees to it that they end."""
    begun: list[tuple[SharedThread, Work]] = []

    def work(steps) -> Work:
        work = Work("tale", steps, ended.append)
        begun.append((SharedThread.begin(loader, work), work))
        return work

    ended: list[str] = []
    work.ended = ended
    work.begun = begun
    yield work
    diary.allow(100)
    for thread, it in begun:
        thread.stop(it)
    assert all(it.over.wait(60) for _, it in begun)


@pytest.fixture
def worker(qtbot, loader: Loader, diary: Diary):
    it = Worker(loader)
    yield it
    diary.allow(100)
    it.stop()
    assert it.wait(60)


def test_a_click_is_served_between_two_bits(qtbot, begin, worker, diary) -> None:
    work = begin(diary.steps("bit"))
    diary.wait()
    with qtbot.waitSignal(worker.predicted, timeout=60_000):
        worker.submit(InferenceSettings(), VOLUME, CLICK)
        diary.allow(2)  # the rest of the first bit, and the click
    diary.allow(2)
    assert work.over.wait(60)
    assert diary == ["bit 0", "click", "bit 1", "bit 2", "bit closed"]
    assert diary.threads == {"napari-sam3d"}


def test_works_take_turns(begin, diary) -> None:
    one = begin(diary.steps("one"))
    diary.wait()
    other = begin(diary.steps("other"))
    diary.allow(6)
    assert one.over.wait(60) and other.over.wait(60)
    done = [it for it in diary if "closed" not in it]
    assert done == ["one 0", "other 0", "one 1", "other 1", "one 2", "other 2"]


def test_what_happens_elsewhere_holds_nobody(qtbot, begin, worker, diary) -> None:
    gone, there = threading.Event(), threading.Event()

    def far() -> str:
        gone.set()
        assert there.wait(60)
        return threading.current_thread().name

    def steps():
        name = yield Elsewhere(far)
        diary.write(f"back from {name}")
        yield

    work = begin(steps())
    assert gone.wait(60)
    diary.allow(1)
    with qtbot.waitSignal(worker.predicted, timeout=60_000):
        worker.submit(InferenceSettings(), VOLUME, CLICK)
    there.set()
    diary.allow(1)
    assert work.over.wait(60)
    assert diary == ["click", "back from napari-sam3d apart"]


def test_an_error_from_elsewhere_can_be_caught_and_else_ends_the_work(begin) -> None:
    def fail() -> None:
        raise ValueError("The weights are not there.")

    def steps():
        try:
            yield Elsewhere(fail)
        except ValueError:
            yield Elsewhere(fail)

    work = begin(steps())
    assert work.over.wait(60)
    begin.begun[0][0]._thread.join(60)
    assert begin.ended == ["The weights are not there."]


def test_it_does_not_wait_for_what_nobody_wants_any_more(begin) -> None:
    gone, there, closed = threading.Event(), threading.Event(), threading.Event()

    def far() -> None:
        gone.set()
        assert there.wait(60)

    def steps():
        try:
            yield Elsewhere(far)
        finally:
            closed.set()

    work = begin(steps())
    assert gone.wait(60)
    begin.begun[0][0].stop(work)
    assert work.over.wait(60) and closed.is_set() and not there.is_set()
    there.set()


def test_stopping_closes_it_before_the_next_bit(begin, diary) -> None:
    work = begin(diary.steps("bit"))
    diary.wait()
    begin.begun[0][0].stop(work)
    diary.allow()
    assert work.over.wait(60) and diary == ["bit 0", "bit closed"]


def test_an_error_is_a_sentence_and_all_is_let_go(begin, diary, caplog) -> None:
    class Network:
        pass

    network = Network()
    ref = weakref.ref(network)

    def steps(network):
        diary.write("bit")
        yield
        raise KeyError(f"{network} is broken")

    gc.collect()
    gc.disable()  # it is let go at once
    try:
        work = begin(steps(network))
        del network
        diary.allow()
        begin.begun[0][0]._thread.join(60)
        assert work.over.is_set() and begin.ended[0].startswith("The tale failed (KeyError: ")
        assert caplog.records[0].exc_info is not None and ref() is None
    finally:
        gc.enable()


def test_the_thread_lives_while_anybody_needs_it(qtbot, begin, loader, diary) -> None:
    worker = Worker(loader)
    work = begin(diary.steps("bit"))
    thread = begin.begun[0][0]
    diary.wait()
    worker.stop()
    assert worker.wait(60) and thread._thread.is_alive()
    second = Worker(loader)
    diary.allow(3)
    assert work.over.wait(60)
    diary.allow()
    with qtbot.waitSignal(second.predicted, timeout=60_000):
        second.submit(InferenceSettings(), VOLUME, CLICK)
    assert diary.threads == {"napari-sam3d"} and thread._thread.is_alive()
    second.stop()
    assert second.wait(60) and not thread._thread.is_alive()


def test_what_is_not_used_any_more_goes_while_work_is_under_way(qtbot, begin, diary) -> None:
    there: list[weakref.ref] = []

    def load(settings, progress):
        it = BallPredictor(settings)
        there.append(weakref.ref(it))
        return it

    worker = Worker(load)
    with qtbot.waitSignal(worker.predicted, timeout=60_000):
        worker.submit(InferenceSettings(), VOLUME, CLICK)
    work = Work("tale", diary.steps("bit"), begin.ended.append)
    begin.begun.append((SharedThread.begin(load, work), work))
    diary.wait()
    worker.stop()
    diary.allow()
    diary.wait()
    gc.collect()
    assert there[0]() is None


def test_the_program_may_end_in_the_middle_of_it() -> None:
    code = (
        "import threading\n"
        "from napari_sam3d.plugin.thread.shared_thread import SharedThread\n"
        "from napari_sam3d.plugin.thread.work import Work\n"
        "begun = threading.Event()\n"
        "def steps():\n"
        "    try:\n"
        "        while True:\n"
        "            begun.set()\n"
        "            yield\n"
        "    finally:\n"
        "        print('saved')\n"
        "SharedThread.begin(len, Work('tale', steps(), lambda failure: print('over', failure)))\n"
        "begun.wait()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["saved", "over"]), done.stderr
