"""Long work in a thread: the window stays alive, and nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QThread, QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog

from napari_sam3d._tests.nifti_files import nifti, put
from napari_sam3d.plugin.files import background
from napari_sam3d.plugin.files.reader import NO_LAYER, read


class Steps:
    """Waits for `go` at every other step; remembers the thread and how it ended."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go = threading.Event()
        self.started = threading.Event()
        self.thread: threading.Thread | None = None
        self.closed = False
        self.error = error

    def __call__(self):
        self.thread = threading.current_thread()
        try:
            self.started.set()
            for n in range(1, 2000):
                self.go.wait(0.01)
                yield n / 2000
                if self.go.is_set():
                    break
            if self.error is not None:
                raise self.error
            return "the voxels"
        except GeneratorExit:
            self.closed = True
            raise


@pytest.fixture
def steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.go.set()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def dialogs() -> list[QProgressDialog]:
    return [w for w in QApplication.allWidgets() if isinstance(w, QProgressDialog)]


def shown() -> list[QProgressDialog]:
    return [w for w in dialogs() if w.isVisible()]


class When:
    """Acts as soon as something is true, while `run` keeps the caller waiting."""

    def __init__(self, condition, act) -> None:
        self.ticks, self.acted = 0, 0
        self._condition, self._act = condition, act
        self._timer = QTimer(interval=5)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _look(self) -> None:
        self.ticks += 1
        if not self.acted and self._condition():
            self.acted = self.ticks
            self._act()

    def stop(self) -> None:
        self._timer.stop()


@pytest.fixture
def when() -> Iterator[type[When]]:
    made: list[When] = []

    def make(condition, act) -> When:
        made.append(When(condition, act))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_the_result_comes_back(qapp, steps):
    steps.go.set()
    assert background.run(steps(), "Reading") == "the voxels"
    assert steps.thread is not threading.current_thread()
    assert not dialogs()


def test_the_window_lives_and_a_dialog_appears(qapp, steps, when):
    seen: list[tuple[str, int, bool]] = []

    def look() -> None:
        (dialog,) = shown()
        seen.append((dialog.labelText(), dialog.value(), dialog.isModal()))
        steps.go.set()

    alive = when(lambda: bool(shown()) and shown()[0].value() > 0, look)
    assert background.run(steps(), "Reading scan.nii.gz") == "the voxels"
    assert alive.ticks > 10
    ((text, value, modal),) = seen
    assert text == "Reading scan.nii.gz ..." and 0 < value < 1000 and modal
    assert not shown()


def test_what_is_short_shows_no_dialog(qapp, steps, when):
    later = when(lambda: bool(dialogs()), steps.go.set)  # made, but not yet shown
    visible = when(lambda: bool(shown()), lambda: None)
    assert background.run(steps(), "Reading") == "the voxels"
    assert later.acted and not visible.acted


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, MemoryError, KeyError])
def test_errors_come_back(qapp, kind):
    steps = Steps(kind("broken"))
    steps.go.set()
    with pytest.raises(kind, match="broken"):
        background.run(steps(), "Reading")


def test_errors_after_the_dialog_come_back(qapp, when):
    steps = Steps(RuntimeError("deleted object"))
    when(lambda: bool(shown()), steps.go.set)
    with pytest.raises(RuntimeError, match="deleted object"):
        background.run(steps(), "Reading")
    assert not shown()


def test_cancel_closes_the_steps(qapp, steps, when):
    when(lambda: bool(shown()), lambda: shown()[0].cancel())
    with pytest.raises(background.Cancelled):
        background.run(steps(), "Reading")
    assert steps.closed and not steps.thread.is_alive() and not shown()


@pytest.mark.parametrize("visible", [False, True])
def test_quitting_the_application_ends_the_work(qapp, steps, when, visible):
    outcomes = []

    def work() -> None:
        try:
            outcomes.append(background.run(steps(), "Reading"))
        except background.Cancelled:
            outcomes.append("cancelled")

    when(lambda: steps.started.is_set() and bool(shown()) == visible, qapp.quit)
    QTimer.singleShot(0, work)
    qapp.exec()
    assert outcomes == ["cancelled"]
    assert steps.closed


def test_closing_the_window_ends_the_work(real_viewer, qapp, steps, when):
    viewer = real_viewer(show=True)
    closing = when(lambda: bool(shown()), viewer.close)
    with pytest.raises(background.Cancelled):
        background.run(steps(), "Reading")
    assert closing.acted and steps.closed
    qapp.processEvents()  # Qt wants to end with its last window; not in the next test, please


def test_work_within_work(qapp, steps, when):
    inner, results = Steps(), []

    def start_another() -> None:
        inner.go.set()
        results.append(background.run(inner(), "Reading b"))
        steps.go.set()

    when(lambda: bool(shown()), start_another)
    assert background.run(steps(), "Reading a") == "the voxels"
    assert results == ["the voxels"]


def test_other_threads_run_the_steps_themselves(qapp, steps):
    steps.go.set()
    results = []
    thread = threading.Thread(target=lambda: results.append(background.run(steps(), "Reading")))
    thread.start()
    thread.join()
    assert results == ["the voxels"] and steps.thread is thread


def test_without_an_application_they_simply_run(monkeypatch, steps):
    monkeypatch.setattr(background.QApplication, "instance", staticmethod(lambda: None))
    steps.go.set()
    assert background.run(steps(), "Reading") == "the voxels"
    assert steps.thread is threading.current_thread()


def test_a_cancelled_file_is_no_layer(qapp, tmp_path, monkeypatch, steps, when):
    path = str(put(tmp_path / "a.nii", nifti()))
    opened = "napari_sam3d.plugin.files.reader.open_steps"
    monkeypatch.setattr(opened, lambda *args, **kwargs: steps())
    when(lambda: bool(shown()), lambda: shown()[0].cancel())
    assert read(path) == NO_LAYER
    assert steps.closed
    viewer = ViewerModel()
    assert not viewer.layers and QThread.currentThread() == qapp.thread()
