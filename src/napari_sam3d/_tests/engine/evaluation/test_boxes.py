"""Boxes about objects that a person can check by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from napari_sam3d.engine.evaluation.boxes import challenge_box, generator_of, true_box
from napari_sam3d.prompts import Box


@dataclass
class Drawing:
    """Draws always the same."""

    number: int

    def randint(self, low: int, stop: int) -> int:
        assert (low, stop) == (0, 6)
        return self.number


def ell() -> np.ndarray:
    """An L: a bar along x in slices 2 and 3, a column along z up to slice 8 at its left end."""
    out = np.zeros((12, 128, 256), bool)
    out[2:4, 50:60, 100:140] = True
    out[4:9, 50:60, 100:110] = True
    return out


def test_the_true_box_holds_every_voxel_and_no_more():
    assert true_box(ell()) == Box((2, 50, 100), (8, 59, 139))


def test_the_middle_slice_may_cut_off_parts():
    """Slices 2 to 8 are seven, of which 5 is the middle one: the bar is not in the box."""
    assert challenge_box(ell(), Drawing(0)) == Box((2, 50, 100), (8, 59, 109))


def test_the_middle_of_occupied_slices_is_not_that_of_the_voxels_nor_of_the_range():
    reference = np.zeros((12, 16, 16), bool)
    reference[0, 2:14, 2:14] = True  # most voxels, and the median voxel
    reference[[1, 9, 10], 5, 7] = True
    # occupied: 0, 1, 9, 10, of which number 4 // 2 is slice 9; slice 5 is empty
    assert challenge_box(reference, Drawing(0)) == Box((0, 5, 7), (10, 5, 7))


@pytest.mark.parametrize(("number", "y", "x"), [(1, 0, 1), (2, 1, 2), (5, 2, 5)])
def test_it_is_enlarged_by_the_share_of_the_slice(number, y, x):
    """By a draw of 5 five voxels of 256, and two and a half of 128, which counts as two."""
    found = challenge_box(ell(), Drawing(number))
    assert found == Box((2, 50 - y, 100 - x), (8, 59 + y, 109 + x))


def test_it_ends_where_the_volume_does():
    reference = np.zeros((3, 256, 256), bool)
    reference[0:3, 1:10, 250:256] = True
    assert challenge_box(reference, Drawing(5)) == Box((0, 0, 245), (2, 14, 255))


def test_draws_are_the_same_for_an_object_and_cover_all_shifts():
    assert generator_of("a", 1).randint(0, 6) == generator_of("a", 1).randint(0, 6)
    assert {generator_of("a", label).randint(0, 6) for label in range(60)} == set(range(6))
    assert {generator_of(f"case {n}", 1).randint(0, 6) for n in range(60)} == set(range(6))


def test_there_is_no_box_about_nothing():
    with pytest.raises(ValueError, match="no box"):
        true_box(np.zeros((3, 3, 3), bool))
