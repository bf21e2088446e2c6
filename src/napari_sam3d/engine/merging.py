"""A given mask changed by a prediction about the new prompts only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cc3d
import numpy as np

from napari_sam3d.engine.clicks import deepest
from napari_sam3d.engine.resample import resample
from napari_sam3d.prompts import Point, Prompts

if TYPE_CHECKING:
    from napari_sam3d.engine.prediction import Prediction
    from napari_sam3d.volume import Grid, Window

_SURE = 8.0
"""Logit of what was given; hand edits and the space outside of a patch have as much."""


def anchored(prompts: Prompts, given: Prediction) -> Prompts:
    """Prompts with a point deep inside a given mask before them, when none of them is positive."""
    if prompts.box is not None or any(prompts.arrays()[1]) or not given.mask.any():
        return prompts
    inner = deepest(given.mask)
    assert inner is not None
    z, y, x = (inner + [part.start for part in given.window]).tolist()
    return Prompts(points=(Point((z, y, x)), *prompts.points))


def merge(given: Prediction, new: Prediction, prompts: Prompts, grid: Grid) -> Prediction:
    """The given mask with what a new prediction changes at prompts that it did not fulfil.

    Where both masks differ, only the connected parts that hold a positive point outside the given
    mask, or a negative one inside, are taken over: Progressive Merge of FocalClick (Chen et al.,
    CVPR 2022, section 3.3), which keeps a mask that the network would not have drawn.

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
    window = _about(given.window, new.window)
    before, after = _on(window, given), _on(window, new)
    gained, lost = _parts(after & ~before), _parts(before & ~after)
    first = np.array([part.start for part in window])
    mask = before.copy()
    for position, positive in zip(*prompts.arrays(), strict=True):
        voxel = tuple((np.floor(position + 0.5).astype(int) - first).tolist())
        if any(not 0 <= i < n for i, n in zip(voxel, mask.shape, strict=True)):
            continue
        parts, value = (gained, True) if positive else (lost, False)
        if parts[voxel]:
            mask[parts == parts[voxel]] = value
    return replace(
        new,
        mask=mask,
        window=window,
        logits=_saying(mask, window, new, grid),
        views=tuple(replace(view, logits=None) for view in new.views),
        graded=False,
        trusted=True,
    )


def _parts(mask: np.ndarray) -> np.ndarray:
    """Numbers of the connected parts of a mask."""
    return cc3d.connected_components(mask, connectivity=26)


def _about(one: Window, other: Window) -> Window:
    """The window of both; those without a voxel do not count."""
    windows = [it for it in (one, other) if all(s.stop > s.start for s in it)] or [one]
    z, y, x = (
        slice(min(s.start for s in axis), max(s.stop for s in axis))
        for axis in zip(*windows, strict=True)
    )
    return z, y, x


def _on(window: Window, prediction: Prediction) -> np.ndarray:
    """The mask of a prediction on a window that holds its own."""
    out = np.zeros(tuple(s.stop - s.start for s in window), bool)
    if prediction.mask.size:
        inside = zip(prediction.window, window, strict=True)
        part = tuple(slice(own.start - it.start, own.stop - it.start) for own, it in inside)
        out[part] = prediction.mask
    return out


def _saying(mask: np.ndarray, window: Window, new: Prediction, grid: Grid) -> np.ndarray:
    """Logits of the new prediction, made sure where the mask is another one."""
    if not mask.size:
        return np.full_like(new.logits, -_SURE)
    said = logits_of(mask, grid.window(window), new.patch)
    return np.where((said > 0) == (new.logits > 0), new.logits, said)


def logits_of(mask: np.ndarray, grid: Grid, patch: Grid) -> np.ndarray:
    """Logits on a patch that say a mask (bool, on `grid`), graded by the share of each voxel."""
    share = resample(mask.astype(np.float32), grid, patch, fill=0.0)
    return ((2 * share - 1) * _SURE).numpy()
