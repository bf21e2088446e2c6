"""A few simulated clicks on a patch, and how wrong the network is after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.clicks import next_click
from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.training.samples import Sample

Loss = Callable[[Tensor, Tensor], Tensor]
_FIRST = 0.5  # share of samples that are judged after the first click
_EXACT = 0.6  # share of corrections that lie where the evaluation's would
_FORGOTTEN = 0.15  # share of rounds that begin without the mask before, as on a new patch
_JUDGED = 0.2  # weight of the expected overlap, for networks that learned to tell it


def mask_loss() -> Loss:
    """Soft Dice and cross entropy of logits (b, 1, d, h, w), as MONAI has them."""
    from monai.losses import DiceCELoss  # takes seconds to import

    return DiceCELoss(sigmoid=True, batch=False)


def play(
    model: PromptableModel,
    embedding: Any,
    sample: Sample,
    spec: ModelSpec,
    clicks: int,
    noisy: int,
    loss: Loss,
    rng: np.random.Generator,
) -> Tensor:
    """The loss after a random number of clicks, each on the largest error of the answer before.

    Parameters
    ----------
    model
        The network.
    embedding
        Of the patch.
    sample
        The patch and the object in it.
    spec
        The model's row: what it takes, and on which voxels its masks are.
    clicks
        Most of them.
    noisy
        Points anywhere that are told as if they were in the object.
    loss
        Of logits and target.
    rng
        What draws.
    """
    device = next(model.parameters()).device
    shape = sample.target.shape
    truth = torch.from_numpy(sample.target.astype(np.float32))[None, None].to(device)
    points, labels = [sample.point], [1]
    for _ in range(noisy):
        points.append(rng.uniform(0, np.array(shape) - 1))
        labels.append(1)
    mask = torch.zeros(1, 1, *(spec.mask_shape or shape), device=device)
    rounds = 1 if rng.random() < _FIRST else int(rng.integers(1, clicks + 1))
    for _ in range(rounds - 1):
        with torch.no_grad():
            masks = model.decode_masks(embedding, _prompts(points, labels, mask))
        found = (_on_patch(masks, shape)[0, 0] > 0).cpu().numpy()
        exact = rng.random() < _EXACT
        click = next_click(found, sample.target, None if exact else rng)
        if click is None:
            break
        if click.positive or "background" in spec.prompts:
            points.append(np.array(click.position_voxel))
            labels.append(int(click.positive))
        forgotten = rng.random() < _FORGOTTEN
        mask = torch.zeros_like(mask) if forgotten else masks.logits.detach().float()
    masks = model.decode_masks(embedding, _prompts(points, labels, mask))
    logits = _on_patch(masks, shape)
    total = loss(logits, truth)
    if masks.iou.requires_grad and _judges(model):
        wanted = _overlap(logits.detach() > 0, truth > 0)
        judged = F.binary_cross_entropy(masks.iou.float().clamp(1e-4, 1 - 1e-4), wanted)
        total = total + _JUDGED * judged
    return total


def _judges(model: PromptableModel) -> bool:
    """Whether the expected overlap comes from layers of its own that are tuned."""
    return any(name.startswith("iou_head.") for name, _ in model.named_parameters())


def _on_patch(masks: Masks, shape: tuple[int, ...]) -> Tensor:
    logits = masks.logits.float()
    if tuple(logits.shape[2:]) == tuple(shape):
        return logits
    return F.interpolate(logits, shape, mode="trilinear")  # as the predictor does


def _prompts(points: list[np.ndarray], labels: list[int], mask: Tensor) -> PatchPrompts:
    return PatchPrompts(
        torch.tensor(np.array(points)[None], dtype=torch.float32, device=mask.device),
        torch.tensor([labels], device=mask.device),
        mask,
    )


def _overlap(mask: Tensor, truth: Tensor) -> Tensor:
    """IoU (b,) of two masks (b, 1, d, h, w)."""
    both, either = (mask & truth).flatten(1).sum(1), (mask | truth).flatten(1).sum(1)
    return both / either.clamp(min=1)
