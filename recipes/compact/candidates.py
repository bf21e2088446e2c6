"""The shipped network, and two that were measured against it and are not in the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.models.blocks import (
    ResidualBlock,
    depth_to_space,
    sample_at,
    space_to_depth,
)
from napari_sam3d.engine.models.compact import Compact, IouHead, PyramidDown, PyramidUp
from napari_sam3d.engine.models.likeness import PROMPT_MAPS, prompt_maps, unit_positions


@dataclass(frozen=True, eq=False)
class LateEmbedding:
    """The patch itself, and its features on the grids 2, 4 and 8 times coarser."""

    patch: Tensor
    features: tuple[Tensor, ...]


class Late(PromptableModel):
    """Encoder and decoder are each a small U-Net; likeness of learned features joins them."""

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

    def encode_image(self, patch: Tensor) -> LateEmbedding:
        features = self.encoder_up(self.encoder([self.stem(space_to_depth(patch))]))
        return LateEmbedding(patch, tuple(features))

    def decode_masks(self, embedding: LateEmbedding, prompts: PatchPrompts) -> Masks:
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


class WindowBlock(nn.Module):
    """3DSAM-adapter's block made small: spatial adapter, then shifted 8-cubed windows."""

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.adapter_down = nn.Conv3d(width, width // 2, 1)
        self.adapter_conv = nn.Conv3d(width // 2, width // 2, 3, padding=1, groups=width // 2)
        self.adapter_up = nn.Conv3d(width // 2, width, 1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.position = nn.Parameter(torch.zeros(512, width))

    def forward(self, x: Tensor) -> Tensor:  # (b, c, 16, 16, 16)
        x = x + F.relu(self.adapter_up(F.relu(self.adapter_conv(F.relu(self.adapter_down(x))))))
        b, c, s, _, _ = x.shape
        n = s // 8
        t = x.roll((-self.shift,) * 3, (2, 3, 4)) if self.shift else x
        t = t.view(b, c, n, 8, n, 8, n, 8).permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(-1, 512, c)
        q, k, v = self.qkv(self.norm1(t) + self.position).chunk(3, -1)
        q, k, v = (m.view(-1, 512, self.heads, c // self.heads).transpose(1, 2) for m in (q, k, v))
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 512, c)
        t = t + self.proj(a)
        t = t + self.mlp(self.norm2(t))
        t = t.view(b, n, n, n, 8, 8, 8, c).permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(b, c, s, s, s)
        return t.roll((self.shift,) * 3, (2, 3, 4)) if self.shift else t


class SmallAdapter(PromptableModel):
    """3DSAM-adapter's anatomy: windowed transformer, visual sampler, multi-layer aggregation."""

    def __init__(self, width: int = 96, depth: int = 6, heads: int = 3) -> None:
        super().__init__()
        self.patch_embed = nn.Conv3d(1, width, 4, stride=4)
        self.blocks = nn.ModuleList(
            WindowBlock(width, heads, 4 if i % 2 == 0 else 0) for i in range(depth)
        )
        self.taps = (depth // 3, 2 * depth // 3, depth - 1)
        self.global_query = nn.Parameter(torch.randn(10, width) * 0.02)
        self.sign = nn.Parameter(torch.randn(2, width) * 0.02)
        self.mask_in = nn.Conv3d(1, width, 4, stride=4)
        self.to_tokens = nn.MultiheadAttention(width, heads, batch_first=True)
        self.to_image = nn.ModuleList(
            nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.mla = nn.ModuleList(nn.Conv3d(width, 64, 3, padding=1) for _ in range(3))
        self.fuse = nn.Conv3d(3 * 64 + 8, 32, 3, padding=1)
        self.refine = ResidualBlock(32)
        self.head = nn.Sequential(nn.GroupNorm(4, 32), nn.SiLU(), nn.Conv3d(32, 8, 1))
        self.iou_head = IouHead(width)

    def encode_image(self, patch: Tensor) -> Any:
        x = self.patch_embed(patch)
        kept = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                kept.append(x)
        return patch, kept

    def decode_masks(self, embedding: Any, prompts: PatchPrompts) -> Masks:
        patch, kept = embedding
        x = kept[-1] + self.mask_in(torch.tanh(prompts.mask / 4)).to(kept[-1])
        places = unit_positions(prompts.points, patch)
        tokens = sample_at(x, places) + self.sign[prompts.labels.clamp(min=0)]
        b = x.shape[0]
        tokens = torch.cat([self.global_query.expand(b, -1, -1), tokens], 1).to(x.dtype)
        absent = torch.cat([prompts.labels.new_zeros(b, 10), prompts.labels], 1) < 0
        image = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.to_tokens(tokens, tokens, tokens, key_padding_mask=absent)[0]
        tokens = self.norms[0](tokens)
        for attend, norm in zip(self.to_image, self.norms[1:], strict=True):
            image = norm(image + attend(image, tokens, tokens, key_padding_mask=absent)[0])
        prompted = image.transpose(1, 2).view_as(x)
        levels = [mla(f) for mla, f in zip(self.mla, [*kept[:-1], prompted], strict=True)]
        up = [F.interpolate(f, scale_factor=2, mode="trilinear") for f in levels]
        fine = self.refine(self.fuse(torch.cat([*up, space_to_depth(patch).to(up[0])], 1)))
        logits = depth_to_space(self.head(fine)).float()
        return Masks(logits, self.iou_head(prompted, logits))

    @staticmethod
    def is_adapter(name: str) -> bool:
        return "adapter" in name


CANDIDATES = {
    "compact": Compact,
    "late": Late,
    "small_adapter": SmallAdapter,
}
