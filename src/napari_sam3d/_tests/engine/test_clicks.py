"""Simulated clicks on errors that a person can check by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_sam3d._tests.engine.challenge_rule import challenge_click
from napari_sam3d.engine import clicks
from napari_sam3d.engine.clicks import next_click
from napari_sam3d.prompts import Point


def test_first_click_is_the_middle_of_the_object():
    reference = np.zeros((20, 20, 20), bool)
    reference[4:9, 5:10, 6:11] = True
    assert next_click(np.zeros_like(reference), reference) == Point((6, 7, 8), True)


def test_too_much_mask_is_corrected_by_a_negative_click():
    reference = np.zeros((20, 20, 20), bool)
    mask = reference.copy()
    mask[10:13, 10:13, 10:13] = True
    assert next_click(mask, reference) == Point((11, 11, 11), False)


def test_the_largest_error_comes_first_and_corners_connect():
    reference = np.zeros((20, 20, 20), bool)
    reference[2:5, 2:5, 2:5] = True  # 27 voxels
    reference[10:13, 10:13, 10:13] = True
    reference[13:16, 13:16, 13:16] = True  # touches the one before at a corner
    click = next_click(np.zeros_like(reference), reference)
    assert click is not None and min(click.position_voxel) >= 10


def test_no_error_no_click():
    reference = np.ones((3, 3, 3), bool)
    assert next_click(reference, reference) is None


def test_the_same_error_gets_the_same_click():
    reference = np.zeros((9, 9, 9), bool)
    reference[2:8, 3:5, 3:5] = True  # many equally deep voxels
    nothing = np.zeros_like(reference)
    assert next_click(nothing, reference) == next_click(nothing, reference)


def test_inexact_clicks_stay_in_the_component():
    reference = np.zeros((12, 12, 12), bool)
    reference[3:9, 3:9, 3:9] = True
    generator = np.random.default_rng(0)
    clicks = [next_click(np.zeros_like(reference), reference, generator) for _ in range(50)]
    places = {c.position_voxel for c in clicks if c is not None}
    assert len(places) > 10
    assert all(reference[tuple(int(x) for x in place)] for place in places)


def test_a_missing_corner_is_clicked_in_its_middle():
    reference = np.zeros((16, 16, 16), bool)
    reference[2:12, 2:12, 2:12] = True
    mask = reference.copy()
    mask[9:, 9:, 9:] = False  # 3 x 3 x 3 voxels
    assert next_click(mask, reference) == Point((10, 10, 10), True)


def test_of_equal_errors_the_first_in_the_array_counts():
    reference = np.zeros((7, 9, 20), bool)
    reference[4:7, 0:3, 0:3] = True
    reference[0:3, 6:9, 15:18] = True
    nothing = np.zeros_like(reference)
    assert next_click(nothing, reference) == Point((1, 7, 16), True)
    # the same by another way through memory, in which the other one would come first
    other = [np.asfortranarray(it) for it in (nothing, reference)]
    assert next_click(*other) == Point((1, 7, 16), True)


def test_of_equally_deep_voxels_the_one_of_seed_42_is_clicked():
    reference = np.zeros((3, 3, 12), bool)
    reference[1, 1, 1:11] = True  # ten voxels, each one deep
    click = next_click(np.zeros_like(reference), reference)
    # np.random.seed(42); np.random.choice(10) is 6
    assert click == Point((1, 1, 1 + 6), True)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 14)] * 3),
    smooth=st.sampled_from([0.0, 0.7, 1.5]),
    seed=st.integers(0, 2**31),
    turned=st.booleans(),
    huge=st.booleans(),
)
def test_clicks_are_those_of_the_rule_written_plainly(shape, smooth, seed, turned, huge):
    generator = np.random.default_rng(seed)
    fields = generator.standard_normal((2, *shape))
    mask, reference = (gaussian_filter(it, smooth) > 0 for it in fields)
    if turned:
        mask = np.asfortranarray(mask)
    limit = 40 if huge else 60_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clicks, "_MOST_VOXELS", limit)
        assert next_click(mask, reference) == challenge_click(mask, reference, limit)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), pads=st.tuples(*[st.tuples(*[st.integers(0, 3)] * 2)] * 3))
def test_what_is_cut_off_beside_the_errors_does_not_matter(seed, pads):
    mask, reference = np.random.default_rng(seed).random((2, 5, 6, 7)) < 0.5
    found = next_click(mask, reference)
    more = next_click(np.pad(mask, pads), np.pad(reference, pads))
    assert found is not None and more is not None
    shift = np.array([first for first, _ in pads])
    np.testing.assert_array_equal(np.array(found.position_voxel) + shift, more.position_voxel)
