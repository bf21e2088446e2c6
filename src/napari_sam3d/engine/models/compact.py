"""The default model: a small convolutional network that asks every voxel how alike it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.models.blocks import (
    ResidualBlock,
    UpMerge,
    depth_to_space,
    space_to_depth,
)
from napari_sam3d.engine.models.likeness import PROMPT_MAPS, prompt_maps


@dataclass(frozen=True, eq=False)
class Embedding:
    """The patch itself, and what the first convolution makes of it."""

    patch: Tensor
    stem: Tensor


@final
class Compact(PromptableModel):
    """A U-Net on the half grid that reads the clicks early.

    The first convolution adds the image and the prompt maps of `likeness`. Measured against a
    network that encodes the image alone and meets the clicks in its decoder
    (`recipes/compact/candidates.py`), reading the clicks early learned faster per sample and was
    cheaper per sample; a click costs the whole network, about a tenth of a second on two cores.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128),
        blocks: tuple[int, ...] = (2, 3, 3),
        up_blocks: tuple[int, ...] = (1, 2),
    ) -> None:
        super().__init__()
        fine = widths[0]
        self.stem = nn.Conv3d(8 + PROMPT_MAPS, fine, 3, padding=1)
        self.down = PyramidDown(widths, blocks)
        self.up = PyramidUp(widths, up_blocks)
        self.head = nn.Sequential(nn.GroupNorm(fine // 8, fine), nn.SiLU(), nn.Conv3d(fine, 8, 1))
        self.iou_head = IouHead(widths[-1])

    def encode_image(self, patch: Tensor) -> Embedding:
        image = space_to_depth(patch)
        weight = self.stem.weight[:, : image.shape[1]]  # a convolution is a sum over its inputs
        return Embedding(patch, F.conv3d(image, weight, self.stem.bias, padding=1))

    def decode_masks(self, embedding: Embedding, prompts: PatchPrompts) -> Masks:
        weight = self.stem.weight[:, -PROMPT_MAPS:]
        maps = prompt_maps(embedding.patch, prompts)
        features = self.down([embedding.stem + F.conv3d(maps, weight, padding=1)])
        logits = depth_to_space(self.head(self.up(features)[0])).float()
        return Masks(logits, self.iou_head(features[-1], logits))

    @staticmethod
    def is_adapter(name: str) -> bool:
        # all but the first convolution; provisional: on hearts of training patients it gained more
        # than the way up and the heads alone did, which were tried at another learning rate
        return not name.startswith("stem.")


class PyramidDown(nn.Module):
    """Features of each level, the next coarser one added level by level."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(w) for _ in range(n)))
            for w, n in zip(widths, blocks, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Inputs from fine to coarse; levels without an input start from the one above alone."""
        features = [self.levels[0](inputs[0])]
        for level in range(1, len(self.levels)):
            x = self.down[level - 1](features[-1])
            if level < len(inputs):
                x = x + inputs[level]
            features.append(self.levels[level](x))
        return features


class PyramidUp(nn.Module):
    """Coarse features brought back to the finer levels."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.merge = nn.ModuleList(UpMerge(coarse, fine) for fine, coarse in pairs)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(fine) for _ in range(n)))
            for (fine, _), n in zip(pairs, blocks, strict=True)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        out = list(features)
        for level in reversed(range(len(self.levels))):
            out[level] = self.levels[level](self.merge[level](out[level + 1], out[level]))
        return out


class IouHead(nn.Module):
    """Expected IoU of the mask, from the coarsest features inside and outside of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inputs = 2 * width + 2
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, 64), nn.SiLU(), nn.Linear(64, 1)
        )

    def forward(self, coarse: Tensor, logits: Tensor) -> Tensor:
        coarse, logits = coarse.detach().float(), logits.detach()
        chance = torch.sigmoid(logits)
        size = chance.mean((1, 2, 3, 4)).clamp(min=1e-5)[:, None]  # share of the patch
        sure = (chance * chance).mean((1, 2, 3, 4))[:, None] / size
        depth, height, breadth = coarse.shape[2:]
        weight = F.adaptive_avg_pool3d(chance, (depth, height, breadth))
        inside = (coarse * weight).mean((2, 3, 4)) / size
        whole = coarse.mean((2, 3, 4))
        return torch.sigmoid(self.layers(torch.cat([inside, whole, sure, size.log()], 1).float()))[
            :, 0
        ]
