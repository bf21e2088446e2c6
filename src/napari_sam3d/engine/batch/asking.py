"""Cases given to the workers of a scheduler, and what they answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from uuid import uuid4

from distributed import Client, Future, KilledWorker, get_worker
from distributed.comm import CommClosedError

from napari_sam3d.engine.batch.outcome import Outcome
from napari_sam3d.engine.batch.segmenting import segment_case, sentence
from napari_sam3d.engine.batch.task import Task

_LOOK_S = 0.5
_ASKED = 5  # times that a case is given to a scheduler that does not forgive deaths


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


def _on_worker(task: Task, spread: bool) -> Outcome:
    """Segment a case on the GPU of this worker where there are several."""
    if spread and task.settings.device == "auto":
        import torch

        count = torch.cuda.device_count()
        if count > 1:
            device = f"cuda:{int(get_worker().name) % count}"
            task = replace(task, settings=replace(task.settings, device=device))
    return segment_case(task)


def _gone() -> OSError:
    return OSError(
        "The scheduler is gone; what is done is kept, and the same command goes on from there."
    )
