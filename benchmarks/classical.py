"""Three classical click segmenters, the baselines of `accuracy.py` (scikit-image does the work)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_gradient_magnitude
from skimage.segmentation import flood, random_walker, watershed

from napari_sam3d.engine.resample import normalise, resample
from napari_sam3d.prompts import Prompts
from napari_sam3d.volume import Grid, Volume

Segmenter = Callable[[Volume, Prompts], np.ndarray]
SIDE = 56  # voxels per edge of the box that the graph methods work in
RADIUS = 2  # of their seeds, in voxels of the box


def region_growing(tolerance: float) -> Segmenter:
    """Flood fill from each positive click within `tolerance` deviations of its intensity.

    Voxels closer to a negative than to any positive click are given up.
    """

    def segment(volume: Volume, prompts: Prompts) -> np.ndarray:
        image = normalise(torch.from_numpy(np.ascontiguousarray(volume.data, np.float32))).numpy()
        positions, labels = prompts.arrays()
        mask = np.zeros(image.shape, bool)
        for position in positions[labels == 1].astype(int):
            mask |= flood(image, tuple(position), tolerance=tolerance)
        return mask & _closer_to_positive(volume.grid, positions, labels)

    return segment


def random_walk(beta: float, reach: float) -> Segmenter:
    """Random walker in a box about the clicks; its faces are background seeds."""

    def solve(image: np.ndarray, markers: np.ndarray) -> np.ndarray:
        return random_walker(image, markers, beta=beta, mode="cg_j", tol=1e-2) == 1

    return _in_a_box(solve, reach)


def seeded_watershed(sigma: float, reach: float) -> Segmenter:
    """Watershed of the gradient in a box about the clicks; its faces are background seeds."""

    def solve(image: np.ndarray, markers: np.ndarray) -> np.ndarray:
        return watershed(gaussian_gradient_magnitude(image, sigma), markers) == 1

    return _in_a_box(solve, reach)


def _in_a_box(solve: Callable[[np.ndarray, np.ndarray], np.ndarray], reach: float) -> Segmenter:
    """`solve` on a box that spans `reach` of the volume's longest edge about the positives."""

    def segment(volume: Volume, prompts: Prompts) -> np.ndarray:
        positions, labels = prompts.arrays()
        positives = positions[labels == 1]
        spacing = np.asarray(volume.grid.spacing)
        edge = reach * volume.grid.extent_mm.max() / spacing
        low = np.maximum(positives.min(0) - edge / 2, -0.5)
        high = np.minimum(positives.max(0) + edge / 2, np.asarray(volume.grid.shape) - 0.5)
        counts = np.minimum(np.ceil(high - low), SIDE).astype(int)
        shape = tuple(int(n) for n in np.maximum(counts, 3))
        box = volume.grid.patch((low + high) / 2, shape, high - low)
        image = normalise(resample(volume.data, volume.grid, box)).numpy()
        markers = np.full(shape, 2, np.int32)
        markers[1:-1, 1:-1, 1:-1] = 0
        seeds = np.rint(box.to_voxel(volume.grid.to_world(positions))).astype(int)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
        for seed, label in zip(seeds, labels, strict=True):
            ball = ((index - seed) ** 2).sum(-1) <= RADIUS**2  # one voxel hardly seeds a walk
            markers[ball] = 1 if label == 1 else 2
        found = torch.from_numpy(solve(image, markers).astype(np.float32))
        return (resample(found, box, volume.grid, fill=0) > 0.5).numpy()

    return segment


def _closer_to_positive(grid: Grid, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    nearest = {}
    axes = [np.arange(n) for n in grid.shape]
    for sign in (0, 1):
        best = np.full(grid.shape, np.inf, np.float32)
        for position in positions[labels == sign]:
            squares = [
                ((axis - p) * s) ** 2
                for axis, p, s in zip(axes, position, grid.spacing, strict=True)
            ]
            squared = squares[0][:, None, None] + squares[1][:, None] + squares[2]
            np.minimum(best, squared, out=best)
        nearest[sign] = best
    return nearest[1] <= nearest[0]
