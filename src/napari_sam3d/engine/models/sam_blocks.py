"""Building blocks of the families that come from SAM: fast forms of the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROWS = 2048  # tokens at a time on a CPU: what a block makes of them stays in its caches
_HEADS = 4  # attention heads at a time on a CPU, for the same reason


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (b, c, ...) images: SAM's LayerNorm2d in any dimension."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        last = x.movedim(1, -1).float()
        return F.layer_norm(last, last.shape[-1:], self.weight, self.bias, self.eps).movedim(-1, 1)


def by_onednn(layers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`layers(x)`, computed by oneDNN where float32 on a CPU is not differentiated.

    On processors that are not Intel's, oneDNN multiplies float32 matrices about twice as fast as
    the library torch takes by default (measured: 180 against 95 GFLOP/s on a core of Zen 5).

    Parameters
    ----------
    layers
        Linear layers with activations between them.
    x
        (..., c) tokens.
    """
    fit = (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not _autocast("cpu")
        and torch.backends.mkldnn.is_available()
    )
    if not fit:
        return layers(x)
    rows = x.reshape(-1, x.shape[-1])
    out = layers(rows.to_mkldnn()).to_dense()
    return out.view(*x.shape[:-1], out.shape[-1])


def full_precision(x: Tensor) -> AbstractContextManager[None]:
    """A context in which products of `x` are not rounded, whatever autocast says."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if _autocast(kind) else nullcontext()


def working_dtype(x: Tensor) -> torch.dtype:
    """The number format in which products of `x` are computed here."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if _autocast(kind) else x.dtype


def _autocast(kind: str) -> bool:
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def cast_once(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    """`layer` for use in a loop: autocast would cast its weights anew at every call."""
    dtype = working_dtype(layer.weight)
    weight, bias = layer.weight.to(dtype), layer.bias.to(dtype)
    return lambda x: F.linear(x, weight, bias)


def add_branch(
    x: Tensor, branch: Callable[[Tensor], Tensor], source: Tensor | None = None
) -> Tensor:
    """x + branch(source), or x + branch(x), for tokens (..., c) that the branch treats one by one.

    Without gradients this is done in place, and on a CPU a few thousand tokens at a time: the wide
    layer of a transformer's MLP is then never in memory as a whole.
    """
    if torch.is_grad_enabled():
        return x + branch(x if source is None else source)
    tokens = x.view(-1, x.shape[-1])
    given = tokens if source is None else source.reshape(len(tokens), -1)
    step = _ROWS if x.device.type == "cpu" else len(tokens)
    for rows, read in zip(tokens.split(step), given.split(step), strict=True):
        rows += branch(read)
    return x


def map_tokens(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """change(x) for tokens (..., c) that are treated one by one; on a CPU some at a time."""
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return change(x)
    rows = x.view(-1, x.shape[-1]).split(_ROWS)
    return torch.cat([change(part) for part in rows]).view(*x.shape[:-1], -1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T) v, for queries that are scaled already.

    An additive bias of the form a(query) . b(key) needs no matrix of its own: append a to the
    queries and b to the keys. Relative positions have this form, see `position_keys`.

    Parameters
    ----------
    q, k, v
        (n, heads, tokens, e), (n, heads, tokens, e) and (n, heads, tokens, c), with c <= e.
    """
    if q.device.type != "cpu" or torch.is_grad_enabled():
        padded = F.pad(v, (0, q.shape[-1] - v.shape[-1]))  # the fused kernels want one width
        return F.scaled_dot_product_attention(q, k, padded, scale=1.0)[..., : v.shape[-1]]
    # A few heads at a time by plain products: on a CPU the fused kernel reached 80 GFLOP/s a core
    # in bf16 where this reaches 190, and in float32 they are alike.
    shape = v.shape
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    out = torch.empty_like(v)
    for parts in zip(*(x.split(_HEADS) for x in (q, k, v, out)), strict=True):
        query, key, value, into = parts
        torch.bmm(torch.softmax(torch.bmm(query, key.transpose(1, 2)), -1), value, out=into)
    return out.view(shape)


def position_keys(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """What keys of a grid add for relative positions: their coordinates, one-hot per axis.

    Returns
    -------
    Tensor
        (product of shape, sum of shape), rows in the order of the flattened grid.
    """
    axes = torch.meshgrid(*(torch.arange(n, device=like.device) for n in shape), indexing="ij")
    hot = [F.one_hot(a.flatten(), n) for a, n in zip(axes, shape, strict=True)]
    return torch.cat(hot, 1).to(like.dtype)


def relative_table(table: Tensor, window: int) -> Tensor:
    """Relative positions (any length, c), resized to the 2 * window - 1 of a window."""
    length = 2 * window - 1
    if len(table) == length:
        return table
    return F.interpolate(table.T[None], length, mode="linear", align_corners=False)[0].T


def relative_keys(table: Tensor, length: int) -> Tensor:
    """Entry (i, j) of (length, length, c) is the table's vector for query i and key j."""
    at = torch.arange(length, device=table.device)
    return table[at[:, None] - at + len(table) // 2]
