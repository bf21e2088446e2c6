"""The voxel that is seen under the cursor in the 3D view."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_sam3d.plugin.canvas.sight import Ray, Samples, Sight, cross, sample, to_level
from napari_sam3d.plugin.layers.arrays import level_of

if TYPE_CHECKING:
    from napari.layers import Image

_SHADES = 255
"""What is less than one shade of a screen above black cannot be seen."""
_SAME = 1e-6
"""Share of the contrast by which the same brightness differs along a ray."""


def pick(
    layer: Image | Labels, sight: Sight, ids: Collection[int] | None = None
) -> np.ndarray | None:
    """The voxel of a layer that is seen along a line of sight; None where nothing is.

    It is where the layer's rendering takes its colour from: the maximum for mip (the first of
    those that the contrast limits cut off), the weakened maximum for attenuated_mip, the minimum
    for minip, the first crossing of the threshold for iso, the plane for plane depiction. The
    others, which add up what is on the way, have no such voxel: there it is the brightest. Of
    labels it is the first voxel that is not transparent.

    Parameters
    ----------
    layer
        Hidden layers, fully transparent ones and colour images are not seen.
    sight
        The line of sight.
    ids
        Labels that count; others are looked through. None for all.

    Returns
    -------
    ndarray or None
        Voxel coordinates, (layer.ndim,); whole numbers are voxel centres.
    """
    if not layer.visible or layer.opacity == 0 or getattr(layer, "rgb", False):
        return None
    ray = cross(layer, sight)
    if ray is None:
        return None
    level = layer.data_level if layer.multiscale else 0
    if str(layer.depiction) == "plane":
        found = _on_plane(layer, level, ray, ids)
    else:
        found = _first_seen(layer, level, ray, ids)
    if found is not None and level and str(layer.depiction) != "plane":
        # the coarse level that is drawn says where to look in the fine one
        ray = ray.around(found, float(np.max(layer.downsample_factors[level])))
        finer = _first_seen(layer, 0, ray, ids)
        found = 0.5 if finer is None else finer
    if found is None:
        return None
    voxel = ray.at(found)
    return np.rint(voxel) if isinstance(layer, Labels) else voxel


def pick_for(
    image: Image, sight: Sight, labels: Labels | None = None, object_id: int = 0
) -> np.ndarray | None:
    """What a prompt is about: the mask of an object where it is under the cursor, else the image.

    Parameters
    ----------
    image
        The image that is segmented.
    sight
        The line of sight.
    labels
        The layer of the masks, on the voxels of the image; None when there is none.
    object_id
        The object whose mask is refined.

    Returns
    -------
    ndarray or None
        Voxel coordinates in the image, (image.ndim,); None where neither is seen.
    """
    if labels is not None:
        voxel = pick(labels, sight, (object_id,))
        if voxel is not None:
            return voxel
    return pick(image, sight)


def is_in_memory(layer: Image | Labels) -> bool:
    """Whether picking is quick enough to be done at each move of the mouse."""
    return isinstance(level_of(layer, layer.data_level), np.ndarray)


def _on_plane(
    layer: Image | Labels, level: int, ray: Ray, ids: Collection[int] | None
) -> float | None:
    """Where a ray meets the plane that is drawn; for labels, only where there is one."""
    axes = list(ray.axes)
    near, far = (to_level(layer, level, end)[axes] for end in (ray.near, ray.far))
    normal = np.asarray(layer.plane.normal, float)  # in displayed data coordinates
    slope = float(normal @ (far - near))
    if abs(slope) < 1e-9:
        return None
    found = float(normal @ (np.asarray(layer.plane.position, float) - near)) / slope
    if not 0 <= found <= 1:
        return None
    if isinstance(layer, Labels) and _first_seen(layer, level, ray.around(found, 0), ids) is None:
        return None
    return found


def _first_seen(
    layer: Image | Labels, level: int, ray: Ray, ids: Collection[int] | None
) -> float | None:
    """How far along a ray something is seen, from 0 to 1."""
    if isinstance(layer, Labels):
        return _first_label(layer, sample(layer, level, ray, linear=False), ids)
    along = sample(layer, level, ray, linear=str(layer.interpolation3d) != "nearest")
    if str(layer.rendering) == "iso":
        return _first_crossing(along, layer.iso_threshold)
    return _brightest(layer, along)


def _first_label(layer: Labels, along: Samples, ids: Collection[int] | None) -> float | None:
    seen = [
        label
        for label in np.unique(along.values)
        if (ids is None or label in ids) and _is_opaque(layer, label)
    ]
    found = np.flatnonzero(np.isin(along.values, seen))
    return float(along.fractions[found[0]]) if found.size else None


def _is_opaque(layer: Labels, label: int) -> bool:
    color = layer.get_color(label)  # knows of "show selected" too
    return color is not None and np.ravel(color)[-1] > 0


def _first_crossing(along: Samples, threshold: float) -> float | None:
    """Where the values first exceed a threshold, between two samples."""
    above = np.flatnonzero(along.values > threshold)
    if not above.size:
        return None
    i = int(above[0])
    if i == 0 or not np.isfinite(along.values[i - 1]):
        return float(along.fractions[i])
    before, after = along.values[i - 1 : i + 1]
    share = (threshold - before) / (after - before)
    return float(along.fractions[i - 1] + share * (along.fractions[i] - along.fractions[i - 1]))


def _brightest(layer: Image, along: Samples) -> float | None:
    """Where a ray is brightest on the screen, the nearest of equals; None when it is black."""
    low, high = layer.contrast_limits
    values = along.values
    if str(layer.rendering) == "minip":  # the darkest; what is white is not drawn
        low, high, values = -high, -low, -values
    values = np.where(np.isnan(values), -np.inf, values)
    shown = np.minimum(values, high)
    weakened = shown
    if str(layer.rendering) == "attenuated_mip":
        passed = along.step * np.cumsum(np.clip((shown - low) / (high - low), 0, 1))
        weakened = shown * np.exp(-layer.attenuation * (passed - 1))
    # not the highest by rounding alone, somewhere in what is equally bright
    i = int(np.argmax(weakened >= weakened.max() - _SAME * (high - low)))
    return float(along.fractions[i]) if shown[i] > low + (high - low) / _SHADES else None
