"""A given mask changed by a prediction about the new prompts only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cc3d
import numpy as np

from napari_sam3d.engine.clicks import deepest
from napari_sam3d.engine.logits import GIVEN
from napari_sam3d.engine.resample import resample
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.windows import around, moved

if TYPE_CHECKING:
    from napari_sam3d.engine.prediction import Prediction
    from napari_sam3d.volume import Grid, Point3, Window

_REACH = 1.5
"""How far from a point a given mask changes, in distances between it and the border of the mask.

On validation volumes with half of the object given, one click makes a Dice of 0.62 into 0.85
(0.80 with 2.5 distances, 0.72 without a limit); with blobs too much, 0.88 into 0.89 (0.73).
"""
_OWN_REACH = 3.0
"""The same for a mask that the network itself drew in a box.

On 35 objects of training volumes, box and 1 to 4 clicks, Dice 0.75 becomes 0.77, 0.79, 0.80 and
0.81 (0.77, 0.78, 0.79, 0.80 with 1.5 distances; 0.70, 0.62, 0.74, 0.76 when the network draws the
whole mask anew, for a negative click then often makes it lose the object).
"""


def anchored(prompts: Prompts, given: Prediction) -> Prompts:
    """Prompts with a point deep inside a given mask before them, for networks that need one.

    On validation volumes with half of the object given, a click in the other half gave a Dice of
    0.71 without that point and 0.84 with it.
    """
    if prompts.box is not None or not given.mask.any():
        return prompts
    inner = deepest(given.mask)
    assert inner is not None
    z, y, x = (inner + [part.start for part in given.window]).tolist()
    return prompts.become(replace(prompts.said, points=(Point((z, y, x)), *prompts.points)))


def merge(given: Prediction, new: Prediction, prompts: Prompts, grid: Grid) -> Prediction:
    """The mask before with what a new prediction changes at prompts that it did not fulfil.

    Where both masks differ, only the connected parts that hold a positive point outside the given
    mask, or a negative one inside, are taken over: Progressive Merge of FocalClick (Chen et al.,
    CVPR 2022, section 3.3), which keeps a mask that the network would not have drawn. They are
    taken as far as the reach says, for a network may think of another object.

    Parameters
    ----------
    given, new
        Predictions of one object; the logits of the result say the merged mask on the patch of
        the new one.
    prompts
        All that was said.
    grid
        Of the volume.
    """
    if not given.mask.any():  # there is nothing to keep
        return new
    reach = _OWN_REACH if given.graded else _REACH
    positions, labels = prompts.arrays()
    voxels = np.floor(positions + 0.5).astype(int)
    positives = [_voxel(z, y, x) for z, y, x in voxels[labels == 1].tolist()]
    window = around([given.window, new.window, *positives])
    before, after = (moved(it.mask, it.window, window) for it in (given, new))
    mask = before.copy()
    for voxel, value in zip(voxels - [part.start for part in window], labels == 1, strict=True):
        at = tuple(voxel.tolist())
        if all(0 <= i < n for i, n in zip(at, mask.shape, strict=True)) and mask[at] != value:
            mask[_changed(before, after, at, grid.spacing, reach)] = value
    return replace(
        new,
        mask=mask,
        window=window,
        logits=_saying(mask, window, new, grid),
        views=tuple(replace(view, logits=None) for view in new.views),
        graded=given.graded,
        trusted=True,
    )


def _changed(
    before: np.ndarray, after: np.ndarray, at: tuple[int, ...], spacing: Point3, reach: float
) -> np.ndarray:
    """Which voxels a point at a voxel changes, bool: always its own, and none beyond the reach.

    A part that touches nothing of the mask comes or goes whole. Where the network does not follow
    the point it is the ball half way to the border of the mask.
    """
    squares = [
        ((np.arange(n, dtype=np.float32) - i) * mm) ** 2
        for n, i, mm in zip(before.shape, at, spacing, strict=True)
    ]
    squared = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    other = squared[before != before[at]]
    to_faces = [
        ((min(i, n - 1 - i) + 1) * mm) ** 2
        for n, i, mm in zip(before.shape, at, spacing, strict=True)
    ]
    beyond = min(to_faces) if before[at] else np.inf  # no mask outside of its window
    to_border = min(float(other.min()) if other.size else np.inf, beyond)
    if after[at] == before[at]:
        return squared <= to_border / 4
    differs = before != after
    apart = _part(before if before[at] else before | after, at)
    if not (apart & ~differs).any() and not (before[at] and np.array_equal(apart, before)):
        return apart  # it does not touch the rest of the mask
    return _part(differs & (squared <= reach**2 * to_border), at)


def _part(mask: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
    """The connected part of a mask that holds a voxel of it."""
    parts = cc3d.connected_components(mask, connectivity=26)
    return parts == parts[at]


def _voxel(z: int, y: int, x: int) -> Window:
    return slice(z, z + 1), slice(y, y + 1), slice(x, x + 1)


def _saying(mask: np.ndarray, window: Window, new: Prediction, grid: Grid) -> np.ndarray:
    """Logits of the new prediction, made sure where the mask is another one."""
    if not mask.size:
        return np.full_like(new.logits, -GIVEN)
    said = logits_of(mask, grid.window(window), new.patch)
    return np.where((said > 0) == (new.logits > 0), new.logits, said)


def logits_of(mask: np.ndarray, grid: Grid, patch: Grid) -> np.ndarray:
    """Logits on a patch that say a mask (bool, on `grid`), graded by the share of each voxel."""
    share = resample(mask.astype(np.float32), grid, patch, fill=0.0)
    return ((2 * share - 1) * GIVEN).numpy()
