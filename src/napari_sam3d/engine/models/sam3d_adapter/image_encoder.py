"""3DSAM-adapter's image encoder: SAM's, turned to volumes by adapters and cubic windows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import MLPBlock
from torch import Tensor, nn

from napari_sam3d.engine.models.base import Blocks
from napari_sam3d.engine.models.sam3d_adapter.attention import WindowAttention
from napari_sam3d.engine.models.sam3d_adapter.patch_embedding import embed_patch
from napari_sam3d.engine.models.sam_blocks import (
    ChannelNorm,
    add_branch,
    by_onednn,
    cast_once,
    map_tokens,
)

_EPS = 1e-6  # of SAM's encoder norms


class ImageEncoder(Blocks):
    """SAM's encoder on cubes of tokens (paper, section 3.2; parameter names of the released code).

    Tokens are held as (b, h, w, d, c): the patch's first axis is the network's last.

    Parameters
    ----------
    dim, depth, heads
        Size of SAM's transformer: (768, 12, 12), (1024, 24, 16) or (1280, 32, 16).
    levels
        Blocks after which features are taken: those with global attention in SAM.
    grid
        Tokens along each axis.
    token
        Slices and pixels that become one token after upsampling the patch to grid * token.
    crop
        Voxels of the patch along each axis.
    window
        Tokens along each axis that attend to one another.
    table_window
        Window of SAM, which gives the length of the tables of relative positions.
    width
        Channels of the features.
    """

    recomputed = True  # the activations of all blocks take 26 GB, counted

    def __init__(
        self,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        levels: tuple[int, ...] = (2, 5, 8, 11),
        grid: int = 32,
        token: int = 16,
        crop: int = 128,
        window: int = 8,
        table_window: int = 14,
        width: int = 256,
    ) -> None:
        super().__init__()
        side = 2 * grid  # SAM's own grid
        self.levels, self.grid, self.crop = levels, grid, crop
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, dim))
        self.depth_embed = nn.Parameter(torch.ones(1, grid, dim))
        self.patch_embed = PatchEmbed(dim, token)
        self.slice_embed = nn.Conv3d(dim, dim, (1, 1, token), (1, 1, token), groups=dim)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                window,
                shift=window // 2 if i % 2 == 0 else 0,  # kept for parity: Swin shifts odd blocks
                # kept for parity: the "global" blocks attend in windows too, with longer tables
                table=2 * (side if i in levels else table_window) - 1,
            )
            for i in range(depth)
        )
        self.neck_3d = nn.ModuleList(neck(dim, width) for _ in levels)

    def forward(self, patch: Tensor) -> list[Tensor]:
        """Features (b, width, h, w, d) of each level for patches (b, 1 or 3, d, h, w)."""
        return self.encode_tokens(self.embed(patch))

    def embed(self, patch: Tensor) -> Tensor:
        """Tokens (b, h, w, d, c) that the first block is given."""
        tokens = embed_patch(patch, self.patch_embed.proj, self.slice_embed, self.grid)
        across = F.avg_pool2d(self.pos_embed.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        return tokens + across[:, :, :, None] + self.depth_embed[:, None, None]

    def encode_tokens(self, x: Tensor) -> list[Tensor]:
        """Features of each level; without gradients the tokens are worked on in place."""
        features = []
        for i, block in enumerate(self.blocks):
            x = self.through(block, x)
            if i in self.levels:
                to_features = self.neck_3d[self.levels.index(i)]
                features.append(to_features(x.permute(0, 4, 1, 2, 3)))
        return features


class PatchEmbed(nn.Module):
    """SAM's embedding of a slice of three channels."""

    def __init__(self, dim: int, token: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, token, token)


class Block(nn.Module):
    """An adapter, attention in windows, and an MLP."""

    def __init__(self, dim: int, heads: int, window: int, *, shift: int, table: int) -> None:
        super().__init__()
        self.adapter = Adapter(dim, dim // 2)
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = WindowAttention(dim, heads, window, shift=shift, table=table)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = MLPBlock(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn.add_to(self.adapter.add_to(x), self.norm1)
        widen, narrow, act = cast_once(self.mlp.lin1), cast_once(self.mlp.lin2), self.mlp.act

        def mlp(tokens: Tensor) -> Tensor:
            return by_onednn(lambda t: narrow(act(widen(t))), self.norm2(tokens))

        return add_branch(x, mlp)


class Adapter(nn.Module):
    """A narrow detour with a depthwise convolution, so that tokens see their neighbours."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.conv = nn.Conv3d(hidden, hidden, 3, padding=1, groups=hidden)
        self.linear2 = nn.Linear(hidden, dim)

    def add_to(self, x: Tensor) -> Tensor:
        linear1, linear2 = cast_once(self.linear1), cast_once(self.linear2)
        narrow = map_tokens(x, lambda t: F.relu(by_onednn(linear1, t)))
        # a permuted view is in channels-last order, in which depthwise convolution is quick
        near = F.relu(self.conv(narrow.permute(0, 4, 1, 2, 3))).permute(0, 2, 3, 4, 1)
        # kept for parity: a ReLU after the second linear layer too, so the detour can only add
        return add_branch(x, lambda t: F.relu(by_onednn(linear2, t)), near)


def neck(dim: int, width: int) -> nn.Sequential:
    """SAM's neck with cubic kernels."""
    return nn.Sequential(
        nn.Conv3d(dim, width, 1, bias=False),
        ChannelNorm(width),
        nn.Conv3d(width, width, 3, padding=1, bias=False),
        ChannelNorm(width),
    )
