"""Several processes, one of which is killed: nothing is done twice, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from napari_sam3d._tests.engine.batch import balls
from napari_sam3d.cli import main
from napari_sam3d.engine.batch import cluster

CASES = 10  # after an interrupt workers still end what they have begun, and some must be left
DEADLINE_S = 120
TWO = ("--workers", "2", "--threads", "1")
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills as Unix does")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return balls.make(tmp_path_factory.mktemp("batch") / "scans", CASES)


@pytest.fixture(scope="module")
def alone(images):
    """The masks that one process makes."""
    import torch

    before = torch.get_num_threads()
    masks = images.parent / "alone"
    assert main(["batch", str(images), "-o", str(masks), "--threads", "1", "--json"]) == 0
    torch.set_num_threads(before)
    return masks


def wait(what: str, found: Callable[[], Any], process: subprocess.Popen | None = None) -> Any:
    """The first answer that is not empty, before the deadline and the end of a process."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = found()
        if answer:
            return answer
        assert process is None or process.poll() is None, f"{what}: {process.communicate()}"
        time.sleep(0.002)
    raise AssertionError(f"There was no {what}.")


def start(*words: str | Path, **more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **more},
    )


def batch(images: Path, masks: Path, *words: str) -> subprocess.Popen:
    return start("napari_sam3d.cli", "batch", images, "-o", masks, "--json", *words)


def kill_one(masks: Path, process: subprocess.Popen, number: int = 1, case: str = "*") -> str:
    """Kill a worker in the middle of a case; the name of the case."""
    cases = masks / "batch" / "cases"

    def caught() -> str:
        for mark in cases.glob(f"{case}.attempt{number}"):
            words = mark.read_text().split() if mark.exists() else []
            if len(words) < 2:  # it is being written
                continue
            os.kill(int(words[1]), signal.SIGSTOP)  # else it might be done before it dies
            if mark.exists() and not mark.with_suffix(".json").exists():
                os.kill(int(words[1]), signal.SIGKILL)
                return mark.stem
            os.kill(int(words[1]), signal.SIGCONT)
        return ""

    return wait("case to die of", caught, process)


def same(masks: Path, alone: Path) -> bool:
    """Whether all masks are there and, to the byte, what one process made."""
    names = {path.name for path in masks.glob("*.nii.gz")}
    return names == {path.name for path in alone.glob("*.nii.gz")} and all(
        balls.stored(masks / name) == balls.stored(alone / name) for name in names
    )


def records(masks: Path) -> dict[str, Any]:
    cases = masks / "batch" / "cases"
    assert not list(cases.glob("*.attempt*"))
    return {path.stem: json.loads(path.read_text())["outcome"] for path in cases.glob("*.json")}


@pytest.mark.slow
def test_a_batch_over_two_processes_survives_an_interrupt_and_a_death(images, alone, tmp_path):
    masks = tmp_path / "masks"
    process = batch(images, masks, *TWO)
    wait("mask", lambda: list((masks / "batch" / "cases").glob("*.json")), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (130, "Interrupted.\n")
    before = records(masks)
    report = json.loads(out)
    assert report["unfinished"] == CASES - len(report["cases"]) > 0
    assert {it["case"] for it in report["cases"]} <= before.keys()

    process = batch(images, masks, *TWO)
    killed = kill_one(masks, process)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    after = records(masks)
    assert killed not in before and same(masks, alone)
    assert [case for case, it in after.items() if it["lost"]] == [killed]
    assert {case: after[case] for case in before} == before  # none was done anew
    report = json.loads(out)
    assert sorted(it["case"] for it in report["cases"]) == sorted(after)
    assert sum(it["known"] for it in report["cases"]) == len(before)


@contextmanager
def dask_cluster(folder: Path, workers: int, **config: str):
    """A scheduler and its workers, each a process of its own; its address and the workers."""
    with ExitStack() as stack:

        def process(*words: str | Path) -> subprocess.Popen:
            made = start(*words, **config)
            stack.callback(made.communicate)
            stack.callback(made.kill)
            return made

        told = folder / "scheduler.json"
        quiet = ("--no-dashboard", "--host", "127.0.0.1")
        scheduler = process(
            *("distributed.cli.dask_scheduler", "--port", "0", *quiet, "--scheduler-file", told)
        )
        wait("scheduler", told.exists, scheduler)
        address = wait("address", lambda: json.loads(told.read_text() or "{}")).get("address")
        made = [
            process(
                *("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *quiet),
                *("--local-directory", folder),
            )
            for _ in range(workers)
        ]
        yield address, made, scheduler


@pytest.mark.slow
def test_a_scheduler_that_is_there_is_used_and_outlives_the_batch(images, alone, tmp_path):
    masks = tmp_path / "masks"
    # it forgives no death: whether a case is done again is not for it to say
    forgiving = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with dask_cluster(tmp_path, 2, **forgiving) as (address, workers, _):
        process = batch(images, masks, "--scheduler", address)
        killed = kill_one(masks, process)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
        assert same(masks, alone)
        assert [case for case, it in records(masks).items() if it["lost"]] == [killed]
        assert len(json.loads(out)["cases"]) == CASES
        wait("dead worker", lambda: any(it.poll() is not None for it in workers))
        with cluster.workers_of(address) as client:  # the other is there as before
            loaded = client.run(_loaded)
        assert list(loaded.values()) == [["torch"]]
        assert sum(it.poll() is None for it in workers) == 1


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_batch_in_a_sentence(images, tmp_path):
    masks = tmp_path / "masks"
    with dask_cluster(tmp_path, 1) as (address, _, scheduler):
        process = batch(images, masks, "--scheduler", address)
        wait("mask", lambda: list((masks / "batch" / "cases").glob("*.json")), process)
        scheduler.kill()
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2 and err.startswith("The scheduler is gone; what is done is kept")
    assert err.count("\n") == 1 and json.loads(out)["unfinished"] > 0


def _loaded() -> list[str]:
    names = ("torch", "napari", "qtpy", "vispy", "magicgui")
    return [name for name in names if name in sys.modules]


@pytest.mark.slow
def test_a_case_that_kills_twice_fails_alone(images, alone, tmp_path):
    masks = tmp_path / "masks"
    process = batch(images, masks, *TWO)
    killed = kill_one(masks, process)
    assert kill_one(masks, process, 2, killed) == killed
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1, err
    (failed,) = (it for it in json.loads(out)["cases"] if it["error"])
    assert failed["case"] == killed and "died twice (process " in failed["error"]
    assert not (masks / f"{killed}_seg.nii.gz").exists() and len(records(masks)) == CASES - 1
    left = {path.name for path in masks.glob("*.nii.gz")}
    assert all(balls.stored(masks / it) == balls.stored(alone / it) for it in left)


def test_a_scheduler_that_does_not_answer_is_told(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE_S", 1)
    words = ["batch", str(images), "-o", str(tmp_path / "masks"), "--scheduler"]
    assert main([*words, "tcp://127.0.0.1:1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("No scheduler answers at tcp://127.0.0.1:1;") and err.count("\n") == 1
    assert main([*words, "nonsense://x"]) == 2
    assert capsys.readouterr().err.startswith("No scheduler answers at nonsense://x;")


def test_a_cluster_without_workers_or_with_other_software_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE_S", 10)
    with dask_cluster(tmp_path, 1) as (address, (worker,), _):
        about = {**cluster._about(), "napari-sam3d": "0.0.1"}
        monkeypatch.setattr(cluster, "_about", _Other(about))
        with pytest.raises(ValueError, match=r"tcp://.* runs napari-sam3d .*process 0\.0\.1"):
            cluster.workers_of(address).__enter__()
        worker.kill()
        worker.wait()
        monkeypatch.setattr(cluster, "PATIENCE_S", 1)
        with pytest.raises(OSError, match="has no workers; start some with `dask worker tcp"):
            cluster.workers_of(address).__enter__()


class _Other:
    """Says something else here than where it is sent to."""

    def __init__(self, about: dict[str, str]) -> None:
        self.about = about

    def __call__(self) -> dict[str, str]:
        return self.about

    def __reduce__(self) -> tuple[Any, ...]:
        return _true_about, ()


def _true_about() -> Callable[[], dict[str, str]]:
    return cluster._about
