"""Which part of the volume the network looks at: first guesses, and the fit to a mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_sam3d.volume import Grid, Shape3, Window

MARGIN = 1.6  # patch edge over object edge; what the default model saw most in training
_THINNEST = 0.25  # shortest patch edge over the longest, in millimetres
_FEWEST = 12  # voxels of the finest axis that a patch edge spans at least
_STEP = 1.7  # from one first guess to the next
_KNOWN = (0.8, 2.0)  # first patch edge over object edge, where the size of objects is known
_AGREE = (0.7, 1.4)  # patch edge over fitted edge that needs no new patch


def zoom_patches(
    grid: Grid,
    positives: np.ndarray,
    shape: Shape3,
    object_mm: tuple[float, float] | None = None,
) -> Iterator[Grid]:
    """Patches about the positive clicks, from close up to the whole volume.

    Parameters
    ----------
    grid
        The volume's grid.
    positives
        (n, 3) clicks in voxels of it.
    shape
        Voxels of a patch.
    object_mm
        Longest edges of the smallest and the largest object that is to be expected: patches of
        other sizes are left out.
    """
    spacing = np.asarray(grid.spacing)
    centre = (positives.min(0) + positives.max(0)) / 2
    apart = (np.ptp(positives, axis=0) * spacing).max()
    edge = max(_STEP * _FEWEST * spacing.min(), MARGIN * apart)
    whole = grid.extent_mm.max()
    if object_mm is not None:
        edge = max(edge, _KNOWN[0] * object_mm[0])
        whole = min(whole, _KNOWN[1] * object_mm[1] / _STEP)  # the last one is at most a step more
    while True:
        yield _patch(grid, centre, np.full(3, edge), shape)
        if edge >= whole:
            return
        edge *= _STEP


def mask_patch(grid: Grid, window: Window, shape: Shape3) -> Grid:
    """The patch that suits an object that fills a window of the volume."""
    ends = np.array([(part.start, part.stop) for part in window], float).T
    return box_patch(grid, ends - 0.5, shape)


def box_patch(grid: Grid, box: np.ndarray, shape: Shape3) -> Grid:
    """The patch that suits an object that fills a box (2, 3) in voxels of the volume."""
    edges = MARGIN * np.ptp(box, axis=0) * np.asarray(grid.spacing)
    return _patch(grid, box.mean(0), edges, shape)


def holding(grid: Grid, patch: Grid, window: Window, points: np.ndarray) -> Grid:
    """The patch, or where it does not show them all, the one for a window and points (n, 3)."""
    ends = np.array([(part.start, part.stop) for part in window], float).T - 0.5
    corners = np.concatenate([ends, points - 0.5, points + 0.5])
    box = np.stack([corners.min(0), corners.max(0)])
    reach = patch.to_voxel(grid.to_world(box))
    if (reach >= -0.5).all() and (reach <= np.array(patch.shape) - 0.5).all():
        return patch
    return box_patch(grid, box, patch.shape)


def fit_patch(grid: Grid, patch: Grid, mask: np.ndarray, positives: np.ndarray) -> Grid | None:
    """The patch that suits a mask found on `patch`; None when `patch` already does.

    A mask that reaches a face of its patch inside the volume is followed in that direction.

    Parameters
    ----------
    grid
        The volume's grid.
    patch
        Grid of `mask`, along the axes of `grid`.
    mask
        bool (d, h, w).
    positives
        (n, 3) positive clicks in voxels of `grid`; the new patch holds them all.
    """
    found = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if any(len(f) == 0 for f in found):
        return None
    low, high = np.array([f[0] for f in found]), np.array([f[-1] for f in found])
    size = high - low + 1
    reach = np.stack([low - 0.5, high + 0.5])
    last = np.asarray(patch.shape) - 1
    reach[0] -= np.where(low <= 0, size, 0)
    reach[1] += np.where(high >= last, size, 0)
    corners = grid.to_voxel(patch.to_world(reach))
    corners = np.concatenate([corners, positives - 0.5, positives + 0.5])
    limit = np.asarray(grid.shape) - 0.5
    low, high = np.clip(corners.min(0), -0.5, limit), np.clip(corners.max(0), -0.5, limit)
    edges = MARGIN * (high - low) * np.asarray(grid.spacing)
    fitted = _patch(grid, (low + high) / 2, edges, patch.shape)
    return None if _suits(patch, fitted, grid, low, high) else fitted


def _suits(patch: Grid, fitted: Grid, grid: Grid, low: np.ndarray, high: np.ndarray) -> bool:
    ratio = patch.extent_mm / fitted.extent_mm
    inside = patch.to_voxel(grid.to_world(np.stack([low, high])))
    room = (inside >= -0.5).all() and (inside <= np.asarray(patch.shape) - 0.5).all()
    return bool(room and (ratio > _AGREE[0]).all() and (ratio < _AGREE[1]).all())


def _patch(grid: Grid, centre: np.ndarray, edges_mm: np.ndarray, shape: Shape3) -> Grid:
    """A patch with edges as wanted where the volume has room for them, moved inside it."""
    spacing = np.asarray(grid.spacing)
    edges = np.maximum(edges_mm, _THINNEST * edges_mm.max())
    extent = np.maximum(edges, _FEWEST * spacing.min()) / spacing
    whole = np.asarray(grid.shape)
    extent = np.minimum(extent, 1.1 * whole)
    extent = np.maximum(extent, _THINNEST * (extent * spacing).max() / spacing)
    room = np.maximum(whole - extent, 0) / 2
    middle = (whole - 1) / 2
    return grid.patch(np.clip(centre, middle - room, middle + room), shape, extent)
