"""Attention of SAM's 2D image encoder, exactly, without the padding of its windows.

Window blocks of SAM fill the token grid up with zeros to whole windows. A zero token becomes a key
and a value that are the bias of the projection alone, the same for all of them, and its query is
thrown away. So the padding of a window is one virtual key, whose logit is the logarithm of the sum
over the padding's relative position terms, and only real tokens are projected and attend.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Attention logits that a thread holds at a time on the CPU: two megabytes in float32, so that they
# stay in its cache. Measured with 5 x 12 heads of 1024 tokens on one thread: 0.21 CPU-seconds in
# float32 and 0.09 in bfloat16; `scaled_dot_product_attention` with the bias takes 0.32 and 0.27.
_LOGITS_AT_A_TIME = 2**19


class RelativePositions(NamedTuple):
    """Tables (2 * side - 1, c) of the rows and of the columns; `side` is that of the window."""

    rows: Tensor
    columns: Tensor


def image_attention(
    qkv: Tensor, padding: Tensor, positions: RelativePositions, heads: int, window: int
) -> Tensor:
    """Self-attention with decomposed relative positions, in windows or over the whole image.

    Parameters
    ----------
    qkv
        (b, h, w, 3 * heads * c) queries, keys and values of the tokens.
    padding
        (3 * heads * c) the same of a token that is zero.
    positions
        Of the window, or of the (square) image where `window` is 0.
    heads
        Number of heads.
    window
        Side of the windows in tokens; 0 for attention over the whole image.

    Returns
    -------
    Tensor
        (b, h, w, heads * c), before the output projection.
    """
    b, h, w, wide = qkv.shape
    side = window or h
    tokens = qkv.view(b, h, w, 3, heads, wide // (3 * heads))
    virtual = padding.view(3, heads, -1).to(qkv.dtype)
    parts = []
    for top, bottom in _spans(h, side):
        row = [
            _windows(tokens[:, top:bottom, left:right], virtual, positions, side)
            for left, right in _spans(w, window or w)
        ]
        parts.append(row[0] if len(row) == 1 else torch.cat(row, 2))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _spans(size: int, window: int) -> list[tuple[int, int]]:
    """The part of an axis in whole windows, and what is left over."""
    whole = size // window * window
    return [(a, b) for a, b in ((0, whole), (whole, size)) if b > a]


def _windows(tokens: Tensor, virtual: Tensor, positions: RelativePositions, side: int) -> Tensor:
    """Attention in windows that are all full, or all cut off in the same way.

    Parameters
    ----------
    tokens
        (b, h, w, 3, heads, c).
    virtual
        (3, heads, c) of the padding.
    positions, side
        Of the full window.
    """
    b, h, w, _, heads, c = tokens.shape
    high, wide = min(h, side), min(w, side)
    split = tokens.view(b, h // high, high, w // wide, wide, 3, heads, c)
    split = split.permute(5, 0, 1, 3, 6, 2, 4, 7)  # (3, b, rows, columns, heads, high, wide, c)
    q, k, v = split.reshape(3, -1, heads, high * wide, c).unbind(0)
    by_row, by_column = _position_terms(q.unflatten(2, (high, wide)), positions, side)
    beyond = None
    if high < side or wide < side:
        beyond = _padding_term(by_row, by_column, high, wide)
        n = len(k)
        k = torch.cat([k, virtual[1, None, :, None].expand(n, -1, -1, -1)], 2)
        v = torch.cat([v, virtual[2, None, :, None].expand(n, -1, -1, -1)], 2)
    out = _attend(q, k, v, by_row[..., :high], by_column[..., :wide], beyond)
    out = out.view(b, h // high, w // wide, heads, high, wide, c).permute(0, 1, 4, 2, 5, 3, 6)
    return out.reshape(b, h, w, heads * c)


def _position_terms(q: Tensor, positions: RelativePositions, side: int) -> tuple[Tensor, Tensor]:
    """What a query (n, heads, high, wide, c) adds to the logits of each row and column of keys.

    The query is not scaled here, as in the released code.
    """
    high, wide = q.shape[2:4]
    by_row = torch.einsum("nerwc,rkc->nerwk", q, _from_to(positions.rows, high, side))
    by_column = torch.einsum("nerwc,wkc->nerwk", q, _from_to(positions.columns, wide, side))
    return by_row.flatten(2, 3), by_column.flatten(2, 3)  # (n, heads, queries, side) each


def _from_to(table: Tensor, queries: int, side: int) -> Tensor:
    """(queries, side, c): the entry of the table for each query and key position."""
    if len(table) != 2 * side - 1:
        raise ValueError(f"{len(table)} relative positions do not fit a window of {side} tokens.")
    place = torch.arange(side, device=table.device)
    return table[place[:queries, None] - place[None, :] + side - 1]


def _padding_term(by_row: Tensor, by_column: Tensor, high: int, wide: int) -> Tensor:
    """Logarithm of the sum of exp(row term + column term) over the padding, (n, heads, q)."""
    by_row, by_column = by_row.float(), by_column.float()
    below = torch.logsumexp(by_row[..., high:], -1) + torch.logsumexp(by_column, -1)
    beside = torch.logsumexp(by_row[..., :high], -1) + torch.logsumexp(by_column[..., wide:], -1)
    return torch.logaddexp(below, beside)  # an empty part is -inf and adds nothing


def _attend(
    q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, beyond: Tensor | None
) -> Tensor:
    """softmax(q k / sqrt(c) + bias) v; the bias is spelt out for few queries at a time.

    Parameters
    ----------
    q, k, v
        (n, heads, queries or keys, c).
    by_row, by_column
        (n, heads, queries, rows) and (n, heads, queries, columns) of the real keys.
    beyond
        (n, heads, queries), the bias of the last, virtual key; None when there is none.
    """

    def bias(at: tuple[slice, ...]) -> Tensor:
        real = (by_row[at][..., :, None] + by_column[at][..., None, :]).flatten(-2)
        if beyond is None:
            return real
        return torch.cat([real, beyond[at][..., None].to(real.dtype)], -1)

    if q.device.type != "cpu" or torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias((slice(None),)).to(q.dtype))
    n, heads, queries, c = q.shape
    by_row, by_column = by_row.flatten(0, 1), by_column.flatten(0, 1)
    beyond = None if beyond is None else beyond.flatten(0, 1)
    q, k, v = q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
    some = max(1, min(queries, _LOGITS_AT_A_TIME // k.shape[1]))
    many = max(1, _LOGITS_AT_A_TIME * torch.get_num_threads() // (some * k.shape[1]))
    out = torch.empty_like(q)
    for first in range(0, n * heads, many):
        which = slice(first, first + many)
        keys, values = k[which].transpose(1, 2), v[which]
        for start in range(0, queries, some):
            at = (which, slice(start, start + some))
            logits = torch.baddbmm(bias(at), q[at], keys, alpha=c**-0.5)
            out[at] = torch.bmm(logits.softmax(-1), values)
    return out.view(n, heads, queries, c)
