"""Patches to learn from: cut as the predictor cuts them, with what belongs to the object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine import fixed, following
from napari_sam3d.engine.clicks import deepest
from napari_sam3d.engine.orientation import Orientation
from napari_sam3d.engine.patches import box_patch, zoom_patches
from napari_sam3d.engine.resample import resample
from napari_sam3d.engine.training.cases import LabelledObject
from napari_sam3d.volume import Grid

_FEWEST = 8  # voxels of the object that a patch must show
_ATTEMPTS = 20
_EXACT = 0.5  # share of first clicks that lie where the evaluation's would
_FITTED = 0.4  # share of patches that fit the object, as the predictor's later ones do
_LOOSE = 0.25  # logarithm of by how much such a patch is too large or too small, at most
_FLAT = 1e-6


@dataclass(frozen=True, eq=False)
class Sample:
    """A patch as the network sees it, in the network's axes.

    Parameters
    ----------
    image
        (d, h, w), with the network's intensities.
    target
        bool (d, h, w): the object. All false in a patch without it.
    point
        The first click, (3,) in voxels of the patch.
    """

    image: Tensor
    target: np.ndarray
    point: np.ndarray


def draw(
    objects: list[LabelledObject], spec: ModelSpec, background: float, rng: np.random.Generator
) -> Sample:
    """A patch about a random object, the volumes having equal chances.

    Parameters
    ----------
    objects
        Of all cases.
    spec
        The model's row, which says how patches are cut.
    background
        Share of patches that do not show the object; for models with voxels of one size.
    rng
        What draws.

    Raises
    ------
    ValueError
        When no patch that was tried shows enough of an object.
    """
    cut = _WAYS[spec.way]
    volumes = list({id(it.volume): it.volume for it in objects}.values())
    empty = spec.way == "fixed" and rng.random() < background
    for _ in range(_ATTEMPTS):
        volume = volumes[rng.integers(len(volumes))]
        own = [it for it in objects if it.volume is volume]
        chosen = own[rng.integers(len(own))]
        if empty:
            sample = _beside(chosen, spec, rng)
            if sample is not None:
                return sample
            continue
        sample = cut(chosen, spec, rng)
        if int(sample.target.sum()) >= _FEWEST:
            return sample
    if empty:  # the object is everywhere
        return draw(objects, spec, 0.0, rng)
    raise ValueError(
        f"The objects of {objects[0].volume.name} are too small for the voxels of {spec.name}."
    )


def varied(sample: Sample, rng: np.random.Generator) -> Sample:
    """The same patch with another contrast.

    Anatomy knows left from right alone as alike, and `mirrored` does that; turning patches any
    other way would unlearn where things are.
    """
    image = sample.image
    scale, shift = rng.uniform(0.9, 1.1), rng.uniform(-0.1, 0.1)
    if rng.random() < 0.5:  # a monotone curve
        low, high = image.min(), image.max()
        if float(high - low) > _FLAT:
            unit = (image - low) / (high - low)
            curved = unit ** float(np.exp(rng.uniform(-0.3, 0.3)))
            spread = image.std().clamp(min=_FLAT) / curved.std().clamp(min=_FLAT)
            image = (curved - curved.mean()) * spread + image.mean()
    if rng.random() < 0.3:
        noise = rng.standard_normal(tuple(image.shape), np.float32)
        image = image + float(rng.uniform(0, 0.1)) * torch.from_numpy(noise)
    return replace(sample, image=image * float(scale) + float(shift))


def mirrored(sample: Sample, axis: int) -> Sample:
    """The same patch flipped along an axis."""
    point = sample.point.copy()
    point[axis] = sample.target.shape[axis] - 1 - point[axis]
    target = np.flip(sample.target, axis).copy()
    return replace(sample, image=sample.image.flip(axis), target=target, point=point)


def left_right(spec: ModelSpec) -> int:
    """The axis of a patch that points to the left or the right."""
    return Orientation(spec.axes).order.index(2) if spec.way == "fixed" else 2


def first_click(it: LabelledObject, rng: np.random.Generator) -> np.ndarray:
    """Where a user clicks on the object at first, (3,) in voxels of the volume."""
    exact = rng.random() < _EXACT
    click = deepest(it.mask, None if exact else rng)
    assert click is not None
    return click + it.start


def _following(it: LabelledObject, spec: ModelSpec, rng: np.random.Generator) -> Sample:
    """One of the sizes of patch that the predictor looks at first, or one that fits."""
    grid, point = it.volume.grid, first_click(it, rng)
    if rng.random() < _FITTED:
        box = np.array([(part.start, part.stop) for part in it.window], float).T - 0.5
        middle, half = box.mean(0), np.ptp(box, axis=0) / 2
        half *= np.exp(rng.uniform(-_LOOSE, _LOOSE, 3))
        middle += rng.uniform(-_LOOSE, _LOOSE, 3) * half
        box = np.stack([middle - half, middle + half])
        box = np.stack([np.minimum(box[0], point - 0.5), np.maximum(box[1], point + 0.5)])
        patch = box_patch(grid, box, spec.patch_shape)
    else:
        patches = list(zoom_patches(grid, point[None], spec.patch_shape, spec.object_mm))
        patch = patches[rng.integers(len(patches))]
    image = following.patch_image(it.volume, patch)
    on_patch = patch.to_voxel(grid.to_world(point))
    return Sample(image, _target(it, patch), on_patch)


def _fixed(it: LabelledObject, spec: ModelSpec, rng: np.random.Generator) -> Sample:
    """The patch about the first click."""
    grid = fixed.working_grid(it.volume, spec)
    point = grid.to_voxel(it.volume.grid.to_world(first_click(it, rng)))
    return _fixed_at(it, spec, grid, point)


def _fixed_at(it: LabelledObject, spec: ModelSpec, grid: Grid, point: np.ndarray) -> Sample:
    start = fixed.centred(grid, spec, point[None])
    patch = grid.window(fixed.patch_window(start, spec.patch_shape))
    orientation = Orientation(spec.axes)
    image = fixed.patch_image(it.volume, grid, patch, spec)
    return Sample(
        orientation.turn(image).contiguous(),
        np.ascontiguousarray(orientation.turn_array(_target(it, patch))),
        orientation.turn_points((point - start)[None], spec.patch_shape)[0],
    )


def _beside(it: LabelledObject, spec: ModelSpec, rng: np.random.Generator) -> Sample | None:
    """A patch about any place of the volume, when it does not show the object."""
    grid = fixed.working_grid(it.volume, spec)
    sample = _fixed_at(it, spec, grid, rng.uniform(0, np.array(grid.shape) - 1))
    return None if sample.target.any() else sample


def _target(it: LabelledObject, patch: Grid) -> np.ndarray:
    """Which voxels of a patch belong to the object, bool (d, h, w)."""
    own = it.volume.grid.window(it.window)
    share = resample(it.mask.astype(np.float32), own, patch, fill=0.0)
    return (share >= 0.5).numpy()


_WAYS: dict[str, Callable[[LabelledObject, ModelSpec, np.random.Generator], Sample]] = {
    "following": _following,
    "fixed": _fixed,
}
