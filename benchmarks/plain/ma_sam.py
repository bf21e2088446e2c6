"""MA-SAM as released, formulated plainly: padded windows, materialised attention, no folding.

It runs on the parameters of our `MaSam`, so that both answer for the same weights: the yardstick of
the benchmarks and the oracle of the tests.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import (
    add_decomposed_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor

from napari_sam3d.engine.models.ma_sam import MaSam
from napari_sam3d.engine.models.ma_sam.encoder import Block, FactAttention, ImageEncoder


def build(
    classes: int = 12, seed: int = 0, encoder: str = "vit_b", device: str | torch.device = "cpu"
) -> MaSam:
    """The network at full size with seeded random weights, in evaluation mode."""
    sizes = {
        "vit_b": {},
        "vit_l": {"embed_dim": 1024, "depth": 24, "heads": 16, "global_blocks": (5, 11, 17, 23)},
        "vit_h": {"embed_dim": 1280, "depth": 32, "heads": 16, "global_blocks": (7, 15, 23, 31)},
    }
    torch.manual_seed(seed)
    model = MaSam(classes=classes, **sizes[encoder])
    randomise(model, seed)
    return model.eval().requires_grad_(False).to(device)


def randomise(model: MaSam, seed: int = 0) -> None:
    """Give what starts at zero a value, so that every term counts."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name or "FacT" in name or name.endswith("bias"):
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def encode(encoder: ImageEncoder, slices: Tensor, group: int) -> Tensor:
    """Embeddings (n, c, h, w) of grey slices (n, 1, H, W), groups of slices adjacent."""
    x = encoder.patch_embed(slices.repeat(1, 3, 1, 1)) + encoder.pos_embed
    for block in encoder.blocks:
        x = _block(block, x, group, encoder)
    return encoder.neck(x.permute(0, 3, 1, 2))


def decode(model: MaSam, image: Tensor, boxes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Class logits (n, classes + 1, H, W) and qualities of slices, with boxes (n, 4) or without."""
    decoder = model.mask_decoder
    sparse, dense = model.prompt_encoder(points=None, boxes=boxes, masks=None)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], 1)
    n, c, h, w = image.shape
    positions = model.prompt_encoder.get_dense_pe()
    hidden, source = decoder.transformer(
        image + dense, positions.repeat_interleave(n, 0), tokens.expand(n, -1, -1)
    )
    upscaled = decoder.output_upscaling(source.transpose(1, 2).view(n, c, h, w))
    logits = []
    for i, mlp in enumerate(decoder.output_hypernetworks_mlps):
        weights = mlp(hidden[:, 1 + i])
        logits.append((weights[:, :, None, None] * upscaled).sum(1))
    size = (model.image_size, model.image_size)
    masks = torch.stack(logits, 1)
    for _ in range(2):  # to the size of the network, to that of the slice: both are what it has
        masks = F.interpolate(masks, size, mode="bilinear", align_corners=False)
    return masks, decoder.iou_prediction_head(hidden[:, 0])


def _block(block: Block, x: Tensor, group: int, encoder: ImageEncoder) -> Tensor:
    x = x + _adapter(x, group, block.adapter_norm, block.adapter_linear_down, block.adapter_conv,
                     block.adapter_linear_up)  # fmt: skip
    y = block.norm1(x)
    size = y.shape[1:3]
    if block.window:
        y, padded = window_partition(y, block.window)
    y = _attention(block.attn, y, encoder)
    if block.window:
        y = window_unpartition(y, block.window, padded, size)
    x = x + y
    x = x + _adapter(x, group, block.adapter_norm_2, block.adapter_linear_down_2,
                     block.adapter_conv_2, block.adapter_linear_up_2)  # fmt: skip
    return x + block.mlp(block.norm2(x))


def _adapter(x: Tensor, group: int, norm, down, conv, up) -> Tensor:  # type: ignore[no-untyped-def]
    y = down(norm(x))
    n, h, w, c = y.shape
    y = y.view(n // group, group, h, w, c).permute(0, 4, 1, 2, 3)
    y = F.gelu(conv(y))
    return up(y.permute(0, 2, 3, 4, 1).reshape(n, h, w, c))


def _attention(attn: FactAttention, x: Tensor, encoder: ImageEncoder) -> Tensor:
    b, h, w, dim = x.shape
    qkv = attn.qkv(x)
    low = encoder.FacTu(x)
    qkv[..., :dim] += encoder.FacTv(attn.q_FacTs(low)) * attn.scale
    qkv[..., 2 * dim :] += encoder.FacTv(attn.v_FacTs(low)) * attn.scale
    qkv = qkv.reshape(b, h * w, 3, attn.heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, b * attn.heads, h * w, -1).unbind(0)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    logits = add_decomposed_rel_pos(logits, q, attn.rel_pos_h, attn.rel_pos_w, (h, w), (h, w))
    out = logits.softmax(-1) @ v
    out = out.view(b, attn.heads, h, w, -1).permute(0, 2, 3, 1, 4).reshape(b, h, w, -1)
    return attn.proj(out)
