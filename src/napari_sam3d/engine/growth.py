"""Where an object goes on beyond the patches that were looked at, and whether it does."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from napari_sam3d.engine.union import Union, View
from napari_sam3d.volume import Shape3
from napari_sam3d.windows import between

_TOUCHING = 16  # voxels of a mask on a face of its patch that lead on to the next one
_AGREEMENT = 0.5  # Dice in the overlap from which a further patch counts as of the same object


def next_patch(
    union: Union, patch_shape: Shape3, grid_shape: Shape3, threshold: float, tried: set[Shape3]
) -> Shape3 | None:
    """First voxel of the patch into which the mask goes on most; None where it ends.

    Parameters
    ----------
    union
        What was found so far.
    patch_shape, grid_shape
        Voxels of a patch and of the working grid; patches are half a patch apart.
    threshold
        Probability above which a voxel belongs to the object.
    tried
        Patches that need not be looked at again.
    """
    mask = union.probability > threshold
    covered = union.covered()
    best: tuple[int, Shape3] | None = None
    for view in union.views:
        for axis in range(3):
            for sign in (-1, 1):
                following = list(view.start)
                following[axis] += sign * (patch_shape[axis] // 2)
                z, y, x = following
                face = view.stop[axis] - 1 if sign > 0 else view.start[axis]
                beyond = face + sign
                if (z, y, x) in tried or not 0 <= beyond < grid_shape[axis]:
                    continue
                touching = _touching(mask, covered, union, view, axis, face, beyond)
                if touching >= _TOUCHING and (best is None or touching > best[0]):
                    best = touching, (z, y, x)
    return None if best is None else best[1]


def seed_in(union: Union, start: Shape3, shape: Shape3) -> np.ndarray | None:
    """The innermost point of the mask where a patch overlaps it, in voxels of the patch."""
    stop = np.add(start, shape)
    window = union.window(start, stop)
    found = union.probability[window].numpy()
    mask = found > 0.5
    if not mask.any():
        return None
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    first = np.maximum(union.start, start) - start
    return np.array(np.unravel_index(int(depth.argmax()), depth.shape)) + first


def agrees(union: Union, view: View, threshold: float) -> bool:
    """Whether a view finds the same object where it overlaps what was found before."""
    window = union.window(view.start, view.stop)
    old = union.probability[window] > threshold
    low = np.maximum(union.start, view.start) - view.start
    inner = between(low, low + np.array(old.shape))
    new = view.probability[inner] > threshold
    known = union.covered()[window]
    old, new = old & known, new & known
    both = int(old.sum() + new.sum())
    return both > 0 and 2 * int((old & new).sum()) >= _AGREEMENT * both


def _touching(
    mask: Tensor,
    covered: Tensor,
    union: Union,
    view: View,
    axis: int,
    face: int,
    beyond: int,
) -> int:
    """Voxels of the mask on a face of a view whose neighbours outside no view has seen."""
    start, stop = list(view.start), list(view.stop)
    start[axis], stop[axis] = face, face + 1
    on_face = mask[union.window(start, stop)]
    start[axis], stop[axis] = beyond, beyond + 1
    outside = covered[union.window(start, stop)]
    if outside.shape == on_face.shape:
        on_face = on_face & ~outside
    return int(on_face.sum())
