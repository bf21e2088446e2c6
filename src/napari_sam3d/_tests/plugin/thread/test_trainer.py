"""A Train dock's end of the thread: all that is asked for is answered, once."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from qtpy.QtCore import QThread

from napari_sam3d._tests.engine.training.small import ball, balls, settings, small_base
from napari_sam3d.engine.adapters import read_tensors
from napari_sam3d.engine.training import Failed, Finished, RunFolder, Started, Step, Validated
from napari_sam3d.labelled import Labelled, Pair, PairFiles
from napari_sam3d.plugin.thread.trainer import Trainer
from napari_sam3d.settings import TrainSettings


def pair(case: Labelled) -> Pair:
    return Pair(case.volume, case.labels, case.volume.grid, {3: "ball"})


def pairs(count: int = 3) -> list[Pair]:
    return [pair(case) for case in balls(count)]


class Bases:
    """Loads the small network once `go` is set; the file of a run must not be touched before."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.threads: list[str] = []
        self.models: list[weakref.ref] = []
        self.error: Exception | None = None

    def __call__(self, wanted: TrainSettings, progress):
        self.threads.append(threading.current_thread().name)
        progress(10, 100)
        self.begun.set()
        assert self.go.wait(60)
        progress(50, 100)
        if self.error is not None:
            raise self.error
        base = small_base(wanted)
        self.models.append(weakref.ref(base.model))
        return base


class Heard(list):
    """All signals of a trainer in order: name and value."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.threads: set = set()
        for name in ("event", "checked", "read", "rehearsed", "failed", "state_changed"):
            getattr(trainer, name).connect(lambda it, name=name: self._hear(name, it))
        trainer.progressed.connect(lambda it: self._hear("progressed", it))
        trainer.downloading.connect(lambda *it: self._hear("downloading", it))

    def _hear(self, name: str, value: object) -> None:
        self.threads.add(QThread.currentThread())
        self.append((name, value))

    def of(self, name: str) -> list:
        return [value for it, value in self if it == name]

    @property
    def states(self) -> list[str]:
        return self.of("state_changed")


@pytest.fixture
def load() -> Bases:
    return Bases()


@pytest.fixture
def trainer(qtbot, load, loader, one_thread):
    it = Trainer(load, loader)
    yield it
    load.go.set()
    it.stop()
    qtbot.waitUntil(lambda: it.state == "idle")


def test_a_training_tells_all_that_counts(qtbot, trainer, load) -> None:
    heard = Heard(trainer)
    trainer.start(settings(steps=40, validate_every=20, rate=0.5), pairs(), "balls")
    assert trainer.state == "running" and trainer.trains and trainer.name == "balls"
    qtbot.waitUntil(lambda: trainer.state == "idle")
    events = heard.of("event")
    assert isinstance(events[0], Started) and isinstance(events[-1], Finished)
    assert [it.step for it in events if isinstance(it, Validated)] == [0, 20, 40]
    assert [it.step for it in events if isinstance(it, Step)][-1] == 40
    assert events[-1].adapter is not None and events[-1].adapter.exists()
    assert heard.states[-2:] == ["running", "idle"] and not heard.of("failed")
    assert heard.threads == {QThread.currentThread()}
    assert load.threads == ["napari-sam3d apart"]
    assert trainer.progress == (40, 40)


def test_it_equals_the_one_of_the_command_line(qtbot, trainer) -> None:
    from napari_sam3d.engine.training import train

    for _ in train(settings(), balls(3), RunFolder.called("plain"), load=small_base):
        pass
    trainer.start(settings(), pairs(), "balls")
    qtbot.waitUntil(lambda: trainer.state == "idle")
    one, other = (read_tensors(RunFolder.called(it).last) for it in ("plain", "balls"))
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=1e-6, rtol=0)


def test_stop_saves_and_the_run_goes_on_later(qtbot, trainer) -> None:
    heard = Heard(trainer)
    stop = [True]
    trainer.event.connect(lambda it: isinstance(it, Step) and stop and trainer.stop())
    wanted = settings(steps=100_000, validate_every=100_000)
    trainer.start(wanted, pairs(), "balls")
    qtbot.waitUntil(lambda: trainer.state == "idle")
    assert heard.states[-3:] == ["running", "stopping", "idle"]
    assert not any(isinstance(it, Finished | Failed) for it in heard.of("event"))
    state = RunFolder.called("balls").read_state()
    done = state["step"]
    assert 0 < done < 100_000
    stop.clear()
    heard.clear()
    trainer.start(replace(wanted, steps=done + 2), pairs(), "balls", resume=True)
    qtbot.waitUntil(lambda: trainer.state == "idle")
    assert heard.of("event")[0].step == done
    assert isinstance(heard.of("event")[-1], Finished) and trainer.progress == (done + 2, done + 2)


def test_what_cannot_begin_is_a_sentence(qtbot, trainer, load) -> None:
    heard = Heard(trainer)
    for name, given, said in (
        ("a/b", pairs(), "cannot be the name"),
        ("balls", [], "no labelled volume"),
        ("balls", pairs(1) * 2, "Two volumes are called"),
    ):
        heard.clear()
        trainer.start(settings(), given, name)
        qtbot.waitUntil(lambda: trainer.state == "idle")
        assert len(heard.of("failed")) == 1 and said in heard.of("failed")[0]
        assert heard[-1][0] == "failed"  # a new one may be started in answer to it
    load.error = OSError("The weights could not be fetched.")
    trainer.start(settings(), pairs(), "balls")
    qtbot.waitUntil(lambda: trainer.state == "idle")
    assert heard.of("failed")[-1] == "The weights could not be fetched."
    load.error = None
    trainer.start(settings(), pairs(), "balls")
    qtbot.waitUntil(lambda: trainer.state == "idle")
    assert isinstance(heard.of("event")[-1], Finished)


def test_a_download_can_be_given_up(qtbot, trainer, load) -> None:
    heard = Heard(trainer)
    load.go.clear()
    trainer.start(settings(), pairs(), "balls")
    qtbot.waitUntil(lambda: trainer.state == "downloading")
    assert heard.of("downloading") == [(10, 100)]
    trainer.stop()
    assert trainer.state == "stopping"
    qtbot.waitUntil(lambda: trainer.state == "idle")  # though the other thread still waits
    assert not RunFolder.called("balls").path.exists() and not heard.of("failed")
    load.go.set()


def test_there_is_one_training_at_a_time(qtbot, trainer, load, loader) -> None:
    other = Trainer(load, loader)
    heard = Heard(other)
    load.go.clear()
    trainer.start(settings(), pairs(), "balls")
    other.start(settings(), pairs(), "others")
    assert heard == [("failed", "The training balls is under way; wait for its end, or stop it.")]
    load.go.set()
    qtbot.waitUntil(lambda: trainer.state == "idle")
    other.start(settings(), pairs(), "others")
    qtbot.waitUntil(lambda: other.state == "idle")
    assert isinstance(other.events[-1], Finished)


def test_the_newest_check_counts(qtbot, trainer) -> None:
    heard = Heard(trainer)
    trainer.check(settings(), [], "balls")
    trainer.check(settings(), pairs(), "balls")
    qtbot.waitUntil(lambda: trainer.state == "idle")
    assert len(heard.of("checked")) == 1
    assert not [it for it in heard.of("checked")[0] if it.state == "problem"]
    assert heard.states == ["checking", "idle"]


def test_a_rehearsal_writes_nothing(qtbot, trainer, load) -> None:
    heard = Heard(trainer)
    trainer.rehearse(settings(), pairs())
    qtbot.waitUntil(lambda: trainer.state == "idle")
    assert len(heard.of("rehearsed")) == 1 and heard.of("rehearsed")[0].step_seconds > 0
    assert heard.of("progressed") == sorted(heard.of("progressed")) and heard.of("progressed")
    assert heard.states == ["rehearsing", "downloading", "rehearsing", "idle"]
    assert not RunFolder.called("balls").path.exists()


@pytest.mark.parametrize("how", ["ends", "is stopped", "fails", "is rehearsed"])
def test_the_memory_is_given_back(qtbot, trainer, load, how) -> None:
    given = pairs()
    volumes = [weakref.ref(it.volume) for it in given]
    if how == "fails":
        bad = ball("bad", 4.0)
        given[0] = pair(replace(bad, volume=replace(bad.volume, data=bad.volume.data * np.nan)))
    if how == "is stopped":
        trainer.event.connect(lambda it: isinstance(it, Step) and trainer.stop())
    if how == "is rehearsed":
        trainer.rehearse(settings(), given)
    else:
        trainer.start(settings(steps=20, validate_every=10), given, "balls")
    del given
    qtbot.waitUntil(lambda: trainer.state == "idle")
    gc.collect()
    assert not [ref() for ref in (*load.models, *volumes) if ref() is not None]


def save(path: Path, data: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    return path


def test_files_are_read_and_a_bad_one_stops_no_other(qtbot, trainer, tmp_path) -> None:
    heard = Heard(trainer)
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    files = []
    for name in ("a", "b", "c"):
        image = save(tmp_path / f"{name}.nii.gz", labels.astype(np.int16) * 100)
        files.append(PairFiles(image, save(tmp_path / f"{name}_seg.nii.gz", labels)))
    files[1].labels.write_bytes(b"nothing")
    trainer.read_files(files)
    qtbot.waitUntil(lambda: trainer.state == "idle")
    assert [[it.files for it in read] for read in heard.of("read")] == [[files[0], files[2]]]
    assert len(heard.of("failed")) == 1 and "b_seg.nii.gz" in heard.of("failed")[0]
    assert heard.states == ["reading", "idle"]
    assert heard.of("progressed") == sorted(heard.of("progressed"))
