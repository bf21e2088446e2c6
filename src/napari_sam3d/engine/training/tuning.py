"""Steps of the optimiser on the tuned tensors of a network."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.adapters import adapter_tensors, put_tensors
from napari_sam3d.engine.clicks import deepest
from napari_sam3d.engine.devices import autocast, choose_precision
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.training.cases import LabelledObject
from napari_sam3d.engine.training.recipes import Recipe
from napari_sam3d.engine.training.rounds import Loss, play
from napari_sam3d.engine.training.run_folder import CHANGED
from napari_sam3d.engine.training.samples import Sample, draw, left_right, mirrored, varied
from napari_sam3d.settings import TrainSettings

_LAST = 0.01  # of the highest learning rate, at the end
_RISE = 0.1  # share of the steps in which it rises
_NORM = 1.0  # longest gradient
_MOST_FIXED = 32  # patches that are kept, with their embeddings


class Tuner:
    """Holds a network that is tuned, its optimiser and what it learns from.

    All that is random in a step is drawn from the seed and the number of the step, so that a run
    that was interrupted goes on as if it had not been.

    Parameters
    ----------
    model, spec
        The network, and its row in the catalog. All but its adapters is frozen.
    objects
        To learn from.
    settings, recipe
        What the user wants, and what suits the network.
    loss
        Of logits and target.
    """

    def __init__(
        self,
        model: PromptableModel,
        spec: ModelSpec,
        objects: list[LabelledObject],
        settings: TrainSettings,
        recipe: Recipe,
        loss: Loss,
    ) -> None:
        self.model, self._spec = model, spec
        self._objects, self._settings, self._recipe = objects, settings, recipe
        self._loss = loss
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(model.is_adapter(name))
        self._tuned = [it for it in model.parameters() if it.requires_grad]
        self.device = next(model.parameters()).device
        self._precision = choose_precision(settings.precision, self.device)
        self._highest = settings.rate or recipe.rate
        self._optimiser = torch.optim.AdamW(
            self._tuned, lr=self._highest, weight_decay=recipe.decay
        )
        self._scaler = torch.amp.GradScaler(  # half precision has no small numbers
            self.device.type, enabled=self._precision == torch.float16
        )
        self._fixed: dict[int, Sample] = {}
        self._embeddings: dict[int, Any] = {}

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
        rng = np.random.default_rng([self._settings.seed, step])
        total, count = 0.0, self._settings.accumulate
        for _ in range(count):
            loss = self._loss_of_one(rng)
            total += float(loss.detach()) / count
            if not math.isfinite(total):
                return total, rate
            self._scaler.scale(loss / count).backward()
        self._scaler.unscale_(self._optimiser)
        torch.nn.utils.clip_grad_norm_(self._tuned, _NORM)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return total, rate

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

    def _loss_of_one(self, rng: np.random.Generator) -> Tensor:
        sample, number = self._sample(rng)
        with autocast(self.device, self._precision):
            embedding = self._embeddings.get(number)
            if embedding is None:
                embedding = self.model.encode_image(sample.image[None, None].to(self.device))
                if number >= 0 and not _has_gradient(embedding):
                    self._embeddings[number] = embedding
            return play(
                self.model,
                embedding,
                sample,
                self._spec,
                self._settings.clicks,
                self._recipe.noisy,
                self._loss,
                rng,
            )

    def _sample(self, rng: np.random.Generator) -> tuple[Sample, int]:
        """A patch, and its number among those that are used again and again, or -1."""
        asked = self._settings.background
        background = self._recipe.background if asked < 0 else asked
        if not self._recipe.fixed:
            sample = draw(self._objects, self._spec, background, rng)
            if self._settings.augment:
                if rng.random() < 0.5:
                    sample = mirrored(sample, left_right(self._spec))
                sample = varied(sample, rng)
            return sample, -1
        count = min(_MOST_FIXED, self._recipe.fixed * len(self._objects))
        number = int(rng.integers(count))
        if number not in self._fixed:
            own = np.random.default_rng([self._settings.seed, 0, number])
            self._fixed[number] = draw(self._objects, self._spec, background, own)
        sample = self._fixed[number]
        if not sample.target.any():
            return sample, number
        point = deepest(sample.target, rng)
        assert point is not None
        return replace(sample, point=point), number


def schedule(step: int, steps: int, kind: str) -> float:
    """The learning rate of a step, from 1 on, over the highest."""
    rise = max(1, round(_RISE * steps))
    if step <= rise:
        return step / rise
    done = (step - rise) / max(1, steps - rise)
    fall = 0.5 * (1 + math.cos(math.pi * done)) if kind == "cosine" else 1 - done
    return _LAST + (1 - _LAST) * fall


def _has_gradient(embedding: Any) -> bool:
    """Whether tuning changes what an embedding is."""
    if isinstance(embedding, Tensor):
        return embedding.requires_grad
    if isinstance(embedding, list | tuple):
        return any(_has_gradient(it) for it in embedding)
    return any(_has_gradient(it) for it in getattr(embedding, "__dict__", {}).values())
