"""A batch from its first case to its last, told in events."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from napari_sam3d.engine.batch.ledger import Ledger
from napari_sam3d.engine.batch.outcome import Outcome
from napari_sam3d.engine.batch.planning import Plan
from napari_sam3d.engine.batch.segmenting import segment_case
from napari_sam3d.engine.batch.task import Task


@dataclass(frozen=True)
class Started:
    """All that was checked is in order: how many cases there are, and how many are done."""

    total: int
    known: int


@dataclass(frozen=True)
class CaseDone:
    """A mask is written; `known` when it was before this batch was started again."""

    outcome: Outcome
    known: bool = False


@dataclass(frozen=True)
class CaseFailed:
    """A case has no mask; its outcome says why."""

    outcome: Outcome


@dataclass(frozen=True)
class WorkerLost:
    """A process died of a case, which is done again: "process 123 on that machine"."""

    case: str
    worker: str


@dataclass(frozen=True)
class Finished:
    """Nothing is left to do: cases with and without a mask, and seconds."""

    done: int
    failed: int
    seconds: float


Event = Started | CaseDone | CaseFailed | WorkerLost | Finished
Events = Generator[Event, None, None]
_Found = Generator[Outcome | None, None, None]


def run(
    what: Plan,
    ledger: Ledger,
    workers: int = 1,
    scheduler: str = "",
    overwrite: bool = False,
    threads: int = 0,
) -> Events:
    """Segment all cases of a plan that are not done; closing the generator stops it.

    Parameters
    ----------
    what
        The cases.
    ledger
        Of the folder of the masks.
    workers
        Processes; with one it happens in this one.
    scheduler
        Address of a scheduler of dask's whose workers do it instead; empty for none.
    overwrite
        Forget what was done before, and replace masks that are there.
    threads
        Cores that each process uses; 0 shares all of them out. Rounding depends on it.

    Raises
    ------
    ValueError, OSError
        With one sentence, before anything is done, as `Ledger.begin` and `workers_of` say.
    """
    started = time.perf_counter()
    with ledger.locked():
        number = ledger.begin(what.config, what.tasks, overwrite)
        tasks = [replace(task, batch=number) for task in what.tasks]
        known = {task.case: ledger.known(task) for task in tasks}
        left = [task for task in tasks if known[task.case] is None]
        yield Started(len(tasks), len(tasks) - len(left))
        for outcome in known.values():
            if outcome is not None:
                yield CaseDone(outcome, known=True)
        failed = 0
        if left:
            with closing(
                _events(left, ledger, _outcomes(left, workers, scheduler, threads), not scheduler)
            ) as events:
                for event in events:
                    failed += isinstance(event, CaseFailed)
                    yield event
        yield Finished(len(tasks) - failed, failed, time.perf_counter() - started)


def _events(tasks: Sequence[Task], ledger: Ledger, outcomes: _Found, ours: bool) -> Events:
    """What happens to cases that are not done; `ours` are processes that end with this one."""
    left = {task.case: task for task in tasks}
    told: set[str] = set()
    try:
        with closing(outcomes) as found:
            for outcome in found:
                if outcome is None:
                    lost = {case: who for case, who in ledger.lost().items() if case in left}
                else:
                    lost = {outcome.case: outcome.lost[0]} if outcome.lost else {}
                yield from (WorkerLost(*it) for it in lost.items() if it[0] not in told)
                told.update(lost)
                if outcome is None:
                    continue
                task = left.pop(outcome.case)
                if outcome.error:
                    ledger.release(task)  # a later batch may try again, also what died twice
                yield CaseFailed(outcome) if outcome.error else CaseDone(outcome)
    finally:
        if ours:  # others go on with what they have begun
            for task in left.values():
                ledger.release(task)


def _outcomes(tasks: Sequence[Task], workers: int, scheduler: str, threads: int) -> _Found:
    if workers == 1 and not scheduler:
        if threads:
            import torch

            torch.set_num_threads(threads)
        yield from map(segment_case, tasks)
        return
    from napari_sam3d.engine.batch.asking import outcomes
    from napari_sam3d.engine.batch.cluster import local_workers, workers_of

    ours = local_workers(min(workers, len(tasks)), threads)
    with workers_of(scheduler) if scheduler else ours as client:
        with closing(outcomes(client, tasks, spread=not scheduler)) as found:
            yield from found
