"""Which part of the volume the network looks at: first guesses, and the fit to a mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_sam3d.volume import Grid, Shape3, Window
from napari_sam3d.windows import bounding_box, shape_of

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
    return box_patch(grid, faces(window), shape)


def box_patch(grid: Grid, box: np.ndarray, shape: Shape3) -> Grid:
    """The patch that suits an object that fills a box (2, 3) in voxels of the volume."""
    edges = MARGIN * np.ptp(box, axis=0) * np.asarray(grid.spacing)
    return _patch(grid, box.mean(0), edges, shape)


def holding(grid: Grid, patch: Grid, window: Window, points: np.ndarray) -> Grid:
    """The patch, or where it does not show them all, the one for a window and points (n, 3)."""
    box = moved_out(faces(window), points)
    return patch if _shows(patch, grid, box) else box_patch(grid, box, patch.shape)


def faces(window: Window) -> np.ndarray:
    """The box (2, 3) that a window fills, in voxels of the volume."""
    return np.array([(part.start, part.stop) for part in window], float).T - 0.5


def moved_out(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A box (2, 3) with its faces moved out to where the voxels of points (n, 3) are."""
    corners = np.concatenate([box, points - 0.5, points + 0.5])
    return np.stack([corners.min(0), corners.max(0)])


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
    found = bounding_box(mask)
    if found is None:
        return None
    reach, size = faces(found), np.array(shape_of(found))
    reach[0] -= np.where(reach[0] < 0, size, 0)
    reach[1] += np.where(reach[1] > np.array(patch.shape) - 1, size, 0)
    box = moved_out(grid.to_voxel(patch.to_world(reach)), positives)
    box = np.clip(box, -0.5, np.asarray(grid.shape) - 0.5)
    fitted = box_patch(grid, box, patch.shape)
    ratio = patch.extent_mm / fitted.extent_mm
    agrees = bool((ratio > _AGREE[0]).all() and (ratio < _AGREE[1]).all())
    return None if agrees and _shows(patch, grid, box) else fitted


def _shows(patch: Grid, grid: Grid, box: np.ndarray) -> bool:
    """Whether a patch holds a whole box (2, 3, voxels of `grid`)."""
    reach = patch.to_voxel(grid.to_world(box))
    return bool((reach >= -0.5).all() and (reach <= np.asarray(patch.shape) - 0.5).all())


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
