"""Masks from elsewhere that later prompts change about themselves only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.test_fixed import predictor as fixed
from napari_sam3d._tests.engine.test_predictor import predictor as following
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.merging import logits_of
from napari_sam3d.engine.prediction import Prediction
from napari_sam3d.engine.starting import prediction_of_mask
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.volume import Grid, Volume

SHAPE = (32, 32, 64)
NEAR = (slice(8, 20), slice(8, 20), slice(6, 24))
FAR = (slice(10, 18), slice(8, 20), slice(32, 48))


def two_blocks() -> tuple[Volume, np.ndarray, np.ndarray]:
    near, far = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    near[NEAR], far[FAR] = True, True
    image = (1000 * (near | far)).astype(np.int16)
    return Volume(image, Grid.from_spacing(SHAPE, (1, 1, 1)), "blocks"), near, far


def given(full: np.ndarray, volume: Volume, predictor) -> Prediction:
    low, high = np.argwhere(full).min(0), np.argwhere(full).max(0) + 1
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return prediction_of_mask(full[z, y, x], (z, y, x), volume.grid, predictor.spec)


class All(type(fixed().model)):
    """Says that all is foreground, whatever it is asked."""

    def decode_masks(self, embedding, prompts):
        masks = super().decode_masks(embedding, prompts)
        return replace(masks, logits=torch.full_like(masks.logits, 10.0))


def test_a_point_outside_adds_its_part_and_leaves_the_rest_as_it_was():
    volume, near, far = two_blocks()
    start = near.copy()
    start[12:14, 12:14, 10:12] = False  # a hole, and a bump: no network here would leave them
    start[8:11, 20:22, 8:12] = True
    it = fixed()
    prediction = it.predict(volume, Prompts((Point((14, 14, 40)),)), given(start, volume, it))
    np.testing.assert_array_equal(prediction.full(SHAPE), start | far)
    assert prediction.trusted and not prediction.graded

    later = Prompts((Point((14, 14, 40)), Point((30, 30, 60), False)))
    again = it.predict(volume, later, prediction)
    np.testing.assert_array_equal(again.full(SHAPE), start | far)  # that one was right already


def test_a_negative_point_takes_its_part_away():
    class Nothing(type(fixed().model)):
        def decode_masks(self, embedding, prompts):
            masks = super().decode_masks(embedding, prompts)
            return replace(masks, logits=torch.full_like(masks.logits, -10.0))

    volume, near, far = two_blocks()
    it = fixed()
    it.model = Nothing().eval()
    prompts = Prompts((Point((14, 14, 40), False),))
    prediction = it.predict(volume, prompts, given(near | far, volume, it))
    np.testing.assert_array_equal(prediction.full(SHAPE), near)
    assert sorted(it.model.asked[0].labels[0].tolist()) == [0, 1]  # and one inside of the mask


def test_points_that_are_fulfilled_change_nothing():
    volume, near, _ = two_blocks()
    for it in (fixed(), following()):
        start = given(near, volume, it)
        prompts = Prompts((Point((14, 14, 14)), Point((2, 2, 60), False)))
        prediction = it.predict(volume, prompts, start)
        np.testing.assert_array_equal(prediction.full(SHAPE), near)


def test_networks_are_shown_the_mask():
    volume, near, _ = two_blocks()
    it = fixed(mask_shape=(8, 8, 8))
    it.predict(volume, Prompts((Point((14, 14, 14)),)), given(near, volume, it))
    shown = it.model.asked[0].mask
    assert shown.shape == (1, 1, 8, 8, 8)
    middle, corner = shown[0, 0, 3:5, 3:5, 3:5], shown[0, 0, -1, -1, -1]
    assert float(middle.min()) > 0 and float(corner) == pytest.approx(-8)


def test_the_patch_of_a_network_that_follows_holds_the_mask():
    volume, near, _ = two_blocks()
    start = prediction_of_mask(near[NEAR], NEAR, volume.grid, model_spec("compact"))
    ends = start.patch.to_voxel(volume.grid.to_world(np.array([[8, 8, 6], [19, 19, 23]])))
    assert (ends > 0).all() and (ends < np.array(start.patch.shape) - 1).all()
    back = logits_of(start.logits > 0, start.patch, volume.grid.window(NEAR))
    assert (back > 0).mean() > 0.9


def test_a_finished_mask_is_not_what_the_next_prompt_changes():
    volume, near, far = two_blocks()
    it = fixed()
    it.settings = replace(it.settings, smooth_mm=2.0)
    points = (Point((14, 14, 40)), Point((30, 30, 60), False))
    first = it.predict(volume, Prompts(points[:1]), given(near, volume, it))
    assert not np.array_equal(first.full(SHAPE), near | far)
    second = it.predict(volume, Prompts(points), first)
    np.testing.assert_array_equal(second.full(SHAPE), first.full(SHAPE))


def test_a_point_changes_no_more_than_its_distance_from_the_border_says():
    volume, near, _ = two_blocks()
    it = fixed()
    it.model = All().eval()
    point = Point((14, 14, 28))  # 5 mm beyond the last voxel, at 23
    prediction = it.predict(volume, Prompts((point,)), given(near, volume, it))
    changed = prediction.full(SHAPE) & ~near
    apart = np.sqrt(((np.argwhere(changed) - point.position_voxel) ** 2).sum(1))
    assert apart.max() <= 7.5 and len(apart) > 1000
    assert changed[14, 14, 24] and not changed[14, 14, 36]


def test_a_point_that_the_network_ignores_changes_a_little_all_the_same():
    volume, near, _ = two_blocks()
    it = fixed()
    it.model = All().eval()
    point = Point((14, 14, 20), False)  # the first voxel outside is 4 mm away
    prediction = it.predict(volume, Prompts((point,)), given(near, volume, it))
    lost = near & ~prediction.full(SHAPE)
    apart = np.sqrt(((np.argwhere(lost) - point.position_voxel) ** 2).sum(1))
    assert apart.max() == 2 and len(apart) == 33  # the voxels of a ball of 2 mm


def test_the_patch_stays_while_it_shows_the_mask_and_the_points():
    volume, near, _ = two_blocks()
    it = following()
    start = given(near, volume, it)
    prompts = Prompts((Point((14, 14, 14)),))
    for voxel in ((14, 14, 16), (12, 12, 12), (14, 14, 18)):
        prompts = prompts.add(Point(tuple(map(float, voxel)), False))
        start = it.predict(volume, prompts, start)
    assert it.model.encoded == 1
    wide = it.predict(volume, prompts.add(Point((14, 14, 46))), start)
    assert it.model.encoded == 2
    shown = wide.patch.to_voxel(volume.grid.to_world(np.array([[8, 8, 6], [14, 14, 46]])))
    assert (shown > 0).all() and (shown < np.array(wide.patch.shape) - 1).all()


def test_where_all_was_erased_the_network_begins_anew():
    volume, near, _ = two_blocks()
    it = fixed()
    prompts = Prompts((Point((14, 14, 14)),))
    start = given(near, volume, it)
    erased = replace(start, mask=np.zeros_like(start.mask), logits=np.full_like(start.logits, -8))
    prediction = it.predict(volume, prompts, erased)
    np.testing.assert_array_equal(prediction.full(SHAPE), near)
    assert not prediction.trusted

    elsewhere = Prompts((Point((2, 2, 60)), Point((2, 2, 62), False)))  # the network says: nothing
    assert not it.predict(volume, elsewhere, erased).mask.any()
