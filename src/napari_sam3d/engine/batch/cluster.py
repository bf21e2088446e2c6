"""Several processes that segment: our own on this machine, or those of a cluster of dask's."""

from __future__ import annotations

import platform
import signal
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, get_worker

from napari_sam3d.engine.batch.outcome import Outcome
from napari_sam3d.engine.batch.segmenting import segment_case, sentence
from napari_sam3d.engine.batch.task import Task

PATIENCE_S = 10
"""Seconds in which a scheduler has to answer, and a worker has to be there."""
_LOOK_S = 0.5
_SURVIVED = 1000  # deaths that the scheduler forgives: the ledger counts them, case by case
_ASKED = 5  # times that a case is given to a scheduler that does not forgive them


@contextmanager
def local_workers(count: int, threads: int = 0) -> Iterator[Client]:
    """Processes on this machine, which share its cores, and end with this one.

    Parameters
    ----------
    count
        How many.
    threads
        Cores for each; 0 shares all of them out.
    """
    threads = threads or max(1, CPU_COUNT // count)
    forgiving = {"distributed.scheduler.allowed-failures": _SURVIVED}
    with tempfile.TemporaryDirectory(prefix="napari-sam3d-") as scratch:
        with dask.config.set(forgiving):
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                security=True,  # else any user of the machine could give orders to the workers
                dashboard_address=None,
                memory_limit=0,  # masks are not dask's to count
                local_directory=scratch,
                silence_logs=60,  # deaths are told by the events of the batch
                preload=[__name__],
                env={"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
            )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


def dask_setup(worker: Any) -> None:
    """Called by dask in each of our own processes: Ctrl+C is for the one that asks, not for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def workers_of(scheduler: str) -> Iterator[Client]:
    """The workers of a scheduler that is there, such as tcp://host:8786; it outlives the batch.

    Raises
    ------
    OSError
        When it does not answer or has no workers.
    ValueError
        When there is other software.
    """
    try:
        client = Client(scheduler, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise OSError(
            f"No scheduler answers at {scheduler}; check the address, which `dask scheduler` "
            "prints, and the firewall."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError as error:
            raise OSError(
                f"The scheduler at {scheduler} has no workers; start some with "
                f"`dask worker {scheduler}`."
            ) from error
        _check_software(client)
        yield client


def outcomes(
    client: Client, tasks: Sequence[Task], spread: bool
) -> Generator[Outcome | None, None, None]:
    """What comes of each case, as they are done; None every now and then.

    Closing the generator takes back what no worker has begun with.

    Parameters
    ----------
    client
        Of the workers.
    tasks
        The cases.
    spread
        Whether the workers are our own, to be spread over the GPUs of this machine.

    Raises
    ------
    OSError
        When the scheduler is gone.
    """
    done: SimpleQueue[Future] = SimpleQueue()
    asked: dict[str, tuple[Task, Future]] = {}
    times: Counter[str] = Counter()

    def ask(task: Task) -> None:
        key = f"segment-{uuid4().hex}"
        times[task.case] += 1
        future = client.submit(_on_worker, task, spread, key=key, pure=False)
        asked[key] = task, future
        future.add_done_callback(done.put)

    for task in tasks:
        ask(task)
    try:
        while asked:
            try:
                future = done.get(timeout=_LOOK_S)
            except Empty:
                if client.status != "running":
                    raise _gone() from None
                yield None
                continue
            task, _ = asked.pop(future.key)
            if future.status == "finished":
                yield future.result()
            elif future.status != "error":
                raise _gone()
            elif isinstance(future.exception(), KilledWorker) and times[task.case] < _ASKED:
                ask(task)  # whether it is done again is for the ledger to say
            else:
                yield Outcome(task.case, error=sentence(future.exception()))
    finally:
        with suppress(Exception):  # where the scheduler is gone there is nothing to take back
            client.cancel([future for _, future in asked.values()])


def _on_worker(task: Task, spread: bool) -> Outcome:
    """Segment a case on the GPU of this worker where there are several."""
    if spread and task.settings.device == "auto":
        import torch

        count = torch.cuda.device_count()
        if count > 1:
            device = f"cuda:{int(get_worker().name) % count}"
            task = replace(task, settings=replace(task.settings, device=device))
    return segment_case(task)


def _about() -> dict[str, str]:
    """What must be the same everywhere."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "distributed": version("distributed"),
        "napari-sam3d": version("napari-sam3d"),
    }


def _check_software(client: Client) -> None:
    """ValueError when scheduler or workers run something else than this process."""
    ours = _about()
    found: Mapping[str, Any] = client.run(_about, on_error="return")
    for worker, theirs in found.items():
        if isinstance(theirs, BaseException):
            raise ValueError(
                f"The worker {worker} cannot run napari-sam3d ({sentence(theirs)}); install "
                f"napari-sam3d {ours['napari-sam3d']} there."
            ) from theirs
    told = client.get_versions(check=False)["scheduler"]
    scheduler = {"distributed": told["packages"]["distributed"]}
    for who, theirs in (("scheduler", scheduler), *found.items()):
        for name, value in theirs.items():
            if value != ours[name]:
                raise ValueError(
                    f"The {'' if who == 'scheduler' else 'worker '}{who} runs {name} {value}, this "
                    f"process {ours[name]}; install the same everywhere."
                )


def _gone() -> OSError:
    return OSError(
        "The scheduler is gone; what is done is kept, and the same command goes on from there."
    )
