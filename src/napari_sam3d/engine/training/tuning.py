"""Steps of the optimiser on the tuned tensors of a network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_sam3d.engine.adapters import adapter_tensors, put_tensors
from napari_sam3d.engine.devices import autocast, choose_precision
from napari_sam3d.engine.models.base import PromptableModel, recompute
from napari_sam3d.engine.training.distributed import Team
from napari_sam3d.engine.training.lessons import Lessons
from napari_sam3d.engine.training.muon import Muon
from napari_sam3d.engine.training.recipes import Recipe
from napari_sam3d.engine.training.run_folder import CHANGED
from napari_sam3d.settings import TrainSettings

_LAST = 0.01  # of the highest learning rate, at the end
_RISE = 0.1  # share of the steps in which it rises
_NORM = 1.0  # longest gradient


class Tuner:
    """Holds a network that is tuned, its optimiser and what it learns from.

    All that is random in a sample is drawn from the seed, the number of the step and that of the
    sample in it, so that a run that was interrupted goes on as if it had not been.

    Parameters
    ----------
    model
        The network. All but its adapters is frozen.
    lessons
        What it learns from.
    settings, recipe
        What the user wants, and what suits the network.
    team
        The processes that tune it together.
    """

    def __init__(
        self,
        model: PromptableModel,
        lessons: Lessons,
        settings: TrainSettings,
        recipe: Recipe,
        team: Team | None = None,
    ) -> None:
        self.model, self._lessons, self._settings, self._team = model, lessons, settings, team
        if settings.encoder_rank:
            model.add_low_rank(settings.encoder_rank)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(model.is_adapter(name))
        recompute(model, settings.checkpointing)
        self._tuned = [it for it in model.parameters() if it.requires_grad]
        self.device = next(model.parameters()).device
        self._precision = choose_precision(settings.precision, self.device)
        self._highest = settings.rate or recipe.rate
        kind = Muon if recipe.muon else torch.optim.AdamW
        self._optimiser: torch.optim.Optimizer = kind(
            self._tuned, lr=self._highest, weight_decay=recipe.decay
        )
        self._scaler = torch.amp.GradScaler(  # half precision has no small numbers
            self.device.type, enabled=self._precision == torch.float16
        )

    @property
    def tuned(self) -> int:
        """Numbers that are tuned."""
        return sum(it.numel() for it in self._tuned)

    def advance(self, step: int) -> tuple[float, float]:
        """Do a step, from 1 on; its mean loss and its learning rate.

        The tensors stay as they are when the loss is no number.
        """
        rate = self._highest * schedule(step, self._settings.total, self._settings.schedule)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        total = self._gradients(step) if self._team is None else self._together(step, self._team)
        if not math.isfinite(total):
            return total, rate
        self._scaler.unscale_(self._optimiser)
        torch.nn.utils.clip_grad_norm_(self._tuned, _NORM)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return total, rate

    def _gradients(self, step: int, first: int = 0) -> float:
        """The mean loss on samples of a step, from the given number on, and its gradients."""
        total, count = 0.0, self._settings.accumulate
        for sample in range(first, first + count):
            rng = np.random.default_rng([self._settings.seed, step, sample])
            total += self._backward(rng, count) / count
            if not math.isfinite(total):
                break
        return total

    def _together(self, step: int, team: Team) -> float:
        """The same over all processes."""
        if team.leads:
            team.tell(step)
        loss, problem = 0.0, None
        try:
            loss = self._gradients(step, team.rank * self._settings.accumulate)
        except BaseException as error:  # the others have to know
            problem = error
        total = team.agree(loss, problem)
        if math.isfinite(total):
            team.average(self._tuned)
        return total

    def _backward(self, rng: np.random.Generator, count: int) -> float:
        """The loss on a sample; adds its gradients, one of so many samples, when it is a number."""
        devices = [self.device] if self.device.type == "cuda" else []
        self.model.train()
        try:
            with torch.random.fork_rng(devices):
                torch.manual_seed(int(rng.integers(2**31)))  # of dropout
                with autocast(self.device, self._precision):
                    loss = self._lessons.loss(rng)
                told = float(loss.detach())
                if math.isfinite(told):
                    self._scaler.scale(loss / count).backward()
        finally:
            self.model.eval()
        return told

    def tensors(self) -> dict[str, Tensor]:
        """Copies of what is tuned, on the CPU."""
        return adapter_tensors(self.model)

    def state(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """What `restore` needs to go on from here, where `tensors` are those of now."""
        return {
            CHANGED: tensors,
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any], name: str) -> None:
        """Go on from a state; ValueError with a sentence about `name` when it does not fit."""
        put_tensors(self.model, state[CHANGED], name)
        self._optimiser.load_state_dict(state["optimiser"])
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])


def schedule(step: int, steps: int, kind: str) -> float:
    """The learning rate of a step, from 1 on, over the highest."""
    rise = max(1, round(_RISE * steps))
    if step <= rise:
        return step / rise
    done = (step - rise) / max(1, steps - rise)
    fall = 0.5 * (1 + math.cos(math.pi * done)) if kind == "cosine" else 1 - done
    return _LAST + (1 - _LAST) * fall
