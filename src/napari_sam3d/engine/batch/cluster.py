"""Several processes that segment: our own on this machine, or those of a cluster of dask's."""

from __future__ import annotations

import platform
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster

from napari_sam3d.engine.batch.quiet import NOTHING, held, silent
from napari_sam3d.engine.batch.segmenting import sentence

PATIENCE_S = 10
"""Seconds in which a scheduler has to answer, and a worker has to be there."""
_SURVIVED = 1000  # deaths that the scheduler forgives: the ledger counts them, case by case


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
        stack.enter_context(silent())
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="napari-sam3d-"))
        with held(), dask.config.set(_config(threads)):
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
                silence_logs=NOTHING,
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
    with held():
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
        stack.enter_context(silent())
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
