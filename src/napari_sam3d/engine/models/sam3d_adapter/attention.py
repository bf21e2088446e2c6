"""Attention in cubic windows with relative positions, shifted ones without rolling or masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_sam3d.engine.models.sam_blocks import (
    attend,
    by_onednn,
    cast_once,
    position_keys,
    relative_keys,
    relative_table,
)

Run = tuple[int, int, int]  # first token, number of windows, tokens of each


class WindowAttention(nn.Module):
    """SAM's attention with a third axis of relative positions, within windows.

    Shifted windows of the released code are rolled windows in which a mask keeps tokens from
    opposite borders apart (its -100 leaves them a weight of e^-100). That is attention within the
    boxes that the shifted cuts make of the grid: no mask, no roll, and a third less arithmetic.
    """

    def __init__(self, dim: int, heads: int, window: int, *, shift: int, table: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.lr = nn.Parameter(torch.tensor(1.0))  # scales the relative positions
        self.rel_pos_h, self.rel_pos_w, self.rel_pos_d = (
            nn.Parameter(torch.zeros(table, dim // heads)) for _ in range(3)
        )

    def add_to(self, x: Tensor, norm: nn.Module) -> Tensor:
        """x + attention(norm(x)) for tokens (b, h, w, d, c); in place without gradients."""
        _, high, wide, deep, _ = x.shape
        # on a CPU row by row of windows, which stays in its caches
        merged = x.device.type != "cpu"
        out = torch.empty_like(x) if torch.is_grad_enabled() else None
        to_qkv, project = cast_once(self.qkv), cast_once(self.proj)
        tables = self._tables()
        along_d = runs(deep, self.window, self.shift, merged=True)
        for h in runs(high, self.window, self.shift, merged):
            for w in runs(wide, self.window, self.shift, merged):
                slab = x[:, span(h), span(w)]
                qkv = by_onednn(to_qkv, norm(slab))
                mixed = qkv.new_empty(*qkv.shape[:-1], slab.shape[-1])
                for d in along_d:
                    here = (..., span(d), slice(None))
                    self._attend(qkv[here], (h, w, d), tables, mixed[here])
                added = by_onednn(project, mixed)
                if out is None:
                    slab += added
                else:
                    out[:, span(h), span(w)] = slab + added
        return x if out is None else out

    def _tables(self) -> list[Tensor]:
        """Relative positions (2 * window - 1, c) along h, w and d."""
        tables = (self.rel_pos_h, self.rel_pos_w, self.rel_pos_d)
        return [self.lr * relative_table(table, self.window) for table in tables]

    def _attend(
        self, qkv: Tensor, box: tuple[Run, Run, Run], tables: list[Tensor], out: Tensor
    ) -> None:
        """Write attention within the windows of a box (b, h, w, d, 3 c) to (b, h, w, d, c)."""
        (_, nh, h), (_, nw, w), (_, nd, d) = box
        batch, heads = len(qkv), self.heads
        windows = (batch, nh, h, nw, w, nd, d)
        order = (0, 1, 3, 5, -2, 2, 4, 6, -1)  # (b, nh, nw, nd, heads, h, w, d, c)
        q, k, v = (t.view(*windows, heads, -1).permute(order) for t in qkv.chunk(3, -1))
        # kept for parity: the relative terms use the queries before they are scaled
        by_axis = zip("hwd", (h, w, d), tables, strict=True)
        terms = [
            torch.einsum(f"...hwdc,{axis}kc->...hwdk", q, relative_keys(table, n).to(q.dtype))
            for axis, n, table in by_axis
        ]
        q = torch.cat([q * q.shape[-1] ** -0.5, *terms], -1)
        places = position_keys((h, w, d), k).view(h, w, d, -1)
        k = torch.cat([k, places.expand(*k.shape[:-1], -1)], -1)
        mixed = attend(*(t.reshape(batch * nh * nw * nd, heads, h * w * d, -1) for t in (q, k, v)))
        out.view(*windows, heads, -1).permute(order).copy_(mixed.view(v.shape))


def runs(length: int, window: int, shift: int, merged: bool) -> list[Run]:
    """Windows along an axis: neighbours of one size as one run, or each by itself.

    A shift moves the cuts: 32 tokens in windows of 8 shifted by 4 are 4, 8, 8, 8 and 4.
    """
    inner = (length - shift) // window
    rest = length - shift - inner * window
    found = [(0, 1, shift), (shift, inner, window), (length - rest, 1, rest)]
    found = [run for run in found if run[1] * run[2]]
    if merged:
        return found
    return [(start + i * size, 1, size) for start, count, size in found for i in range(count)]


def span(run: Run) -> slice:
    start, count, size = run
    return slice(start, start + count * size)
