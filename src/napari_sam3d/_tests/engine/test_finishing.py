"""Clicked parts, holes and smoothing, on masks that can be drawn on paper."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sam3d._tests.engine.test_ways import BrightSlices
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.finishing import clicked_parts, filled, finish, smoothed
from napari_sam3d.engine.prediction import Prediction, recut
from napari_sam3d.engine.slicewise import SlicePredictor
from napari_sam3d.prompts import Box, Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

WHOLE = slice(0, 12), slice(0, 12), slice(0, 12)
GRID = Grid.from_spacing((12, 12, 12), (1, 1, 1))
MASKS = arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)).filter(lambda mask: mask.any())


def at(*positions, positive=True) -> Prompts:
    return Prompts(points=tuple(Point(position, positive) for position in positions))


def prediction(mask, window=WHOLE) -> Prediction:
    patch = Grid.from_spacing((1, 1, 1), (1, 1, 1))
    return Prediction(mask, window, patch, np.zeros((1, 1, 1), np.float32), 0.5, 0.0)


@pytest.fixture
def bars() -> np.ndarray:
    """Three bars along x, of 4, 6 and 8 voxels; the second begins where the first ends, askew."""
    mask = np.zeros((12, 12, 12), bool)
    mask[2, 2, 0:4] = mask[3, 3, 4:10] = mask[8, 8, 2:10] = True
    return mask


def test_parts_that_touch_at_a_corner_are_one(bars) -> None:
    found = clicked_parts(bars, WHOLE, GRID, at((2, 2, 1)))
    assert found.sum() == 10 and not found[8].any()


def test_every_clicked_part_stays(bars) -> None:
    bars[11, 0, 0] = True
    found = clicked_parts(bars, WHOLE, GRID, at((2, 2, 1.4), (8, 8, 2.6)))
    assert found.sum() == 18


def test_a_negative_point_keeps_nothing(bars) -> None:
    prompts = Prompts(points=(Point((2, 2, 1)), Point((8, 8, 4), positive=False)))
    assert clicked_parts(bars, WHOLE, GRID, prompts).sum() == 10


def test_beside_all_parts_the_nearest_in_millimetres_stays(bars) -> None:
    # 2 voxels of 1 mm from the third bar, 1 voxel of 5 mm from the second
    thick = Grid.from_spacing((12, 12, 12), (5, 1, 1))
    bars[4, 6, 6] = True
    assert clicked_parts(bars, WHOLE, thick, at((4, 6, 6))).sum() == 1
    assert clicked_parts(bars, WHOLE, thick, at((8, 6, 6)))[8].sum() == 8
    assert clicked_parts(bars, WHOLE, GRID, at((5, 6, 6)))[4].sum() == 1


def test_a_box_keeps_the_largest_part_in_it(bars) -> None:
    assert clicked_parts(bars, WHOLE, GRID, Prompts(box=Box((0, 0, 0), (11, 11, 11)))).sum() == 10
    assert clicked_parts(bars, WHOLE, GRID, Prompts(box=Box((4, 4, 4), (11, 11, 11)))).sum() == 8
    assert clicked_parts(bars, WHOLE, GRID, Prompts(box=Box((11, 0, 0), (11, 1, 1)))).sum() == 10


def test_points_are_found_in_the_window(bars) -> None:
    window = slice(100, 112), slice(50, 62), slice(0, 12)
    grid = Grid.from_spacing((200, 200, 200), (1, 1, 1))
    assert clicked_parts(bars, window, grid, at((108, 58, 5)))[8].sum() == 8


def test_what_is_enclosed_is_filled_and_what_is_open_is_not() -> None:
    mask = np.zeros((12, 12, 12), bool)
    mask[1:6, 1:6, 1:6] = True
    mask[3, 3, 3] = False  # enclosed
    mask[2, 2, 1:3] = False  # a dent
    mask[7:, 7:, 7:] = True
    mask[11, 9, 9] = False  # at the border of the window
    expected = mask.copy()
    expected[3, 3, 3] = True
    assert np.array_equal(filled(mask), expected)


def test_a_hole_that_leaks_through_an_edge_only_is_one() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[2, 2, 2] = mask[1, 1, 2] = False  # they touch along an edge
    assert filled(mask)[2, 2, 2] and not filled(mask)[1, 1, 2]


def test_a_spike_goes_and_a_dent_closes() -> None:
    mask = np.zeros((24, 24, 24), bool)
    mask[6:18, 6:18, 6:18] = True
    mask[2:6, 12, 12] = True
    mask[17, 9, 9] = False
    grid = Grid.from_spacing(mask.shape, (1, 1, 1))
    out, window = smoothed(mask, (slice(0, 24),) * 3, grid, 1.0)
    full = np.zeros_like(mask)
    full[window] = out
    assert not full[:5].any() and full[17, 9, 9]
    assert out.sum() == pytest.approx(mask.sum(), rel=0.03)


def test_smoothing_is_in_millimetres() -> None:
    # a spike of 3 mm on a face, once along voxels of 1 mm and once along voxels of 3 mm
    mask = np.zeros((10, 30, 30), bool)
    mask[3:7, 10:20, 10:20] = True
    mask[5, 20:23, 15] = mask[2, 15, 13:16] = True
    grid = Grid.from_spacing(mask.shape, (3, 1, 1))
    out, window = smoothed(mask, (slice(0, 10), slice(0, 30), slice(0, 30)), grid, 1.0)
    full = np.zeros_like(mask)
    full[window] = out
    assert not full[5, 22].any()
    # along z a standard deviation is a third of a voxel: each slice goes with itself
    alone, place = smoothed(mask[4:6], (slice(0, 2), slice(0, 30), slice(0, 30)), grid, 1.0)
    assert np.array_equal(full[4, 10:20, 10:20], alone[0][_within(place, 10, 20)])


def _within(place, low, high):
    _, y, x = place
    return slice(low - y.start, high - y.start), slice(low - x.start, high - x.start)


def test_a_surface_at_the_border_of_the_volume_stays_there() -> None:
    mask = np.zeros((12, 12, 12), bool)
    mask[:, :, :5] = True
    out, window = smoothed(mask, WHOLE, GRID, 2.0)
    assert window == (slice(0, 12), slice(0, 12), slice(0, 5)) and out.all()


def test_the_window_grows_where_it_is_tight() -> None:
    mask = np.ones((1, 9, 9), bool)
    mask[0, 4, 4] = False
    window = slice(5, 6), slice(1, 10), slice(1, 10)
    found = finish(prediction(mask, window), GRID, at((5, 2, 2)), InferenceSettings(smooth_mm=1))
    assert found.full(GRID.shape)[5, 5, 5]
    assert all(s.stop - s.start == n for s, n in zip(found.window, found.mask.shape, strict=True))


def test_the_steps_come_in_their_order(bars) -> None:
    bars[5:10, 5:11, 1:11] = True
    bars[6:9, 6:10, 2:10] = False
    bars[7, 7, 5] = True  # a part inside the hole of another
    wanted = InferenceSettings(keep_clicked=True, fill_holes=True)
    found = finish(prediction(bars), GRID, at((7, 7, 5)), wanted)
    assert found.mask.sum() == 1
    found = finish(prediction(bars), GRID, at((5, 5, 1)), wanted)
    assert found.mask.sum() == 5 * 6 * 10


def test_without_a_wish_or_a_mask_nothing_happens(bars) -> None:
    it = prediction(bars)
    assert finish(it, GRID, at((2, 2, 1)), InferenceSettings()) is it
    empty = prediction(np.zeros((0, 0, 0), bool), (slice(0, 0),) * 3)
    wanted = InferenceSettings(keep_clicked=True, fill_holes=True, smooth_mm=2)
    assert finish(empty, GRID, at((2, 2, 1)), wanted) is empty


def test_slices_are_finished_and_finished_otherwise_without_the_network() -> None:
    bright = np.zeros((12, 12, 12), bool)
    bright[6:10, 4:9, 2:10] = True
    bright[7, 6, 5] = False
    volume = Volume((bright * 200).astype(np.int16), GRID, "tin")
    plain = InferenceSettings(device="cpu", precision="fp32", slices="axial")
    predictor = SlicePredictor(BrightSlices(), model_spec("sam_vit_b"), plain)
    prompts = at((8, 6, 5))
    raw = predictor.predict(volume, prompts)
    predictor.settings = InferenceSettings(**{**asdict(plain), "fill_holes": True})
    found = predictor.predict(volume, prompts)
    encoded = predictor.model.encoded
    full = found.full(GRID.shape)
    assert full.sum() == bright.sum() + 1 and raw.mask.sum() == bright.sum()
    assert np.array_equal(recut(raw, GRID, prompts, predictor.settings).full(GRID.shape), full)
    for changes in ({"smooth_mm": 2.0}, {"smooth_mm": 1.0}, {"fill_holes": True}, {}):
        found = recut(found, GRID, prompts, InferenceSettings(**changes))
    assert np.array_equal(found.full(GRID.shape), raw.full(GRID.shape))
    assert predictor.model.encoded == encoded


POINTS = st.lists(st.tuples(st.tuples(*[st.integers(0, 7)] * 3), st.booleans()), max_size=4).map(
    lambda said: Prompts(points=tuple(Point(p, sign) for p, sign in said))
)


@settings(deadline=None)
@given(MASKS, POINTS, st.booleans(), st.booleans())
def test_parts_and_holes_twice_are_as_once(mask, prompts, keep, fill) -> None:
    window = tuple(slice(1, 1 + n) for n in mask.shape)
    wanted = InferenceSettings(keep_clicked=keep, fill_holes=fill)
    once = finish(prediction(mask, window), GRID, prompts, wanted)
    twice = finish(once, GRID, prompts, wanted)
    assert once.mask.any() and np.array_equal(once.mask, twice.mask)
    assert keep or np.array_equal(once.mask & mask, mask)
    assert fill or not (once.mask & ~mask).any()


@settings(deadline=None)
@given(MASKS, st.tuples(*[st.floats(0.3, 5)] * 3), st.floats(0.1, 5))
def test_smoothing_leaves_something_inside_the_volume(mask, spacing, sigma_mm) -> None:
    window = tuple(slice(2, 2 + n) for n in mask.shape)
    grid = Grid.from_spacing((8, 9, 10), spacing)
    out, where = smoothed(mask, window, grid, sigma_mm)
    assert out.any() and out.shape == tuple(s.stop - s.start for s in where)
    assert all(0 <= s.start < s.stop <= n for s, n in zip(where, grid.shape, strict=True))


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(9, 16)] * 3), st.tuples(*[st.floats(1, 3)] * 3), st.floats(0.5, 2))
def test_smoothing_keeps_the_volume_of_an_ellipsoid(size, spacing, sigma_mm) -> None:
    shape = tuple(2 * n for n in size)
    radii = [n / 1.5 for n in size]
    steps = [(i - n) / r for i, n, r in zip(np.indices(shape), size, radii, strict=True)]
    mask = sum(step**2 for step in steps) <= 1
    grid = Grid.from_spacing(shape, spacing)
    out, _ = smoothed(mask, tuple(slice(0, n) for n in shape), grid, sigma_mm)
    assert out.sum() == pytest.approx(mask.sum(), rel=0.04)
