"""Warped patches: another shape, and the click where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from napari_sam3d._tests.engine.training.small import ball
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.training.cases import objects_of
from napari_sam3d.engine.training.samples import Sample, draw
from napari_sam3d.engine.training.warping import warped


def drawn(seed: int) -> Sample:
    spec = replace(model_spec("compact"), patch_shape=(16, 20, 24))
    return draw(objects_of(ball("x")), spec, 0.0, np.random.default_rng(seed))


def test_the_object_is_warped_along_with_its_image():
    changed = []
    for seed in range(20):
        sample = drawn(seed)
        other = warped(sample, np.random.default_rng(seed))
        assert other.image.shape == sample.image.shape and other.target.shape == sample.target.shape
        assert other.image[other.target].mean() > other.image[~other.target].mean() + 1
        changed.append((other.target != sample.target).mean())
    assert 0.01 < np.mean(changed) < 0.2


def test_the_click_hits_the_same_voxel():
    for seed in range(20):
        sample = drawn(seed)
        other = warped(sample, np.random.default_rng(seed))
        assert (other.point == sample.point).all()
        at = tuple(np.clip(np.rint(sample.point).astype(int), 0, np.array(other.target.shape) - 1))
        torch.testing.assert_close(other.image[at], sample.image[at], atol=1e-3, rtol=1e-3)
        assert other.target[at] == sample.target[at]


def test_a_warp_is_one_that_was_drawn():
    sample = drawn(0)
    one, same, other = (warped(sample, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.image, same.image) and not torch.equal(one.image, other.image)
