"""Two processes learn what one does that accumulates twice as much, and end together."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket

import pytest
import torch

from napari_sam3d._tests.engine.training.small import balls, settings, small_base
from napari_sam3d.engine.adapters import read_tensors
from napari_sam3d.engine.training import Failed, Finished, RunFolder, Started, Step, train
from napari_sam3d.engine.training.distributed import Team
from napari_sam3d.engine.training.following import follow
from napari_sam3d.engine.training.ranks import follows, position
from napari_sam3d.engine.training.tuning import Tuner

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes are forked")

STEPS = {"steps": 6, "validate_every": 3, "rate": 0.1}


def break_at(step: int, what: str) -> None:
    """Let something happen to a step of this process."""
    gradients = Tuner._gradients

    def other(self, number, first=0):
        if number != step:
            return gradients(self, number, first)
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "nan":
            return float("nan")
        raise MemoryError("out of memory" if what == "memory" else what)

    Tuner._gradients = other


def work(rank, port, folder, pipe, wanted, broken, resume, cases, stop):
    """One of two processes: what it ends with goes through the pipe."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["NAPARI_SAM3D_DATA"] = folder
    torch.set_num_threads(1)
    if rank in broken:
        break_at(*broken[rank])
    try:
        if rank:
            follow(lambda: balls(cases), small_base)
            pipe.send(None)
            return
        run = train(
            settings(**wanted), balls(3), RunFolder.called("x"), resume=resume, load=small_base
        )
        events = []
        for event in run:
            events.append(event)
            if isinstance(event, Step) and event.step == stop:
                run.close()
        pipe.send([it for it in events if isinstance(it, Started | Step | Finished | Failed)])
    except (ValueError, OSError, MemoryError) as error:
        pipe.send(f"{type(error).__name__}: {error}")


def together(folder, broken=None, resume=False, cases=3, stop=None, **wanted):
    """What two processes end with; None for one that was killed."""
    context = multiprocessing.get_context("forkserver")  # which imports torch but once
    context.set_forkserver_preload([__name__, "monai.losses"])
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    started = []
    for rank in (0, 1):
        here, there = context.Pipe(duplex=False)
        values = (rank, port, str(folder), there, {**STEPS, **wanted}, broken or {})
        process = context.Process(target=work, args=(*values, resume, cases, stop))
        process.start()
        there.close()
        started.append((process, here))
    told = []
    for process, pipe in started:
        try:
            told.append(pipe.recv() if pipe.poll(240) else "hangs")
        except EOFError:
            told.append("killed")
        process.join(60)
        assert process.exitcode is not None
    return told


def status(name="x"):
    return json.loads(RunFolder.called(name).status.read_text())


@pytest.mark.slow
def test_two_processes_give_the_adapter_of_one(data_folder):
    wanted = settings(**STEPS, accumulate=2)
    alone = list(train(wanted, balls(3), RunFolder.called("alone"), load=small_base))
    first, other = together(data_folder, accumulate=1, stop=2)
    assert other is None and status()["state"] == "STOPPED"
    second, other = together(data_folder, accumulate=1, resume=True)
    assert other is None and second[0].step == 2 and isinstance(second[-1], Finished)
    losses = [event.loss for event in (*first, *second) if isinstance(event, Step)]
    assert losses == pytest.approx([it.loss for it in alone if isinstance(it, Step)], abs=1e-5)
    one, two = (read_tensors(RunFolder.called(name).last) for name in ("alone", "x"))
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "led", "followed"),
    [
        ({1: (4, "nan")}, "The loss is no number any more at step 4", None),
        ({0: (4, "nan")}, "The loss is no number any more at step 4", None),
        ({1: (4, "memory")}, "There is not enough memory to tune compact", "MemoryError"),
        ({0: (4, "memory")}, "There is not enough memory to tune compact", "Process 1 of 2 failed"),
        ({1: (4, "no luck")}, "Process 2 of 2 failed: no luck", "MemoryError: no luck"),
        ({1: (4, "die")}, "Another process of the training is gone", "killed"),
    ],
)
def test_a_failure_of_one_ends_both_with_a_sentence(data_folder, broken, led, followed):
    events, other = together(data_folder, broken)
    assert isinstance(events[-1], Failed) and led in events[-1].sentence
    assert events[-1].step == 3 and events[-1].adapter is not None
    assert status()["state"] == "FAILED"
    assert other is None if followed is None else followed in other


@pytest.mark.slow
def test_when_the_first_dies_the_other_ends_with_a_sentence(data_folder):
    killed, other = together(data_folder, {0: (4, "die")})
    assert killed == "killed" and "Another process of the training is gone" in other


@pytest.mark.slow
def test_all_processes_learn_from_the_same_volumes(data_folder):
    events, other = together(data_folder, cases=2)
    assert "Process 2 of 2 failed: The processes were given different" in events[-1].sentence
    assert "different volumes" in other


def test_a_process_alone_is_no_team(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert position() == (0, 1) and not follows() and Team.of_processes() is None
    monkeypatch.setenv("WORLD_SIZE", "4")  # as a cluster's queue may, for other purposes
    assert Team.of_processes() is None


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    team = object.__new__(Team)
    team.rank = 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert team.device("auto") == team.device("cuda") == "cuda:1"
    assert team.device("cpu") == "cpu" and team.device("cuda:0") == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="more processes than the 2 GPUs"):
        team.device("auto")
