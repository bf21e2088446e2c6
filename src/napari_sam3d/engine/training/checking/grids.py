"""Whether labels lie on the voxels of their image, and moving them there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_sam3d.engine.training.checking.check import (
    GOOD,
    LEAVE_OUT,
    PLACE,
    PROBLEM,
    RESAMPLE,
    Check,
)
from napari_sam3d.io.pairs import same_grid, voxels_apart
from napari_sam3d.labelled import Pair
from napari_sam3d.volume import Grid

_INSIDE = 0.95  # share of the labelled voxels that has to be in the image when the header is right
_SIZE = 0.01  # so much of an edge may voxels differ and be of the same size
_ANY = 0.01  # share below which they belong to another image
_SOME = 20_000  # voxels that are enough to tell such a share


def labels_name(pair: Pair) -> str:
    """What sentences about the labels of a pair begin with."""
    return pair.files.labels.name if pair.files else f"The labels of {pair.name}"


def grid_check(pair: Pair) -> Check:
    """Labels are moved where their header says; where that cannot be, where the image is."""
    start = labels_name(pair)
    own, wanted = pair.labels_grid, pair.volume.grid
    if same_grid(pair):
        said = f"{start} {_lie(pair)} on the voxels of the image."
        return Check(pair.name, "grid", GOOD, said)
    inside = _inside(pair)
    if own.shape != wanted.shape:
        said = (
            f"{start} {_have(pair)} {_counts(own)} voxels and the image {_counts(wanted)} (z, y, x)"
        )
        if inside < _ANY:
            said += ", and they lie elsewhere; they belong to another image."
            return Check(pair.name, "grid", PROBLEM, said, LEAVE_OUT)
        return Check(
            pair.name, "grid", PROBLEM, f"{said}; resample the labels to the image.", RESAMPLE
        )
    apart = voxels_apart(pair)
    said = f"{start} {_lie(pair)} {_far(apart)} from the image by the headers"
    if inside < _INSIDE:
        said += (
            f", where {1 - inside:.0%} of what is labelled is outside of it; it belongs to another "
            "image, or its header is wrong and the image's position right."
        )
        return Check(pair.name, "grid", PROBLEM, said, PLACE, RESAMPLE)
    if not np.allclose(own.spacing, wanted.spacing, rtol=_SIZE, atol=0):
        said += (
            ", with as many voxels of another size; its header is probably wrong and the image's "
            "position right."
        )
        return Check(pair.name, "grid", PROBLEM, said, PLACE, RESAMPLE)
    said += "; resample the labels, or use the image's position if the header is wrong."
    return Check(pair.name, "grid", PROBLEM, said, RESAMPLE, PLACE)


def placed(pair: Pair) -> Pair:
    """The labels on the image's voxels of the same number, whatever their header says."""
    return replace(pair, labels_grid=pair.volume.grid)


def resampled(pair: Pair) -> Pair:
    """The labels on the image's voxels, by where both are in the world."""
    grid = pair.volume.grid
    return replace(pair, labels=moved(pair.labels, pair.labels_grid, grid), labels_grid=grid)


def moved(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Each voxel of `target` takes the label of the voxel of `source` its centre lies in.

    Labels keep their values and their dtype, however large. Outside the source they are 0.

    Parameters
    ----------
    labels
        On `source`.
    source, target
        Grids with one world.
    """
    values = np.asarray(labels)
    to_source = source.inverse @ target.affine
    out = np.zeros(target.shape, values.dtype)
    _, height, width = target.shape
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    plane = np.stack([np.zeros_like(y), y, x], -1) @ to_source[:3, :3].T + to_source[:3, 3]
    for z in range(target.shape[0]):  # a slice at a time: positions need 24 bytes per voxel
        nearest = np.floor(plane + z * to_source[:3, 0] + 0.5).astype(np.int64)
        there = ((nearest >= 0) & (nearest < values.shape)).all(-1)
        out[z][there] = values[tuple(nearest[there].T)]
    return out


def _inside(pair: Pair) -> float:
    """Share of the labelled voxels that lie in the image, by the headers."""
    found = np.argwhere(np.asarray(pair.labels) != 0)
    if not len(found):
        return 1.0
    found = found[:: max(1, len(found) // _SOME)]
    wanted = pair.volume.grid
    at = wanted.to_voxel(pair.labels_grid.to_world(found))
    return float(((at >= -0.5) & (at < np.array(wanted.shape) - 0.5)).all(-1).mean())


def _far(voxels: float) -> str:
    return f"{voxels:.1f} voxels" if voxels >= 0.05 else f"{voxels:.2g} voxels"


def _lie(pair: Pair) -> str:
    return "lies" if pair.files else "lie"


def _have(pair: Pair) -> str:
    return "has" if pair.files else "have"


def _counts(grid: Grid) -> str:
    return " x ".join(str(n) for n in grid.shape)
