"""Boxes for the network that follows its object, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam3d._tests.engine.test_predictor import predictor
from napari_sam3d.engine.boxes import box_about, ellipsoid, held
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.patches import box_patch
from napari_sam3d.engine.prediction import recut
from napari_sam3d.engine.predictor import load_predictor
from napari_sam3d.prompts import Box, Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

GRID = Grid.from_spacing((30, 40, 50), (2, 1, 1))


def test_a_box_has_the_faces_of_its_voxels_and_holds_the_positive_points():
    box = Box((9, 5, 20), (4, 8, 12))
    np.testing.assert_array_equal(
        box_about(box, np.zeros((0, 3))), [[3.5, 4.5, 11.5], [9.5, 8.5, 20.5]]
    )
    moved = box_about(box, np.array([[6.0, 30.0, 15.0]]))
    np.testing.assert_array_equal(moved, [[3.5, 4.5, 11.5], [9.5, 30.5, 20.5]])


def test_the_patch_of_a_box_is_a_margin_larger():
    box = np.array([[9.5, 9.5, 9.5], [19.5, 29.5, 29.5]])  # 20 mm each way
    patch = box_patch(GRID, box, (64, 64, 64))
    np.testing.assert_allclose(patch.extent_mm, 32)
    np.testing.assert_allclose(GRID.to_voxel(patch.to_world(patch.center_voxel)), box.mean(0))


def test_the_ellipsoid_touches_the_faces_of_the_box():
    box = np.array([[9.5, 9.5, 9.5], [19.5, 29.5, 29.5]])
    patch = box_patch(GRID, box, (64, 64, 64))
    inside = np.argwhere(ellipsoid(box, GRID, patch).numpy() > 0)
    ends = GRID.to_voxel(patch.to_world(np.stack([inside.min(0) - 0.5, inside.max(0) + 0.5])))
    np.testing.assert_allclose(ends, box, atol=0.6)
    assert len(inside) / 64**3 == pytest.approx(np.pi / 6 / 1.6**3, rel=0.03)


def test_nothing_is_foreground_outside_the_box():
    box = np.array([[9.5, 9.5, 9.5], [19.5, 29.5, 29.5]])
    patch = box_patch(GRID, box, (64, 64, 64))
    logits = held(ellipsoid(box, GRID, patch) * 0 + 5, patch, GRID, box)
    kept = np.argwhere(logits.numpy() > 0)
    ends = GRID.to_voxel(patch.to_world(np.stack([kept.min(0), kept.max(0)])))
    assert (ends[0] >= box[0]).all() and (ends[1] <= box[1]).all()
    assert len(kept) / 64**3 == pytest.approx(1 / 1.6**3, rel=0.05)


def test_a_box_alone_then_with_a_point():
    shape = (40, 40, 80)
    image = np.zeros(shape, np.int16)
    image[12:28, 12:28, 10:26] = image[12:28, 12:28, 40:70] = 1000
    truth = np.zeros(shape, bool)
    truth[12:28, 12:28, 10:26] = True
    volume, it = Volume(image, Grid.from_spacing(shape, (1, 1, 1))), predictor()
    boxed = Prompts(box=Box((11, 11, 9), (28, 28, 26)))
    found = it.predict(volume, boxed)
    assert dice(found.full(shape), truth) > 0.95
    encoded = it.model.encoded
    both = Prompts((Point((20, 20, 14)),), box=boxed.box)
    again = it.predict(volume, both, found)
    assert dice(again.full(shape), truth) > 0.95
    assert it.model.encoded == encoded == 1  # the patch of the box stays

    # the network would take both, but the box is about the first alone
    wide = it.predict(volume, Prompts(box=Box((5, 5, 5), (35, 35, 34))))
    assert not wide.full(shape)[:, :, 36:].any()


def test_a_click_after_a_box_changes_its_mask_about_itself_only():
    """The shipped network, asked anew, loses two touching balls for a click in one of them."""
    shape = (40, 48, 72)
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    balls = [((place - middle) ** 2).sum(-1) < 12**2 for middle in ((20, 24, 26), (20, 24, 46))]
    image = np.random.default_rng(0).normal(100, 3, shape) + 60 * (balls[0] | balls[1])
    volume = Volume(image.astype(np.float32), Grid.from_spacing(shape, (1, 1, 1)))
    it = load_predictor(InferenceSettings())
    boxed = Prompts(box=Box((8, 12, 14), (32, 36, 58)))
    found = it.predict(volume, boxed)
    both = balls[0] | balls[1]
    assert dice(found.full(shape), both) > 0.9
    for x in (50, 54):
        said = boxed.add(Point((20.0, 24.0, x), positive=False))
        later = it.predict(volume, said, found)
        mask = later.full(shape)
        assert not mask[20, 24, x]
        assert dice(mask & ~balls[1], balls[0] & ~balls[1]) > 0.75  # the other stays
        assert later.graded and later.trusted
        at_once = it.predict(volume, said)
        assert dice(at_once.full(shape), mask) > 0.99
        wider = recut(later, volume.grid, said, InferenceSettings(threshold=0.05))
        assert wider.mask.sum() > later.mask.sum()
