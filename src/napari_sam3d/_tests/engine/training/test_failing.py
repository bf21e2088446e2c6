"""Whatever happens to a training, it ends with a sentence and what was best."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal

import pytest
import torch

from napari_sam3d._tests.engine.training.small import balls, settings, small_base
from napari_sam3d.engine.adapters import read_tensors
from napari_sam3d.engine.training import Failed, Finished, RunFolder, Saved, Step, train, validation
from napari_sam3d.engine.training import run_folder as files
from napari_sam3d.engine.training.tuning import Tuner


def training(name="x", resume=False):
    wanted = settings(steps=40, validate_every=10, rate=0.5)
    return train(wanted, balls(3), RunFolder.called(name), resume=resume, load=small_base)


def status() -> dict:
    return json.loads(RunFolder.called("x").status.read_text())


def fails(events) -> Failed:
    *_, last = events
    assert isinstance(last, Failed) and last.sentence.count("\n") == 0
    return last


def loadable(path) -> bool:
    return set(read_tensors(path)) == {"head.weight", "head.bias"}


def break_at(monkeypatch, step, broken):
    """Let `broken(loss)` take the place of the loss from a step on."""
    advance = Tuner.advance

    def other(self, number):
        return broken() if number >= step else advance(self, number)

    monkeypatch.setattr(Tuner, "advance", other)


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def no_cpu_memory():
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda: (float("nan"), 0.1), "The loss is no number any more at step 25; try a lower"),
        (out_of_memory, "not enough memory to tune"),
        (no_cpu_memory, "not enough memory to tune"),
    ],
)
def test_what_goes_wrong_in_a_step(monkeypatch, broken, sentence):
    break_at(monkeypatch, 25, broken)
    failed = fails(training())
    assert sentence in failed.sentence and failed.step == 24
    assert failed.adapter == RunFolder.called("x").best and loadable(failed.adapter)
    assert status()["state"] == "FAILED" and sentence in status()["reason"]


def test_full_memory_in_a_look(monkeypatch):
    clicks_on, looked = validation.clicks_on, []

    def full(predictor, it):
        looked.append(it.case)
        return clicks_on(predictor, it) if len(looked) < 4 else out_of_memory()

    monkeypatch.setattr(validation, "clicks_on", full)
    failed = fails(training())
    assert "not enough memory to tune compact" in failed.sentence and failed.step == 30
    assert failed.adapter == RunFolder.called("x").best and loadable(failed.adapter)
    monkeypatch.setattr(validation, "clicks_on", clicks_on)
    started, *_, last = training(resume=True)
    assert started.step == 20 and isinstance(last, Finished)  # from where it was saved


def test_a_loss_that_is_no_number_changes_no_tensor():
    base = small_base(settings())
    with torch.no_grad():
        base.model.encoder.weight.fill_(float("nan"))
    before = base.model.head.weight.clone()
    events = train(settings(), balls(3), RunFolder.called("x"), load=lambda _: base)
    failed = fails(events)
    assert "no number any more at step 1" in failed.sentence
    assert torch.equal(base.model.head.weight, before) and failed.adapter is None


def test_weights_that_ran_away_are_not_saved(monkeypatch):
    advance = Tuner.advance

    def other(self, number):
        told = advance(self, number)
        if number == 20:
            with torch.no_grad():
                self.model.head.weight.fill_(float("inf"))
        return told

    monkeypatch.setattr(Tuner, "advance", other)
    failed = fails(training())
    assert failed.adapter is not None
    assert all(torch.isfinite(it).all() for it in read_tensors(failed.adapter).values())


def test_an_error_of_the_program_is_not_hidden(monkeypatch):
    def broken():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    break_at(monkeypatch, 5, broken)
    with pytest.raises(RuntimeError, match="mat1"):
        list(training())
    assert status()["state"] == "FAILED"


def test_a_folder_that_is_deleted_comes_back_with_the_best():
    events = training()
    for event in events:
        if isinstance(event, Step) and event.step == 25:
            shutil.rmtree(RunFolder.called("x").path)
            break
    failed = fails(events)
    assert "cannot be written" in failed.sentence and failed.step == 30
    assert failed.adapter == RunFolder.called("x").best and loadable(failed.adapter)


def test_a_full_disk_leaves_what_was_saved(monkeypatch):
    events = training()
    for event in events:
        if isinstance(event, Saved) and event.path.name == "last.safetensors":
            break
    before = RunFolder.called("x").state.read_bytes()

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    failed = fails(events)
    assert "No space left on device; nothing was changed there" in failed.sentence
    assert RunFolder.called("x").state.read_bytes() == before
    assert failed.adapter is not None and loadable(failed.adapter)


def save_and_wait(folder, point, pipe):
    """Train; in the second saving of the state, or of the adapter, tell so and wait for the end."""
    os.environ["NAPARI_SAM3D_DATA"] = folder
    torch.set_num_threads(1)
    fsync, saved = os.fsync, []

    def synced(number):
        fsync(number)
        saved.append(number)
        if len(saved) == point:
            pipe.send("saving")
            pipe.recv()

    events = training()
    for event in events:
        if isinstance(event, Saved) and event.path.name == "last.safetensors":
            break
    os.fsync = synced
    list(events)


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
@pytest.mark.slow
@pytest.mark.parametrize("point", [3, 4])
def test_a_run_that_is_killed_while_it_saves_goes_on(data_folder, point):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=save_and_wait, args=(str(data_folder), point, there))
    process.start()
    assert here.poll(120) and here.recv() == "saving"
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    folder = RunFolder.called("x")
    state = folder.read_state()
    assert state is not None and state["step"] in (10, 20)
    assert loadable(folder.last) and (not folder.best.exists() or loadable(folder.best))
    resumed = training(resume=True)
    started, *_, last = resumed
    assert started.step == state["step"] and last.step == 40
    list(
        train(
            settings(steps=40, validate_every=10, rate=0.5),
            balls(3),
            RunFolder.called("y"),
            load=small_base,
        )
    )
    for key, tensor in read_tensors(RunFolder.called("y").last).items():
        torch.testing.assert_close(read_tensors(folder.last)[key], tensor, atol=1e-5, rtol=0)


def test_a_damaged_state_is_named():
    folder = RunFolder.called("x")
    events = training()
    for event in events:
        if isinstance(event, Step) and event.step == 2:
            events.close()
    folder.state.write_bytes(b"not what torch writes")
    with pytest.raises(ValueError, match=r"state.pt is no file of weights, or damaged"):
        next(
            train(
                settings(steps=40, validate_every=10, rate=0.5),
                balls(3),
                folder,
                resume=True,
                load=small_base,
            )
        )
    torch.save({"step": 3}, folder.state)
    with pytest.raises(ValueError, match=r"state.pt of the run x is damaged"):
        folder.read_state()


def test_a_damaged_log_costs_lines_only():
    folder = files.RunFolder.called("x")
    folder.path.mkdir(parents=True)
    folder.write_log([{"step": n, "loss": 0.5, "rate": 0.1, "seconds": 1.0} for n in (1, 2, 3)])
    folder.log.write_text(folder.log.read_text() + "4,not a number,,\n\0\n")
    assert [row["step"] for row in folder.read_log(2)] == [1, 2]
