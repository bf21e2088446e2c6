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
    sample_at,
    space_to_depth,
)
from napari_sam3d.engine.models.likeness import PROMPT_MAPS, prompt_maps, unit_positions


@dataclass(frozen=True, eq=False)
class Embedding:
    """The patch itself, and its features on the grids 2, 4 and 8 times coarser."""

    patch: Tensor
    features: tuple[Tensor, ...]


@final
class Compact(PromptableModel):
    """Encoder and decoder are each a small U-Net; the likeness to the clicks joins them."""

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128),
        encoder_blocks: tuple[int, ...] = (1, 2, 2),
        decoder_blocks: tuple[int, ...] = (1, 1, 1),
        heads: int = 8,
        head_width: int = 8,
    ) -> None:
        super().__init__()
        self.heads = heads
        fine = widths[0]
        self.stem = nn.Conv3d(8, fine, 3, padding=1)
        self.encoder = PyramidDown(widths, encoder_blocks)
        self.encoder_up = PyramidUp(widths, (0, 1))
        self.keys = nn.ModuleList(nn.Conv3d(w, heads * head_width, 1) for w in widths)
        self.join = nn.ModuleList(
            nn.Conv3d(w + 2 * heads + (PROMPT_MAPS if i < 2 else 0), w, 1)
            for i, w in enumerate(widths)
        )
        self.maps_in = nn.Conv3d(PROMPT_MAPS, fine, 3, padding=1)
        self.decoder = PyramidDown(widths, decoder_blocks)
        self.decoder_up = PyramidUp(widths, (1, 1))
        self.head = nn.Sequential(nn.GroupNorm(fine // 8, fine), nn.SiLU(), nn.Conv3d(fine, 8, 1))
        self.iou_head = IouHead(widths[-1])

    def encode_image(self, patch: Tensor) -> Embedding:
        features = self.encoder_up(self.encoder([self.stem(space_to_depth(patch))]))
        return Embedding(patch, tuple(features))

    def decode_masks(self, embedding: Embedding, prompts: PatchPrompts) -> Masks:
        maps = prompt_maps(embedding.patch, prompts).to(embedding.features[0].dtype)
        places = unit_positions(prompts.points, embedding.patch)
        joined = []
        for level, features in enumerate(embedding.features):
            inputs = [features, *self._alike(level, features, places, prompts.labels)]
            if level < 2:
                inputs.append(F.avg_pool3d(maps, 2) if level else maps)
            joined.append(self.join[level](torch.cat(inputs, 1)))
        joined[0] = joined[0] + self.maps_in(maps)
        features = self.decoder(joined)
        coarse = features[-1]
        fine = self.decoder_up(features)[0]
        logits = depth_to_space(self.head(fine)).float()
        return Masks(logits, self.iou_head(coarse, logits))

    def _alike(self, level: int, features: Tensor, places: Tensor, labels: Tensor) -> list[Tensor]:
        """Cosine likeness (b, heads, d, h, w) to the best positive and the best negative click."""
        b, _, d, h, w = features.shape
        keys = self.keys[level](features).float().view(b, self.heads, -1, d * h * w)
        keys = F.normalize(keys, dim=2)
        if places.shape[1] == 0:
            return [features.new_zeros(b, self.heads, d, h, w)] * 2
        clicked = sample_at(keys.view(b, -1, d, h, w), places)  # (b, n, heads * width)
        clicked = F.normalize(clicked.view(b, -1, self.heads, keys.shape[2]), dim=-1)
        alike = torch.einsum("bnhc,bhcv->bnhv", clicked, keys).view(b, -1, self.heads, d, h, w)
        out = []
        for label in (1, 0):
            chosen = (labels == label)[:, :, None, None, None, None]
            best = alike.masked_fill(~chosen, -2).amax(1)
            out.append(torch.where(best < -1.5, 0, best).to(features.dtype))
        return out

    @staticmethod
    def is_adapter(name: str) -> bool:
        return not name.startswith(("stem", "encoder"))


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
        self.layers = nn.Sequential(nn.Linear(2 * width + 2, 64), nn.SiLU(), nn.Linear(64, 1))

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
