"""Networks that were measured against the shipped one; none of them is part of the package."""

from __future__ import annotations

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


class Early(PromptableModel):
    """One U-Net that reads image and prompt maps together; nothing of it can be cached."""

    def __init__(
        self, widths: tuple[int, ...] = (32, 64, 128), blocks: tuple[int, ...] = (2, 3, 3)
    ) -> None:
        super().__init__()
        fine = widths[0]
        self.stem = nn.Conv3d(8 + PROMPT_MAPS, fine, 3, padding=1)
        self.down = PyramidDown(widths, blocks)
        self.up = PyramidUp(widths, (1, 2))
        self.head = nn.Sequential(nn.GroupNorm(fine // 8, fine), nn.SiLU(), nn.Conv3d(fine, 8, 1))
        self.iou_head = IouHead(widths[-1])

    def encode_image(self, patch: Tensor) -> Tensor:
        return patch

    def decode_masks(self, embedding: Tensor, prompts: PatchPrompts) -> Masks:
        x = torch.cat([space_to_depth(embedding), prompt_maps(embedding, prompts)], 1)
        features = self.down([self.stem(x)])
        logits = depth_to_space(self.head(self.up(features)[0])).float()
        return Masks(logits, self.iou_head(features[-1], logits))

    @staticmethod
    def is_adapter(name: str) -> bool:
        return name.startswith(("up", "head", "iou_head"))


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
    "early": Early,
    "small_adapter": SmallAdapter,
}
