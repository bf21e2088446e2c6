"""Thumbnails show the object, where it is largest and as it lies."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam3d.engine.evaluation.thumbnails import Thumbnail, extremes, load, save, thumbnail
from napari_sam3d.volume import Grid, Volume


def shown(reference, spacing, mask=None, data=None) -> Thumbnail:
    data = reference * 100.0 if data is None else data
    volume = Volume(data, Grid.from_spacing(reference.shape, spacing), "case")
    mask = np.zeros_like(reference) if mask is None else mask
    return thumbnail(volume, reference, mask, case="case", name="liver", dice=0.5)


def corner(shape=(14, 40, 30)) -> np.ndarray:
    """An L whose legs are told apart in each plane, largest in slice 5 of each axis."""
    mask = np.zeros(shape, bool)
    mask[5, 5, 5:15] = mask[5, 5:12, 5] = mask[5:9, 5, 5] = True
    return mask


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_lies_across_the_longest_edge_and_is_not_turned(axis):
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 3.0
    reference = corner()
    found = shown(reference, spacing)
    plane = reference.take(5, axis)
    # all of the object of that slice, the same way up, whatever is around it
    rows, columns = np.nonzero(found.reference)
    part = found.reference[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    there = np.nonzero(plane)
    np.testing.assert_array_equal(part, plane[: there[0].max() + 1, : there[1].max() + 1][5:, 5:])
    assert (found.image > 0).tolist() == found.reference.tolist()
    assert found.aspect == pytest.approx(1.0)


def test_flipped_volumes_give_flipped_thumbnails():
    reference = np.zeros((9, 40, 40), bool)
    reference[4, 10:15, 10:25] = reference[4, 10:25, 10:15] = True
    plain = shown(reference, (3, 1, 1))
    for axes in [(1,), (2,), (1, 2)]:
        turned = shown(np.flip(reference, axes), (3, 1, 1))
        expected = np.flip(plain.reference, [axis - 1 for axis in axes])
        where, other = np.argwhere(turned.reference), np.argwhere(expected)
        np.testing.assert_array_equal(where - where.min(0), other - other.min(0))


def test_a_square_in_millimetres_with_a_margin():
    reference = np.zeros((30, 60, 60), bool)
    reference[10:14, 20:40, 20:30] = True  # 20 mm by 10 columns of 0.5 mm, across z of 2 mm
    found = shown(reference, (2.0, 1.0, 0.5))
    rows, columns = found.image.shape
    assert rows * 1.0 == pytest.approx(columns * 0.5, abs=1)
    assert rows == 32  # 20 mm and 30 % on each side
    assert found.aspect == pytest.approx(2.0)
    inside = np.argwhere(found.reference)
    np.testing.assert_allclose(inside.mean(0), (np.array(found.image.shape) - 1) / 2, atol=1)


def test_the_mask_is_that_of_the_same_slice():
    reference, mask = np.zeros((2, 7, 20, 20), bool)
    reference[3, 5:15, 5:15] = reference[2, 6:9, 6:9] = True
    mask[2] = True
    mask[3, 5:15, 5:10] = True
    found = shown(reference, (3, 1, 1), mask)
    assert found.mask.sum() == 50
    assert (found.mask & found.reference).sum() == 50


def test_large_objects_are_shown_whole_in_few_pixels():
    reference = np.zeros((3, 700, 500), bool)
    reference[1, 100:600, 100:400] = True
    found = shown(reference, (3, 1, 1))
    assert max(found.image.shape) == 160
    share = 500 * 300 / (800 * 800)
    assert found.reference.mean() == pytest.approx(share, rel=0.02)
    rows, columns = (n.max() - n.min() for n in np.nonzero(found.reference))
    assert rows / columns * found.aspect == pytest.approx(500 / 300, rel=0.03)


def test_what_is_outside_of_the_volume_is_black():
    reference = np.zeros((3, 20, 20), bool)
    reference[1, :6, :6] = True
    data = np.full(reference.shape, 50.0)
    data[reference] = 90.0
    found = shown(reference, (3, 1, 1), data=data)
    assert found.reference.sum() == 36
    assert found.image[0, 0] == 0
    assert found.image[found.reference].min() == 255


@pytest.mark.parametrize(
    "data",
    [
        np.full((1, 1, 1), np.nan),
        np.full((4, 5, 6), np.inf),
        np.zeros((4, 5, 6), ">i2"),
        np.where(np.arange(120).reshape(4, 5, 6) % 2, np.nan, 1e308),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_odd_volumes_and_empty_references_are_shown(data, there):
    found = shown(np.full(data.shape, there), (1, 1, 1), data=data)
    assert found.image.dtype == np.uint8
    assert found.image.shape == found.reference.shape == found.mask.shape
    assert found.reference.any() == there


def test_without_a_reference_the_mask_is_shown():
    mask = np.zeros((5, 30, 30), bool)
    mask[4, 20:25, 20:25] = True
    found = shown(np.zeros_like(mask), (3, 1, 1), mask)
    assert found.mask.sum() == 25
    assert found.image.shape == (8, 8)


def numbered(*dices) -> list[Thumbnail]:
    blank = np.zeros((4, 5), bool)
    return [
        Thumbnail(f"fäll {n}", "", blank.astype(np.uint8) + n, blank, ~blank, dice, 1.25)
        for n, dice in enumerate(dices)
    ]


def test_the_worst_and_the_best_are_different_ones():
    worst, best = extremes(numbered(0.5, 0.1, float("nan"), 0.9, 0.7, 0.3), 2)
    assert [it.dice for it in worst] == [0.1, 0.3]
    assert [it.dice for it in best] == [0.9, 0.7]
    worst, best = extremes(numbered(0.5, 0.1, 0.9), 4)
    assert [it.dice for it in worst] == [0.1, 0.5]
    assert [it.dice for it in best] == [0.9]
    assert extremes([], 4) == ([], [])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_saved_ones_are_read_again(tmp_path, count):
    found = numbered(0.25, float("nan"), 1.0)[:count]
    again = load(save(tmp_path / "a.npz", found))
    assert len(again) == count
    for one, other in zip(found, again, strict=True):
        assert (one.case, one.name, one.aspect) == (other.case, other.name, other.aspect)
        np.testing.assert_equal(one.dice, other.dice)
        for field in ("image", "reference", "mask"):
            array = getattr(other, field)
            np.testing.assert_array_equal(getattr(one, field), array)
            assert array.dtype == getattr(one, field).dtype


def test_other_files_are_told(tmp_path):
    path = save(tmp_path / "a.npz", numbered(0.25, 0.5))
    good = path.read_bytes()
    with np.load(path) as arrays:
        parts = dict(arrays)
    bad = [b"", b"text", good[: len(good) // 2], good[:-40]]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz is damaged"):
            load(path)
    for change in (
        {"image 1": np.zeros((4, 5))},
        {"both 0": np.zeros((3, 5), np.uint8)},
        {"dice": np.zeros(1)},
        {"aspect": np.zeros(2)},
        {"case": np.array([None, {}], object)},
    ):
        np.savez(path, **{**parts, **change})
        with pytest.raises(ValueError, match=r"a\.npz is damaged"):
            load(path)
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path / "b.npy")
    with pytest.raises(ValueError, match=r"gone\.npz cannot be read"):
        load(tmp_path / "gone.npz")
