"""Several processes that segment: our own on this machine, or those of a cluster of dask's."""

from __future__ import annotations

import logging
import platform
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, get_worker
from distributed.comm import CommClosedError

from napari_sam3d.engine.batch.outcome import Outcome
from napari_sam3d.engine.batch.segmenting import segment_case, sentence
from napari_sam3d.engine.batch.task import Task

PATIENCE_S = 10
"""Seconds in which a scheduler has to answer, and a worker has to be there."""
_LOOK_S = 0.5
_NOTHING = logging.CRITICAL + 1
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
    with ExitStack() as stack:
        stack.enter_context(_silent())
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="napari-sam3d-"))
        with _held(), dask.config.set(_config(threads)):
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                security=True,  # else any user of the machine could give orders to the workers
                dashboard_address="127.0.0.1:0",  # without one it would ask for port 8787
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,  # masks are not dask's to count
                local_directory=scratch,
                silence_logs=_NOTHING,
                preload=[__name__],
            )
            stack.callback(_close, cluster)
            client = Client(cluster, set_as_default=False)
            stack.callback(_close, client)
        yield client


def _config(threads: int) -> dict[str, Any]:
    """What our own scheduler and processes are set up with."""
    return {
        "distributed.scheduler.allowed-failures": _SURVIVED,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        # without dask's MALLOC_TRIM_THRESHOLD_, which gives memory back after each tensor
        "distributed.nanny.pre-spawn-environ": {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        },
    }


def _close(it: Any) -> None:
    with _held():
        it.close()


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
    with ExitStack() as stack:
        stack.enter_context(_silent())
        try:
            client = Client(scheduler, timeout=PATIENCE_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise OSError(
                f"No scheduler answers at {scheduler}; check the address, which `dask scheduler` "
                "prints, and the firewall."
            ) from error
        stack.enter_context(client)
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
            answer = _answer(future)
            again = client.status == "running" and times[task.case] < _ASKED
            if isinstance(answer, Outcome):
                yield answer
            elif isinstance(answer, KilledWorker | CommClosedError) and again:
                ask(task)  # whether it is done again is for the ledger to say
            elif isinstance(answer, CommClosedError):
                raise _gone()
            else:
                yield Outcome(task.case, error=sentence(answer))
    finally:
        with suppress(Exception):  # where the scheduler is gone there is nothing to take back
            client.cancel([future for _, future in asked.values()])


def _answer(future: Future) -> Outcome | BaseException:
    """What a worker said, or what went wrong between it and us."""
    try:
        if future.status == "finished":
            return future.result()
        if future.status == "error":
            return future.exception()
    except OSError as error:
        return error
    return CommClosedError("The scheduler does not know it any longer.")


@contextmanager
def _held() -> Iterator[None]:
    """Keep Ctrl+C until the end of a block, and for good from the threads and processes made in it.

    dask is not made for being stopped half way through starting, or closing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # which does not get it
        return
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    masks = sys.platform != "win32"
    if masks:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def _silent() -> Iterator[None]:
    """Without what dask logs: deaths and lost connections are told in sentences, by others."""
    loud: list[Any] = [logging.getLogger(name) for name in ("tornado", "asyncio")]
    loud += logging.getLogger("distributed").handlers
    before = [(it, it.level) for it in loud]
    for it, _ in before:
        it.setLevel(_NOTHING)
    try:
        yield
    finally:
        for it, level in before:
            it.setLevel(level)


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
