"""Simulated clicks on errors that a person can check by hand."""

from __future__ import annotations

import numpy as np

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
