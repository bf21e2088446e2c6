"""What is done to a mask after the network: clicked parts, holes, smoothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cc3d
import numpy as np
from scipy.ndimage import gaussian_filter

from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Shape3, Window
from napari_sam3d.windows import between, bounding_box, part_of, shape_of, within

if TYPE_CHECKING:
    from napari_sam3d.engine.prediction import Prediction

_NEIGHBOURHOOD = 3.0
"""Standard deviations after which it ends."""
_TIE = 1e-4
"""Smoothed values closer than this are the same: rounding must not choose among voxels."""


def finish(
    prediction: Prediction, grid: Grid, prompts: Prompts, settings: InferenceSettings
) -> Prediction:
    """The prediction with its mask as the settings want it; its logits stay as they are.

    Parameters
    ----------
    prediction
        With the mask that its logits make.
    grid
        Of the volume.
    prompts
        What was said about the object: positive points and scribbles, or else the box, tell which
        parts are meant.
    settings
        Which steps are taken: clicked parts, then holes, then smoothing.
    """
    mask, window = prediction.mask, prediction.window
    if not mask.any():
        return prediction
    if settings.keep_clicked:
        mask = clicked_parts(mask, window, grid, prompts)
    if settings.fill_holes:
        mask = filled(mask)
    if settings.smooth_mm:
        mask, window = smoothed(mask, window, grid, settings.smooth_mm)
    if mask is prediction.mask:
        return prediction
    bare = None if prediction.graded else (prediction.mask, prediction.window)
    return replace(prediction, mask=mask, window=window, bare=bare)


def unfinished(prediction: Prediction) -> Prediction:
    """A prediction that is not graded with the mask that it had before `finish`."""
    if prediction.bare is None:
        return prediction
    mask, window = prediction.bare
    return replace(prediction, mask=mask, window=window, bare=None)


def clicked_parts(mask: np.ndarray, window: Window, grid: Grid, prompts: Prompts) -> np.ndarray:
    """The parts of a mask that hold a positive point; voxels that touch are of one part.

    When none does, the one closest to a positive point; without a point, the one with the most
    voxels in the box.
    """
    parts = cc3d.connected_components(mask, connectivity=26)
    if parts.max() < 2:
        return mask
    start = np.array([s.start for s in window])
    positions, signs = prompts.arrays()
    positives = positions[signs == 1] - start
    if len(positives) == 0:
        return parts == _largest(parts, start, prompts)
    voxels = np.floor(positives + 0.5).astype(int)
    inside = ((voxels >= 0) & (voxels < mask.shape)).all(1)
    hit = np.unique(parts[tuple(voxels[inside].T)])
    hit = hit[hit > 0]
    if len(hit) == 0:
        there = np.argwhere(mask)
        spacing = np.array(grid.spacing)
        distances = [(((there - point) * spacing) ** 2).sum(1) for point in positives]
        nearest = there[min(distances, key=np.min).argmin()]
        hit = parts[tuple(nearest)]
    return np.isin(parts, hit)


def _largest(parts: np.ndarray, start: np.ndarray, prompts: Prompts) -> int:
    looked_at = parts
    if prompts.box is not None:
        low, high = prompts.box.voxels()
        first = np.clip(low - start, 0, parts.shape)
        stop = np.clip(np.array(high) + 1 - start, first, parts.shape)
        inside = parts[between(first, stop)]
        looked_at = inside if inside.any() else parts
    counts = np.bincount(looked_at.ravel())
    counts[0] = 0
    return int(counts.argmax())


def filled(mask: np.ndarray) -> np.ndarray:
    """The mask and the background that it encloses on all sides, also across edges of voxels."""
    outside = cc3d.connected_components(np.pad(~mask, 1, constant_values=True), connectivity=6)
    return outside[1:-1, 1:-1, 1:-1] != outside[0, 0, 0]


def smoothed(
    mask: np.ndarray, window: Window, grid: Grid, sigma_mm: float
) -> tuple[np.ndarray, Window]:
    """The mask without roughness, with as many voxels as far as equal ones can be told apart.

    The share of the mask in a Gaussian neighbourhood decides which voxels are taken. What the
    border of the volume cuts off is taken to go on beyond it.

    Parameters
    ----------
    mask, window
        With at least one voxel.
    grid
        Of the volume.
    sigma_mm
        Standard deviation of the neighbourhood in millimetres, along each axis.
    """
    sigma = sigma_mm / np.array(grid.spacing)
    # with as many voxels as before no surface moves out by more than this
    window, inner = _widened(window, np.ceil(sigma).astype(int) + 1, grid.shape)
    share = np.zeros(shape_of(window), np.float32)
    share[inner] = mask
    share = gaussian_filter(share, sigma, mode="nearest", truncate=_NEIGHBOURHOOD)
    wanted = int(np.count_nonzero(mask))
    last = np.partition(share, share.size - wanted, axis=None)[share.size - wanted]
    with_ties, without = share >= last - _TIE, share > last + _TIE
    more, fewer = np.count_nonzero(with_ties), np.count_nonzero(without)
    out = with_ties if fewer == 0 or more - wanted <= wanted - fewer else without
    tight = bounding_box(out)
    assert tight is not None  # as many voxels as the mask has
    return np.ascontiguousarray(out[tight]), within(window, tight)


def _widened(window: Window, room: np.ndarray, shape: Shape3) -> tuple[Window, Window]:
    """A window with room on all sides, inside the volume, and where it holds the old one."""
    sides = list(zip(window, room.tolist(), shape, strict=True))
    z, y, x = (slice(max(0, s.start - more), min(n, s.stop + more)) for s, more, n in sides)
    return (z, y, x), part_of((z, y, x), window)
