"""Simulated clicks from a reference mask; training and evaluation use the same code."""

from __future__ import annotations

import math

import cc3d
import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_sam3d.prompts import Point

_MOST_VOXELS = 60_000_000
"""Of a padded component, above which the challenge halves the resolution of the transform."""


def next_click(
    mask: np.ndarray, reference: np.ndarray, generator: np.random.Generator | None = None
) -> Point | None:
    """Where a user would correct `mask` next: deep inside the largest connected error.

    The rule of the CVPR 2025 challenge for interactive 3D segmentation
    (JunMa11/CVPR-MedSegFMCompetition, CVPR25_iter_eval.py at 748e862): the largest of the
    26-connected error components, of equal ones the first in the order of the array; its distance
    transform in voxels, with the component's box padded by a quarter; one of the deepest voxels, in
    the order of the array, drawn with seed 42. It depends on how the axes run, not on what is cut
    off of the array beside the errors, nor on how it lies in memory.

    Parameters
    ----------
    mask, reference
        bool (z, y, x).
    generator
        When given, a voxel of the component is drawn instead, with a chance that grows with its
        depth: the less exact clicks that training uses.

    Returns
    -------
    Point or None
        Positive where the reference is foreground; None when there is no error.
    """
    error = mask != reference
    if not error.any():
        return None
    component, start = largest_component(error)
    depth = _depth(component)
    if generator is None:
        deepest = np.argwhere(depth == depth.max())
        chosen = deepest[np.random.RandomState(42).choice(len(deepest))]
    else:
        weight = depth.ravel() ** 2
        flat = np.searchsorted(np.cumsum(weight), generator.random() * weight.sum())
        chosen = np.array(np.unravel_index(min(int(flat), weight.size - 1), depth.shape))
    z, y, x = (int(c) for c in chosen + start)
    return Point((float(z), float(y), float(x)), bool(reference[z, y, x]))


def deepest(mask: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray | None:
    """A voxel (z, y, x) deep inside the largest part of a mask; None when it has no voxel.

    A generator draws it as in `next_click`.
    """
    point = next_click(np.zeros_like(mask), mask, generator)
    return None if point is None else np.array(point.position_voxel)


def largest_component(error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest 26-connected component, cropped to its box, and the first corner of the box."""
    # in memory as in the order of its axes, in which components are then numbered
    labels = cc3d.connected_components(np.ascontiguousarray(error), connectivity=26)
    statistics = cc3d.statistics(labels)
    counts = statistics["voxel_counts"].copy()
    counts[0] = 0
    largest = int(counts.argmax())
    box = statistics["bounding_boxes"][largest]
    return labels[box] == largest, np.array([s.start for s in box])


def _depth(component: np.ndarray) -> np.ndarray:
    """How many voxels deep each voxel of a component is; at half resolution when it is huge."""
    pad = [max(1, int(0.25 * n)) for n in component.shape]
    if math.prod(m + 2 * n for m, n in zip(component.shape, pad, strict=True)) <= _MOST_VOXELS:
        # one voxel does as well: none of those beyond it is nearer
        return distance_transform_edt(np.pad(component, 1))[1:-1, 1:-1, 1:-1]
    padded = np.pad(component, [(n, n) for n in pad])
    inside = tuple(slice(n, n + m) for n, m in zip(pad, component.shape, strict=True))
    halves = np.pad(padded, [(0, n % 2) for n in padded.shape])
    for axis in range(3):
        halves = np.maximum.reduceat(halves, range(0, halves.shape[axis], 2), axis)
    depth = distance_transform_edt(halves)
    for axis in range(3):
        depth = depth.repeat(2, axis)
    return depth[inside] * component
