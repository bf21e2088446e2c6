"""The image encoder of SAM-Med3D: a small ViT over 3D tokens, with the released oddities kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import MLPBlock
from torch import Tensor, nn

from napari_sam3d.engine.models.base import Blocks
from napari_sam3d.engine.models.sam_blocks import (
    ChannelNorm,
    by_onednn,
    full_precision,
    relative_keys,
)

_EPS = 1e-6  # of every layer norm in the encoder
_HEADS = 3  # attention heads at a time on a CPU: their logits, 3 MB, stay in its caches


class ImageEncoder(Blocks):
    """Patches to features, (b, 1, s, s, s) -> (b, out, g, g, g) with g = s / patch_size.

    The released code (SAM-Med3D f3de1fa). Parameter names are those of the released files.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        window: int,
        global_blocks: tuple[int, ...],
        out: int,
    ) -> None:
        super().__init__()
        grid = image_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, grid, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, grid if index in global_blocks else window)
            for index in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(width, out, 1, bias=False),
            ChannelNorm(out),
            nn.Conv3d(out, out, 3, padding=1, bias=False),
            ChannelNorm(out),
        )

    def forward(self, patch: Tensor) -> Tensor:
        # The ends are a fourteenth of the work and made half of bfloat16's error (measured).
        with full_precision(patch):
            x = self.patch_embed(patch.float()) + self.pos_embed  # (b, g, g, g, width)
        for block in self.blocks:
            x = self.through(block, x)
        with full_precision(patch):
            features: Tensor = self.neck(x.float().permute(0, 4, 1, 2, 3))
        return features


class PatchEmbed(nn.Module):
    """Cubes of voxels to tokens: a convolution whose stride is its kernel, as one product."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv3d(1, width, patch_size, stride=patch_size)

    def forward(self, patch: Tensor) -> Tensor:
        """(b, 1, d, h, w) -> (b, d/p, h/p, w/p, width)."""
        p = self.patch_size
        b, _, d, h, w = patch.shape
        cubes = patch.reshape(b, d // p, p, h // p, p, w // p, p).permute(0, 1, 3, 5, 2, 4, 6)
        weight, bias = self.proj.weight.flatten(1), self.proj.bias
        return by_onednn(lambda x: F.linear(x, weight, bias), cubes.flatten(4))


class Block(nn.Module):
    """Attention inside a window and an MLP, a norm before each, around shortcuts."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1, self.norm2 = nn.LayerNorm(width, _EPS), nn.LayerNorm(width, _EPS)
        self.attn = Attention(width, heads, window)
        self.mlp = MLPBlock(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, g, g, g, c) -> the same shape."""
        normed = self.norm1(x)
        if x.shape[1] <= self.window:  # one window holds the whole grid: the released size
            x = x + self.attn(normed)
        else:
            windows = split_windows(normed, self.window)
            x = x + join_windows(self.attn(windows), x.shape)
        return x + by_onednn(self.mlp, self.norm2(x))


class Attention(nn.Module):
    """Attention over a cube of tokens that fills a window or its first corner.

    Kept for parity: the released code pads the tokens of a smaller grid to the window with zeros
    and lets everything attend to the padding, unmasked. Padding tokens are all alike, their key and
    value are the bias of `qkv`; so they act exactly as one key whose logit is raised by the log of
    the sum of the exponentials of their position biases. Their own rows are cut away and need not
    be computed. Instead of 2744 tokens to 2744, 512 tokens attend to 513.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.low_rank: LowRank | None = None
        self.proj = nn.Linear(width, width)
        self.rel_pos_d, self.rel_pos_h, self.rel_pos_w = (
            nn.Parameter(torch.zeros(2 * window - 1, width // heads)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, n, n, c) with n at most the window -> the same shape."""
        b, n, _, _, c = x.shape
        weight = self.qkv.weight
        if self.low_rank is not None:
            weight = weight + self.low_rank.change()
        qkv = by_onednn(lambda t: F.linear(t, weight, self.qkv.bias), x).view(
            b, n**3, 3, self.heads, c // self.heads
        )
        with full_precision(x):
            q, k, v = qkv.permute(2, 0, 3, 1, 4).float()  # (b, heads, n^3, c / heads) each
            queries, offset = q.unflatten(2, (n, n, n)), None
            if n < self.window:
                empty_q, empty_k, empty_v = self.qkv.bias.float().view(3, self.heads, 1, -1)
                k = torch.cat([k, empty_k.expand(b, -1, -1, -1)], 2)
                v = torch.cat([v, empty_v.expand(b, -1, -1, -1)], 2)
                beyond = (b, -1, n, n, self.window - n, -1)
                queries = torch.cat([queries, empty_q[:, :, None, None].expand(beyond)], 4)
            own, first, second = self._position_terms(queries)
            if n < self.window:
                offset = padding_offset(own, first, second, n).flatten(2).flatten(0, 1)
            pairs = first[..., :n, None, :n] + second[..., None, :n, :n]
            q, k, v = (t.flatten(0, 1) for t in (q, k, v))
            out = attend(q, k, v, own[..., :n].flatten(0, 1), pairs.flatten(0, 1), offset)
        out = out.view(b, self.heads, n**3, -1).transpose(1, 2).reshape(x.shape)
        return by_onednn(self.proj, out)

    def _position_terms(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three terms that make the position bias of logits.

        Kept for parity: the released code adds the terms of the three axes to the wrong axes of
        the keys, so that with queries (d, h, w), keys (e, f, g) and tables R[i, k]

            bias = q[d, h, w] . Rd[d, g] + q[d, h, e] . Rh[h, g] + q[d, h, f] . Rw[f, g].

        Parameters
        ----------
        q
            (b, heads, d, h, window, c) queries, not scaled, the last axis filled with padding.

        Returns
        -------
        tuple
            (b, heads, d, h, w, g), (b, heads, d, h, e, g) and (b, heads, d, h, f, g).
        """
        n = q.shape[2]
        table_d, table_h, table_w = (
            relative_keys(table.float(), self.window)
            for table in (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w)
        )
        own = torch.einsum("bmdhwc,dgc->bmdhwg", q[..., :n, :], table_d[:n])
        first = torch.einsum("bmdhec,hgc->bmdheg", q, table_h[:n])
        second = torch.einsum("bmdhfc,fgc->bmdhfg", q, table_w)
        return own, first, second


class LowRank(nn.Module):
    """A change of a linear layer by few numbers (Hu et al., LoRA, 2021); none at first."""

    def __init__(self, width: int, out: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, out, bias=False)

    @classmethod
    def beside(cls, layer: nn.Linear, rank: int, generator: torch.Generator) -> LowRank:
        """One for a layer, where that is."""
        low = cls(layer.in_features, layer.out_features, rank)
        with torch.no_grad():
            low.down.weight.normal_(std=layer.in_features**-0.5, generator=generator)
            low.up.weight.zero_()
        return low.to(layer.weight.device)

    def change(self) -> Tensor:
        """What is added to the weight (out, width)."""
        return self.up.weight @ self.down.weight


def attend(
    q: Tensor, k: Tensor, v: Tensor, own: Tensor, pairs: Tensor, offset: Tensor | None
) -> Tensor:
    """softmax(q k^T / sqrt(c) + bias) v for m heads at once or, on a CPU, a few at a time.

    Measured on two cores against `scaled_dot_product_attention` with the bias as its mask: a third
    of the time in float32, a quarter of what bfloat16 took, for nothing leaves the caches.

    Parameters
    ----------
    q, k, v
        (m, n^3, c), and keys and values with one more for the padding when there is any.
    own
        (m, d, h, w, g), what a query adds along the last axis of the keys.
    pairs
        (m, d, h, e, f, g), what the first two axes of the queries add to every key.
    offset
        (m, n^3) added to the logit of the key for the padding.

    Returns
    -------
    Tensor
        (m, n^3, c).
    """
    m, n = own.shape[:2]
    scaled = q * q.shape[-1] ** -0.5
    parts = []
    step = _HEADS if q.device.type == "cpu" else m
    for at in (slice(start, start + step) for start in range(0, m, step)):
        logits = torch.bmm(scaled[at], k[at].transpose(1, 2))
        real = logits[..., : n**3].view(-1, n, n, n, n, n, n)
        real += own[at, :, :, :, None, None]
        real += pairs[at, :, :, None]
        if offset is not None:
            logits[..., -1] += offset[at]
        parts.append(torch.bmm(logits.softmax(-1), v[at]))
    return torch.cat(parts)


def padding_offset(own: Tensor, first: Tensor, second: Tensor, n: int) -> Tensor:
    """Log of the sum of exp(bias) over the keys outside the first n of any axis.

    Without enumerating them: for a given last axis the bias is a sum of a term of the first and a
    term of the second axis, so the sum over both is a product.

    Parameters
    ----------
    own
        (..., d, h, w, g): the term of the last axis of the keys.
    first, second
        (..., d, h, e or f, g): the terms of the first and of the second axis of the keys.
    n
        Tokens per axis that are no padding.

    Returns
    -------
    Tensor
        (..., d, h, w).
    """
    first_in, first_out = first[..., :n, :].logsumexp(-2), first[..., n:, :].logsumexp(-2)
    second_in, second_out = second[..., :n, :].logsumexp(-2), second[..., n:, :].logsumexp(-2)
    second_all = torch.logaddexp(second_in, second_out)
    outside = torch.logaddexp(first_out + second_all, first_in + second_out)
    everywhere = torch.logaddexp(first_in, first_out) + second_all
    rest = torch.cat([outside[..., :n], everywhere[..., n:]], -1)  # (..., d, h, g)
    return (own + rest[..., None, :]).logsumexp(-1)


def split_windows(x: Tensor, window: int) -> Tensor:
    """(b, g, g, g, c) -> (b k^3, window, window, window, c), padded with zeros at the far ends."""
    pad = -x.shape[1] % window
    x = F.pad(x, (0, 0) + (0, pad) * 3)
    b, g, _, _, c = x.shape
    k = g // window
    x = x.view(b, k, window, k, window, k, window, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b * k**3, window, window, window, c)


def join_windows(windows: Tensor, shape: torch.Size) -> Tensor:
    """The way back from `split_windows` to (b, g, g, g, c), the padding cut away."""
    b, g, _, _, c = shape
    window = windows.shape[1]
    k = -(-g // window)
    x = windows.view(b, k, k, k, window, window, window, c).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, *(k * window,) * 3, c)[:, :g, :g, :g]
