"""What the user painted and erased in a mask, stroke by stroke."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.engine.logits import GIVEN
from napari_sam3d.plugin.session.hand_blocks import Block
from napari_sam3d.volume import Grid, Window
from napari_sam3d.windows import around, moved, shape_of

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction


@dataclass(frozen=True, eq=False)
class Stroke:
    """What was set at once; `forgotten` are the objects for which it counts no longer."""

    blocks: tuple[Block, ...]
    forgotten: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        """Number of its voxels."""
        return sum(int(np.count_nonzero(block.mask)) for block in self.blocks)

    def holds(self, data: np.ndarray, undone: bool) -> bool:
        """Whether the volume is as before the stroke, or else as after it, in all its voxels."""
        return all(b.holds(data, b.before if undone else b.after) for b in self.blocks)


@dataclass
class HandEdits:
    """Strokes in their order, and those that were undone.

    Voxels of an object that the user set to it are *added*, those that the user set to something
    else are *removed*; the last stroke counts. What was removed from one object is free for others.
    """

    done: list[Stroke] = field(default_factory=list)
    undone: list[Stroke] = field(default_factory=list)

    def add(self, blocks: Sequence[Block]) -> None:
        """One more stroke; what was undone cannot come back."""
        self.undone.clear()
        if blocks:
            self.done.append(Stroke(tuple(blocks)))

    def forget(self, object_id: int) -> list[Window]:
        """Leave what was set of an object to the model from now on; returns where it was added."""
        windows = [
            block.window
            for block in self._blocks(object_id)
            if np.any((block.after == object_id) & block.mask)
        ]
        for strokes in (self.done, self.undone):
            strokes[:] = [replace(it, forgotten=it.forgotten | {object_id}) for it in strokes]
        return windows

    def about(self, object_id: int) -> bool:
        """Whether voxels were added to an object, or removed."""
        return any(
            np.any((block.before == object_id) & block.mask)
            or np.any((block.after == object_id) & block.mask)
            for block in self._blocks(object_id)
        )

    def sync(self, data: np.ndarray) -> None:
        """See from the volume which strokes were undone, or done again.

        Masks are written around what is kept: only an undo gives all voxels their old values.
        """
        while True:
            back = bool(self.done) and self.done[-1].holds(data, undone=True)
            again = bool(self.undone) and self.undone[-1].holds(data, undone=False)
            if back and again:  # paint and erase: the larger one cannot have come by the other
                back = self.done[-1].size >= self.undone[-1].size
            if back:
                self.undone.append(self.done.pop())
            elif again:
                self.done.append(self.undone.pop())
            else:
                return

    def state(self, object_id: int, box: Window) -> np.ndarray | None:
        """Per voxel of a box 1 where added, -1 where removed, else 0; None for 0 everywhere."""
        out = None
        for block in self._blocks(object_id):
            common = block.common(box)
            if common is None:
                continue
            if out is None:
                out = np.zeros(shape_of(box), np.int8)
            _say(out[common[1]], block, common[0], object_id)
        return out

    def applied(self, object_id: int, mask: np.ndarray, box: Window) -> np.ndarray:
        """The mask of an object on a box as the user has left it; itself where nothing was set."""
        state = self.state(object_id, box)
        return mask if state is None else (mask | (state > 0)) & (state >= 0)

    def held(self, object_id: int, box: Window) -> np.ndarray | None:
        """Voxels of a box that the user gave to other objects; None when there are none."""
        out = None
        for stroke in self.done:
            for block in stroke.blocks:
                common = block.common(box)
                if common is None:
                    continue
                if out is None:
                    out = np.zeros(shape_of(box), bool)
                after, mask = block.after[common[0]], block.mask[common[0]]
                others = (after != 0) & (after != object_id)
                if stroke.forgotten:
                    others &= ~np.isin(after, list(stroke.forgotten))
                here = out[common[1]]
                here[mask] = others[mask]
        return out

    def adjusted(self, previous: Prediction, object_id: int, grid: Grid) -> Prediction:
        """An answer as the user has left it, which later prompts change about themselves only."""
        blocks = [it for it in self._blocks(object_id) if _state(it, object_id).any()]
        if not blocks:
            return previous
        window = around([previous.window, *(block.window for block in blocks)])
        mask = moved(previous.mask, previous.window, window)
        return replace(
            previous,
            mask=self.applied(object_id, mask, window),
            window=window,
            logits=_saying(blocks, previous, object_id, grid),
            views=tuple(replace(view, logits=None) for view in previous.views),
            graded=False,
            trusted=True,
        )

    def _blocks(self, object_id: int) -> Iterator[Block]:
        """Of the strokes that count for an object, in their order."""
        for stroke in self.done:
            if object_id not in stroke.forgotten:
                yield from stroke.blocks


def _say(out: np.ndarray, block: Block, part: Window | EllipsisType, object_id: int) -> None:
    mask, after = block.mask[part], block.after[part]
    out[mask & (block.before[part] == object_id)] = -1
    out[mask & (after == object_id)] = 1


def _state(block: Block, object_id: int) -> np.ndarray:
    """Per voxel of a block 1 where added to an object, -1 where removed, else 0."""
    state = np.zeros(block.mask.shape, np.int8)
    _say(state, block, ..., object_id)
    return state


def _saying(
    blocks: Sequence[Block], previous: Prediction, object_id: int, grid: Grid
) -> np.ndarray:
    """The logits of an answer with what was set by hand, as far as its patch shows it.

    A voxel of the patch moves towards the user by the share of it that was set.
    """
    logits, shape = previous.logits.copy(), previous.patch.shape
    step = previous.patch.inverse @ grid.affine
    if not np.allclose(step[:3, :3], np.diag(np.diag(step[:3, :3]))):
        return logits  # not along the axes of the volume: of no model that reads them
    for block in blocks:
        share, part = _state(block, object_id).astype(np.float32), []
        for axis, (n, window) in enumerate(zip(shape, block.window, strict=True)):
            weight = _weights(n, window, step[axis, axis], step[axis, 3])
            touched = np.flatnonzero(weight.any(1))
            part.append(slice(touched[0], touched[-1] + 1) if len(touched) else slice(0, 0))
            share = np.moveaxis(np.tensordot(weight[part[-1]], share, (1, axis)), 0, axis)
        here = logits[tuple(part)]
        here += np.abs(share) * (np.sign(share) * GIVEN - here)
    return logits


def _weights(n: int, window: slice, step: float, shift: float) -> np.ndarray:
    """How much of each of `n` patch voxels each voxel of a window fills, along one axis."""
    voxels = np.arange(window.start, window.stop)
    at = step * voxels + shift
    edges = np.arange(n)[:, None] + np.array([-0.5, 0.5])
    low = np.maximum(edges[:, :1], at - abs(step) / 2)
    high = np.minimum(edges[:, 1:], at + abs(step) / 2)
    return np.clip(high - low, 0, None).astype(np.float32)
