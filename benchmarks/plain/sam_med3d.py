"""SAM-Med3D as its formulas read: padded windows and attention written out, to measure against."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam3d.engine.models.sam_blocks import ChannelNorm
from napari_sam3d.engine.models.sam_med3d import SamMed3D

EPS = 1e-6


def build(seed: int = 0, **sizes: Any) -> tuple[SamMed3D, PlainSamMed3D]:
    """Our network and the plain one with the same seeded random weights; full size by default."""
    torch.manual_seed(seed)
    ours = SamMed3D(**sizes).eval().requires_grad_(False)
    for name, parameter in ours.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:  # zeros would hide how they are used
            parameter.normal_(0, 0.1)
    return ours, PlainSamMed3D(ours)


def inputs(ours: SamMed3D, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A random patch, a point (1, 1, 3) in its middle with its label, and the empty mask."""
    size = ours.prompt_encoder.image_size
    patch = torch.randn(1, 1, size, size, size, generator=torch.Generator().manual_seed(seed))
    point = torch.full((1, 1, 3), size // 2, dtype=torch.float32)
    return patch, point, torch.ones(1, 1), torch.zeros(1, 1, *(size // 4,) * 3)


class PlainSamMed3D(nn.Module):
    """The slow formulation on the parameters of `ours`, shared with it."""

    def __init__(self, ours: SamMed3D) -> None:
        super().__init__()
        self.image_encoder = ours.image_encoder
        self.prompt_encoder = ours.prompt_encoder
        self.mask_decoder = ours.mask_decoder

    def encode(self, patch: Tensor) -> Tensor:
        """(b, 1, s, s, s) -> (b, c, g, g, g)."""
        encoder = self.image_encoder
        x = encoder.patch_embed.proj(patch).permute(0, 2, 3, 4, 1) + encoder.pos_embed
        for block in encoder.blocks:
            y = layer_norm(x, block.norm1)
            windows, grid = padded_windows(y, block.window)
            windows = attention(windows, block.attn)
            x = x + joined(windows, block.window, grid, x.shape)
            x = x + block.mlp(layer_norm(x, block.norm2))
        x = x.permute(0, 4, 1, 2, 3)
        one, norm1, three, norm2 = encoder.neck
        return channel_norm(three(channel_norm(one(x), norm1)), norm2)

    def click(self, features: Tensor, point: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        """Logits (1, 1, s/4, s/4, s/4) for points (1, n, 3) with labels (1, n)."""
        prompt, decoder = self.prompt_encoder, self.mask_decoder
        encoded = prompt.pe_layer((point + 0.5) / prompt.image_size)
        tokens = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        for place, kind in zip(encoded[0], label[0], strict=True):
            tokens.append(place[None] + prompt.point_embeddings[int(kind)].weight)
        tokens.append(prompt.not_a_point_embed.weight)
        x = mask
        for layer in prompt.mask_downscaling:
            x = channel_norm(x, layer) if isinstance(layer, ChannelNorm) else layer(x)
        n = prompt.grid
        place = torch.empty(n, n, n, 3)
        for i in range(n):
            for j in range(n):
                for k in range(n):
                    place[i, j, k] = torch.tensor([j + 0.5, i + 0.5, k + 0.5]) / n
        position = prompt.pe_layer(place).permute(3, 0, 1, 2)[None]
        out, image = decoder.transformer(
            (features + x).flatten(3), position.flatten(3), torch.cat(tokens)[None]
        )
        image = image.transpose(1, 2).reshape(features.shape)
        first, norm, act, second, _ = decoder.output_upscaling
        image = act(second(act(channel_norm(first(image), norm))))
        weights = [mlp(out[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        masks = (torch.stack(weights, 1) @ image.flatten(2)).view(1, -1, *image.shape[2:])
        return masks[:, :1]


def attention(x: Tensor, layer: nn.Module) -> Tensor:
    """(b, n, n, n, c): every token of a window attends to every other, the padding included."""
    b, n, _, _, c = x.shape
    qkv = layer.qkv(x).reshape(b, n**3, 3, layer.heads, c // layer.heads).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, b * layer.heads, n**3, -1)
    logits = (q / math.sqrt(q.shape[-1])) @ k.transpose(1, 2)
    index = torch.arange(n)
    far = index[:, None] - index + n - 1
    table_d, table_h, table_w = (
        r[far] for r in (layer.rel_pos_d, layer.rel_pos_h, layer.rel_pos_w)
    )
    q = q.view(-1, n, n, n, q.shape[-1])
    d = torch.einsum("bdhwc,dkc->bdhwk", q, table_d)
    h = torch.einsum("bdhwc,hkc->bdhwk", q, table_h)
    w = torch.einsum("bdhwc,wkc->bdhwk", q, table_w)
    # the released code's broadcasting: the keys' axis of all three lands on the last one
    logits = (
        logits.view(-1, n, n, n, n, n, n)
        + d[:, :, :, :, None, None]
        + h[:, :, :, None, :, None]
        + w[:, :, :, None, None]
    ).view(-1, n**3, n**3)
    out = logits.softmax(-1) @ v
    return layer.proj(out.view(b, layer.heads, n**3, -1).transpose(1, 2).reshape(b, n, n, n, c))


def padded_windows(x: Tensor, window: int) -> tuple[Tensor, int]:
    """Windows of (b, g, g, g, c), zeros where they reach beyond, and windows along an edge."""
    pad = -x.shape[1] % window
    x = F.pad(x, (0, 0, 0, pad, 0, pad, 0, pad))
    b, g, _, _, c = x.shape
    n = g // window
    x = x.view(b, n, window, n, window, n, window, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(-1, window, window, window, c), n


def joined(windows: Tensor, window: int, n: int, shape: torch.Size) -> Tensor:
    """The way back from `padded_windows`."""
    x = windows.view(shape[0], n, n, n, window, window, window, -1).permute(0, 1, 4, 2, 5, 3, 6, 7)
    g = shape[1]
    return x.reshape(shape[0], n * window, n * window, n * window, -1)[:, :g, :g, :g]


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm over the last axis."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, EPS)


def channel_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """Layer norm over axis 1, step by step."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    x = (x - mean) / torch.sqrt(variance + EPS)
    shape = (1, -1, 1, 1, 1)
    return norm.weight.view(shape) * x + norm.bias.view(shape)
