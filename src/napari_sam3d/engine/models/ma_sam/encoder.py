"""The image encoder of MA-SAM: SAM's, with FacT on queries and values and two 3D adapters a block.

Chen et al., "MA-SAM: Modality-agnostic SAM adaptation for 3D medical image segmentation", 2024,
sections 3.2 and 3.3; models.md section 3.1 for the released code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d, MLPBlock
from segment_anything.modeling.image_encoder import PatchEmbed
from torch import Tensor, nn

from napari_sam3d.engine.models.base import Blocks
from napari_sam3d.engine.models.vit_attention import RelativePositions, image_attention

_EPS = 1e-6  # of the layer norms of SAM's encoder
_MLP_RATIO = 4
_FACT_DROPOUT = 0.1


class ImageEncoder(Blocks):
    """Slices to embeddings; slices of a group see each other through the adapters.

    Parameters
    ----------
    embed_dim, depth, heads, global_blocks
        Of SAM's vit_b, vit_l or vit_h; the blocks that are not global attend in windows.
    image_size, patch_size, window
        Side of a slice and of its patches in pixels, of a window in tokens.
    channels
        Of the embedding.
    adapter_channels, rank, scale
        Width of the adapters; rank of FacT and the factor it is added with.
    """

    recomputed = True  # the activations of all blocks take 5 GB in vit_b, counted; more in vit_h

    def __init__(
        self,
        *,
        embed_dim: int,
        depth: int,
        heads: int,
        global_blocks: tuple[int, ...],
        image_size: int,
        patch_size: int,
        window: int,
        channels: int,
        adapter_channels: int,
        rank: int,
        scale: float,
    ) -> None:
        super().__init__()
        side = image_size // patch_size
        self.patch_embed = PatchEmbed(
            (patch_size, patch_size), (patch_size, patch_size), embed_dim=embed_dim
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, embed_dim))
        self.FacTu = nn.Linear(embed_dim, rank, bias=False)
        self.FacTv = nn.Linear(rank, embed_dim, bias=False)
        nn.init.zeros_(self.FacTv.weight)
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                heads,
                0 if i in global_blocks else window,
                side if i in global_blocks else window,
                adapter_channels,
                rank,
                scale,
            )
            for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, channels, 1, bias=False),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            LayerNorm2d(channels),
        )

    def forward(self, slices: Tensor, group: int) -> Tensor:
        """Embeddings (n, channels, h, w) of slices (n, 1 or 3, H, W), n a multiple of `group`."""
        x = self.embed_patches(slices)
        for block in self.blocks:
            x = self.through(block, x, group, self.FacTu, self.FacTv)
        x = self.neck[0](x.permute(0, 3, 1, 2))
        x = self.neck[2](self.neck[1](x.float()))
        return self.neck[3](x.float())

    def embed_patches(self, slices: Tensor) -> Tensor:
        """Tokens (n, h, w, embed_dim) with their positions."""
        projection = self.patch_embed.proj
        weight = projection.weight
        if slices.shape[1] == 1:  # the release repeats a grey slice three times
            weight = weight.sum(1, keepdim=True)
        x = F.conv2d(slices, weight, projection.bias, stride=projection.stride)
        return x.permute(0, 2, 3, 1).contiguous() + self.pos_embed


class Block(nn.Module):
    """A transformer block of SAM with an adapter before its attention and one before its MLP."""

    def __init__(
        self,
        dim: int,
        heads: int,
        window: int,
        side: int,
        adapter_channels: int,
        rank: int,
        scale: float,
    ) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = FactAttention(dim, heads, side, rank, scale)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = MLPBlock(dim, _MLP_RATIO * dim)
        self.adapter_norm, self.adapter_norm_2 = (nn.LayerNorm(dim) for _ in range(2))
        self.adapter_linear_down, self.adapter_linear_down_2 = (
            nn.Linear(dim, adapter_channels, bias=False) for _ in range(2)
        )
        self.adapter_conv, self.adapter_conv_2 = (
            nn.Conv3d(adapter_channels, adapter_channels, (3, 1, 1), padding="same")
            for _ in range(2)
        )
        self.adapter_linear_up, self.adapter_linear_up_2 = (
            nn.Linear(adapter_channels, dim, bias=False) for _ in range(2)
        )

    def forward(self, x: Tensor, group: int, fact_u: nn.Linear, fact_v: nn.Linear) -> Tensor:
        """Tokens (n, h, w, dim) to tokens; slices of a group are adjacent in the batch."""
        x = self.before_attention(x, group)
        x = x + self.attn(self.norm1(x), self.window, fact_u, fact_v)
        x = self.before_mlp(x, group)
        return x + self.mlp(self.norm2(x))

    def before_attention(self, x: Tensor, group: int) -> Tensor:
        y = self.adapter_linear_down(self.adapter_norm(x))
        y = F.gelu(along_slices(y, self.adapter_conv, group))
        return x + self.adapter_linear_up(y)

    def before_mlp(self, x: Tensor, group: int) -> Tensor:
        y = self.adapter_linear_down_2(self.adapter_norm_2(x))
        y = F.gelu(along_slices(y, self.adapter_conv_2, group))
        return x + self.adapter_linear_up_2(y)


def along_slices(x: Tensor, conv: nn.Conv3d, group: int) -> Tensor:
    """The (3, 1, 1) convolution along the slices of each group, zero beyond its ends.

    Three matrix products on tokens as they lie in memory, instead of a convolution that wants the
    channels first.

    Parameters
    ----------
    x
        (n, h, w, c), slices of a group adjacent.
    conv
        Weights (c, c, 3, 1, 1).
    group
        Slices of a group.
    """
    before, here, after = conv.weight[..., 0, 0].unbind(-1)
    out = F.linear(x, here, conv.bias)
    grouped, x = out.unflatten(0, (-1, group)), x.unflatten(0, (-1, group))
    if group > 1:
        grouped[:, 1:] += F.linear(x[:, :-1], before)
        grouped[:, :-1] += F.linear(x[:, 1:], after)
    return out


class FactAttention(nn.Module):
    """SAM's attention whose queries and values are changed by tensor-train factors (FacT)."""

    def __init__(self, dim: int, heads: int, side: int, rank: int, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h, self.rel_pos_w = (
            nn.Parameter(torch.zeros(2 * side - 1, dim // heads)) for _ in range(2)
        )
        self.q_FacTs, self.v_FacTs = (nn.Linear(rank, rank, bias=False) for _ in range(2))

    def forward(self, x: Tensor, window: int, fact_u: nn.Linear, fact_v: nn.Linear) -> Tensor:
        """Attention of normalised tokens (n, h, w, dim), in windows unless `window` is 0."""
        if self.training:
            qkv = self.qkv(x) + self._change(x, fact_u, fact_v)
        else:
            qkv = F.linear(x, self.weight(fact_u, fact_v), self.qkv.bias)
        positions = RelativePositions(self.rel_pos_h, self.rel_pos_w)
        # FacT has no bias, so a token of zeros becomes the bias of the frozen projection
        return self.proj(image_attention(qkv, self.qkv.bias, positions, self.heads, window))

    def weight(self, fact_u: nn.Linear, fact_v: nn.Linear) -> Tensor:
        """The projection (3 * dim, dim) with the factors multiplied out."""
        with torch.autocast(fact_u.weight.device.type, enabled=False):
            q, k, v = self.qkv.weight.chunk(3)
            left, right = self.scale * fact_v.weight, fact_u.weight
            changed_q = q + left @ self.q_FacTs.weight @ right
            changed_v = v + left @ self.v_FacTs.weight @ right
            return torch.cat([changed_q, k, changed_v])

    def _change(self, x: Tensor, fact_u: nn.Linear, fact_v: nn.Linear) -> Tensor:
        """The same, step by step with dropout, for training."""
        low = fact_u(x)
        q, v = (
            self.scale * fact_v(F.dropout(factor(low), _FACT_DROPOUT))
            for factor in (self.q_FacTs, self.v_FacTs)
        )
        return torch.cat([q, torch.zeros_like(q), v], -1)
