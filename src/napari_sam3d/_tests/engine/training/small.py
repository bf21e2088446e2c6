"""A network that tunes in milliseconds, and volumes with balls to tune it on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from napari_sam3d.catalog import ModelSpec, model_spec
from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel, expected_iou
from napari_sam3d.engine.training import Base
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import TrainSettings
from napari_sam3d.volume import Grid, Volume

PATCH = (8, 8, 8)


class Brightness(PromptableModel):
    """Foreground is what is bright: a scale and a shift, behind a convolution that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv3d(1, 2, 1)
        self.head = nn.Conv3d(3, 1, 1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(0.1)

    def encode_image(self, patch):
        return self.encoder(patch)

    def decode_masks(self, embedding, prompts: PatchPrompts) -> Masks:
        logits = self.head(torch.cat([embedding, prompts.mask], 1)).float()
        return Masks(logits, expected_iou(logits))

    @staticmethod
    def is_adapter(name: str) -> bool:
        return name.startswith("head")


def small_spec() -> ModelSpec:
    return replace(model_spec("compact"), patch_shape=PATCH)


def small_base(settings: TrainSettings) -> Base:
    return Base(Brightness().eval().requires_grad_(False), small_spec(), "0" * 64)


def ball(name: str, radius: float = 5.0, seed: int = 0) -> Labelled:
    """A bright ball, label 3, in a noisy volume."""
    grid = Grid.from_spacing((16, 18, 20), (1, 1, 1))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    inside = ((index - [8, 9, 10]) ** 2).sum(-1) < radius**2
    image = 100 * inside + np.random.default_rng(seed).normal(0, 5, grid.shape)
    return Labelled(Volume(image.astype(np.float32), grid, name), 3 * inside.astype(np.uint8))


def balls(count: int) -> list[Labelled]:
    return [ball(f"ball {i}", 4 + 0.5 * i, i) for i in range(count)]


def settings(**wanted) -> TrainSettings:
    chosen = {"steps": 6, "validate_every": 3, "rate": 0.05, "device": "cpu", "precision": "fp32"}
    return TrainSettings(**{**chosen, **wanted})
