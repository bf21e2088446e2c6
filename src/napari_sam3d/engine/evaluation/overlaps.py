"""Masks of several objects as one label map: each voxel belongs to the likeliest of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from napari_sam3d.engine.prediction import Prediction, probability
from napari_sam3d.volume import Grid


def put_together(
    found: Mapping[int, Prediction], grid: Grid, dtype: np.dtype | type = np.uint16
) -> np.ndarray:
    """Labels (z, y, x) on a grid; 0 where no mask is.

    Where masks overlap, the object counts that is more probable there, of equally probable ones the
    lower label, so that it is the lower label alone with models whose logits grade no voxels.

    Parameters
    ----------
    found
        The predictions by label.
    grid
        Of their volume.
    dtype
        Of the labels.
    """
    labels = np.zeros(grid.shape, dtype)

    @cache
    def likely(label: int) -> tuple[np.ndarray, np.ndarray]:
        block, window = probability(found[label], grid)
        return block, np.array([s.start for s in window])

    def at(label: int, voxels: np.ndarray) -> np.ndarray:
        block, start = likely(label)
        places = voxels - start
        inside = ((places >= 0) & (places < block.shape)).all(1)
        values = np.zeros(len(voxels), np.float16)
        values[inside] = block[tuple(places[inside].T)]
        return values

    for label in sorted(found):
        mask, window = found[label].mask, found[label].window
        block = labels[window]
        taken = np.argwhere(mask & (block > 0))
        owners = block[tuple(taken.T)]
        block[mask & (block == 0)] = label
        for owner in np.unique(owners).tolist():
            shared = taken[owners == owner]
            voxels = shared + [s.start for s in window]
            won = shared[at(label, voxels) > at(owner, voxels)]
            block[tuple(won.T)] = label
    return labels
