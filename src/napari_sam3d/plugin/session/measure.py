"""How large and how bright an object is, in physical units."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam3d.io.atomic import real_target, replacing
from napari_sam3d.volume import Grid
from napari_sam3d.windows import bounding_box

HEADER = ("id", "name", "class", "volume_ml", "longest_diameter_mm", "mean_intensity", "voxels")


@dataclass(frozen=True)
class Measures:
    """Numbers of one mask.

    Parameters
    ----------
    voxels
        How many there are.
    volume_ml
        Their volume, in millilitres.
    diameter_mm
        The longest distance between two corners of its voxels, in millimetres.
    mean
        Mean of the finite intensities in it, in the unit of the image; NaN when there are none.
    """

    voxels: int = 0
    volume_ml: float = 0.0
    diameter_mm: float = 0.0
    mean: float = float("nan")


def measure(mask: np.ndarray, image: np.ndarray, affine: np.ndarray) -> Measures:
    """Measure a mask.

    Parameters
    ----------
    mask
        Boolean block (z, y, x).
    image
        Intensities of the same block, a NumPy or dask array.
    affine
        Matrix whose columns are the edges of a voxel in millimetres; the upper left 3 x 3 counts.
    """
    box = bounding_box(mask)
    if box is None:
        return Measures()
    grid = Grid(mask.shape, affine)
    mask = mask[box]
    voxels = int(np.count_nonzero(mask))
    values = np.asarray(image[box])[mask]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return Measures(
        voxels,
        voxels * grid.voxel_ml,
        longest_diameter(mask, grid.affine[:3, :3]),
        float(values.mean(dtype=np.float64)) if values.size else float("nan"),
    )


def longest_diameter(mask: np.ndarray, edges: np.ndarray) -> float:
    """The longest distance between two corners of voxels of a mask, in millimetres; exact.

    Parameters
    ----------
    mask
        Boolean block (z, y, x) with at least one voxel.
    edges
        3 x 3 matrix whose columns are the edges of a voxel in millimetres.
    """
    from scipy.spatial.distance import pdist

    centers = _hull(_line_ends(mask) @ edges.T)
    signs = [(1, *rest) for rest in itertools.product((1, -1), repeat=2)]
    diagonals = np.array(signs, float) @ edges.T  # from a corner of a voxel to the opposite one
    if len(centers) == 1:
        return float(np.linalg.norm(diagonals, axis=1).max())
    distances = pdist(centers)
    longest = _with_corners(centers, diagonals, distances == distances.max())
    # corners add a diagonal at most, so that few other pairs can be longer
    near = longest - np.linalg.norm(diagonals, axis=1).max()
    return max(longest, _with_corners(centers, diagonals, distances >= near))


def _with_corners(centers: np.ndarray, diagonals: np.ndarray, chosen: np.ndarray) -> float:
    """The longest distance between corners of two voxels, of the chosen pairs as by `pdist`."""
    lengths = np.arange(len(centers) - 1, 0, -1)  # of the rows that `pdist` strings together
    starts = np.cumsum(lengths) - lengths
    pairs = np.flatnonzero(chosen)
    first = np.searchsorted(starts, pairs, side="right") - 1
    second = pairs - starts[first] + first + 1
    between = centers[first] - centers[second]
    # the better of both directions of a diagonal is the one that the pair has an angle below 90 to
    squares = (between**2).sum(1)[:, None] + 2 * np.abs(between @ diagonals.T)
    return float(np.sqrt((squares + (diagonals**2).sum(1)).max(initial=0)))


def _line_ends(mask: np.ndarray) -> np.ndarray:
    """Voxels (n, 3) among which are all corners of the convex hull of a mask.

    A corner is the first or the last on every line through it.
    """
    z, y = np.nonzero(mask.any(axis=2))
    lines = mask[z, y]
    first = lines.argmax(axis=1)
    last = mask.shape[2] - 1 - lines[:, ::-1].argmax(axis=1)
    longer = last > first
    ends = np.concatenate([(z, y, first), (z[longer], y[longer], last[longer])], axis=1).T
    for axis, one, other in ((1, 0, 2), (0, 1, 2)):
        ends = ends[np.lexsort((ends[:, axis], ends[:, one], ends[:, other]))]
        begins = np.ones(len(ends) + 1, bool)
        begins[1:-1] = (ends[1:, [one, other]] != ends[:-1, [one, other]]).any(axis=1)
        ends = ends[begins[:-1] | begins[1:]]
    return ends.astype(float)


def _hull(points: np.ndarray) -> np.ndarray:
    """The corners of the convex hull of points in space, also when they lie flat."""
    from scipy.spatial import ConvexHull

    if len(points) < 4:
        return points
    centered = points - points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    flat = centered @ axes[sizes > 1e-9 * sizes[0]].T
    if flat.shape[1] == 1:
        return points[[int(flat.argmin()), int(flat.argmax())]]
    return points[ConvexHull(flat).vertices]


def write_csv(path: str | Path, rows: Iterable[tuple[int, str, str, Measures]]) -> Path:
    """Write numbers, names, classes and measures of objects, in place of an older file.

    Raises
    ------
    OSError
        With one sentence; what was there is then untouched.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for number, name, category, it in rows:
        mean = "" if np.isnan(it.mean) else f"{it.mean:.6g}"
        size = (f"{it.volume_ml:.6g}", f"{it.diameter_mm:.6g}")
        writer.writerow((number, name, category, *size, mean, it.voxels))
    target = real_target(path)
    with replacing(target) as file:
        file.write(text.getvalue().encode())
    return Path(path)
