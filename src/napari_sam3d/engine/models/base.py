"""The contract of a promptable model: encode a patch once, decode masks once per click."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, eq=False)
class PatchPrompts:
    """Prompts of a batch of patches, in the frame of the patch.

    Parameters
    ----------
    points
        (b, n, 3) voxel coordinates (z, y, x) of the patch, whole numbers at voxel centres.
    labels
        (b, n) 1 positive, 0 negative, -1 no point (padding), as in SAM.
    mask
        (b, 1, d, h, w) logits of an earlier mask on the same patch; zeros where there is none.
    boxes
        (b, 2, 3) lowest and highest voxel (z, y, x) of a box about the object, for the families
        that take one.
    """

    points: Tensor
    labels: Tensor
    mask: Tensor
    boxes: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Masks:
    """Logits (b, 1, d, h, w) on the patch, and the expected IoU (b,) of the mask above zero."""

    logits: Tensor
    iou: Tensor


def expected_iou(logits: Tensor) -> Tensor:
    """The IoU (b,) of the mask above zero with an object drawn by the probabilities, about.

    For networks without a trained head that tells it.
    """
    flat = logits.detach().flatten(1)
    inside, chance = flat > 0, torch.sigmoid(flat)
    union = torch.where(inside, 1.0, chance).sum(1)
    return (inside * chance).sum(1) / union.clamp(min=1e-6)


class Blocks(nn.Module):
    """A stack of blocks, whose activations need not all be kept for their gradients.

    `recomputed` tells whether each block keeps its input alone and is computed a second time in
    the backward pass; the gradients are the same. A stack too large to be tuned otherwise begins
    with True.
    """

    recomputed = False

    def through(self, block: nn.Module, *given: Any) -> Any:
        """What a block makes of its input."""
        if self.recomputed and torch.is_grad_enabled():
            return checkpoint(block, *given, use_reentrant=False)
        return block(*given)


def recompute(model: nn.Module, choice: str) -> None:
    """Have the stacks of a network recompute their activations: "on", "off", or "auto" as is."""
    for module in model.modules():
        if isinstance(module, Blocks) and choice != "auto":
            module.recomputed = choice == "on"


class PromptableModel(nn.Module, ABC):
    """What the predictor, the trainer and the benchmarks know of a network."""

    @abstractmethod
    def encode_image(self, patch: Tensor) -> Any:
        """Embedding of normalised patches (b, 1, d, h, w); independent of the prompts."""

    @abstractmethod
    def decode_masks(self, embedding: Any, prompts: PatchPrompts) -> Masks:
        """Masks for the prompts on the patches that `embedding` came from."""

    @staticmethod
    @abstractmethod
    def is_adapter(name: str) -> bool:
        """Whether the parameter called `name` is tuned and saved by few-shot training."""

    def add_low_rank(self, rank: int) -> None:
        """Have a frozen encoder tuned by changes of low rank, which change nothing at first."""
        raise ValueError(
            "Changes of low rank are for the encoder of SAM-Med3D; leave --encoder-rank at 0."
        )

    def make_room(self, tensors: Mapping[str, Tensor]) -> None:
        """Add what the tensors of an adapter need beyond what the network has."""

    def forward(self, patch: Tensor, prompts: PatchPrompts) -> Masks:
        return self.decode_masks(self.encode_image(patch), prompts)
