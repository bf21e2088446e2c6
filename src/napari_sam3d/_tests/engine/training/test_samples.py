"""Patches show what the predictor would look at, and say truly what belongs to the object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.training.small import ball, small_spec
from napari_sam3d.catalog import Intensity, model_spec
from napari_sam3d.engine.fixed import FixedPredictor
from napari_sam3d.engine.training.cases import objects_of
from napari_sam3d.engine.training.samples import draw, first_click, left_right, mirrored, varied
from napari_sam3d.settings import InferenceSettings

FIXED = replace(
    model_spec("sam_med3d_turbo"),
    patch_shape=(8, 12, 16),
    mask_shape=None,
    intensity=Intensity(kind="window", low=-50, high=150),
)


@pytest.mark.parametrize("spec", [small_spec(), FIXED], ids=["following", "fixed"])
def test_the_target_is_where_the_patch_is_bright(spec):
    objects = objects_of(ball("x"))
    for seed in range(30):
        sample = draw(objects, spec, 0.0, np.random.default_rng(seed))
        assert sample.image.shape == sample.target.shape
        inside, outside = sample.image[sample.target], sample.image[~sample.target]
        if len(outside):
            assert inside.mean() > outside.mean()
        at = tuple(np.clip(np.rint(sample.point).astype(int), 0, np.array(sample.target.shape) - 1))
        assert sample.target[at]


def test_a_patch_of_one_voxel_size_is_the_one_that_the_predictor_shows_its_network():
    case = ball("x")
    shown = []

    class Seen(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def encode_image(self, patch):
            shown.append(patch)
            raise StopIteration

    predictor = FixedPredictor(Seen(), FIXED, InferenceSettings(device="cpu", precision="fp32"))
    from napari_sam3d.prompts import Point, Prompts

    rng = np.random.default_rng(3)
    sample = draw(objects_of(case), FIXED, 0.0, rng)
    again = np.random.default_rng(3)
    again.random(), again.integers(1), again.integers(1)  # as `draw` does before the click
    click = first_click(objects_of(case)[0], again)
    with pytest.raises(StopIteration):
        predictor.predict(case.volume, Prompts().add(Point(tuple(click))))
    assert torch.equal(shown[0][0, 0], sample.image)


def test_background_patches_show_no_object():
    objects = objects_of(ball("x", radius=3))
    spec = replace(FIXED, patch_shape=(4, 4, 4), spacing_mm=1.0)
    found = [draw(objects, spec, 1.0, np.random.default_rng(seed)) for seed in range(10)]
    assert not any(it.target.any() for it in found)
    everywhere = objects_of(ball("x", radius=50))
    assert draw(everywhere, spec, 1.0, np.random.default_rng(0)).target.all()


def test_an_object_smaller_than_a_voxel_is_refused_in_a_sentence():
    spec = replace(FIXED, patch_shape=(2, 2, 2), spacing_mm=20.0)
    with pytest.raises(ValueError, match="of x are too small for the voxels of sam_med3d_turbo"):
        draw(objects_of(ball("x", radius=2.5)), spec, 0.0, np.random.default_rng(0))


def test_mirrored_patches_move_the_click_along():
    sample = draw(objects_of(ball("x")), small_spec(), 0.0, np.random.default_rng(1))
    other = mirrored(sample, 2)
    assert other.point[2] == 7 - sample.point[2] and (other.point[:2] == sample.point[:2]).all()
    assert torch.equal(other.image.flip(2), sample.image)
    assert (np.flip(other.target, 2) == sample.target).all()
    assert left_right(small_spec()) == 2 and left_right(FIXED) == 0  # RAS


def test_another_contrast_keeps_the_order_of_intensities_about():
    sample = draw(objects_of(ball("x")), small_spec(), 0.0, np.random.default_rng(1))
    other = varied(sample, np.random.default_rng(0))
    both = np.stack([sample.image.flatten(), other.image.flatten()])
    assert np.corrcoef(both)[0, 1] > 0.9 and not torch.equal(other.image, sample.image)
    assert (other.target == sample.target).all()
    flat = replace(sample, image=torch.ones(8, 8, 8))
    assert torch.isfinite(varied(flat, np.random.default_rng(0)).image).all()
