"""Several processes that tune one network together, as torchrun starts them.

The first process leads: it draws up the training, looks at what is held out and writes all files,
as a process alone does. The others are told each step, take samples of their own, and the gradients
of all are averaged. The samples are those that a single process would take that accumulates as many
times more, and so is what is learned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from napari_sam3d.engine.training.ranks import position
from napari_sam3d.settings import TrainSettings

_PATIENCE = timedelta(days=1)  # the others wait while the first looks at what is held out
_GONE = "Another process of the training is gone; --resume goes on from what was saved."


@dataclass(frozen=True, eq=False)
class Begin:
    """What the first process tells the others before its first step.

    Parameters
    ----------
    settings
        Of the training.
    names
        Of the cases.
    state
        What a resumed run goes on from.
    """

    settings: TrainSettings
    names: tuple[str, ...]
    state: dict[str, Any] | None


@final
class Team:
    """The processes of a training. The others only follow the first, also when it fails."""

    def __init__(self) -> None:
        self.rank, self.size = position()
        kind = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with _sentences():
            dist.init_process_group(kind, timeout=_PATIENCE)

    @classmethod
    def of_processes(cls) -> Team | None:
        """That of this process, once all are there; None when it is alone."""
        return cls() if position()[1] > 1 else None

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Where the network of this process runs: each on a GPU of its own, where there are any."""
        if wanted not in ("auto", "cuda") or not torch.cuda.is_available():
            return wanted
        place, count = int(os.environ.get("LOCAL_RANK", self.rank)), torch.cuda.device_count()
        if place >= count:
            raise ValueError(
                f"There are more processes than the {count} GPUs; lower --nproc-per-node."
            )
        return f"cuda:{place}"

    def tell(self, word: Any) -> None:
        """Tell the others what to do."""
        with _sentences():
            dist.broadcast_object_list([word], 0)

    def hear(self) -> Any:
        """What the first process tells."""
        heard = [None]
        with _sentences():
            dist.broadcast_object_list(heard, 0)
        return heard[0]

    def agree(self, loss: float, error: BaseException | None) -> float:
        """The mean loss of all; raises when one of them has failed.

        Raises
        ------
        Exception
            The error of this process.
        ValueError
            With the sentence of another one.
        """
        told = torch.tensor([loss if error is None else 0.0, float(error is not None)]).double()
        with _sentences():
            dist.all_reduce(told)
            if not told[1]:
                return float(told[0]) / self.size
            errors: list[str] = [""] * self.size
            dist.all_gather_object(errors, "" if error is None else f"{error}")
        if error is not None:
            raise error
        number, said = next((i, it) for i, it in enumerate(errors) if it)
        raise ValueError(f"Process {number + 1} of {self.size} failed: {said}")

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over the processes; one that none has stays away."""
        kept = parameters[0].new_tensor([it.grad is not None for it in parameters])
        parts = [_gradient(it).flatten() for it in parameters]
        flat = torch.cat([*parts, kept])
        with _sentences():
            dist.all_reduce(flat)
        *parts, kept = flat.split([it.numel() for it in parts] + [len(parts)])
        for parameter, part, some in zip(parameters, parts, kept.tolist(), strict=True):
            if some:
                parameter.grad = (part / self.size).view_as(parameter)

    def leave(self) -> None:
        """The first tells the others that it is over; all part."""
        with suppress(ValueError, RuntimeError):
            if self.leads:
                self.tell(None)
        with suppress(RuntimeError):
            dist.destroy_process_group()


@contextmanager
def _sentences() -> Iterator[None]:
    """What torch says when a process is gone, in a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(_GONE) from error


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
