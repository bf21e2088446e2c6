"""Windows, by hand and against whole volumes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_sam3d.windows import around, bounding_box, common, moved, part_of, within

spans = st.tuples(st.integers(0, 7), st.integers(0, 8)).map(lambda ab: slice(ab[0], max(ab)))
windows = st.tuples(spans, spans, spans)


@given(st.lists(windows, max_size=4))
def test_the_window_around_others_is_the_box_of_their_voxels(several):
    full = np.zeros((8, 8, 8), bool)
    for window in several:
        full[window] = True
    found = around(several)
    if not full.any():
        assert found == (slice(0, 0),) * 3
        return
    at = np.argwhere(full)
    assert [s.start for s in found] == at.min(0).tolist()
    assert [s.stop for s in found] == (at.max(0) + 1).tolist()


@given(windows, windows, st.integers(0, 2**32 - 1))
def test_a_moved_mask_has_its_voxels_where_they_were(window, target, seed):
    full = np.zeros((8, 8, 8), bool)
    mask = np.random.default_rng(seed).random(full[window].shape) < 0.5
    full[window] = mask
    np.testing.assert_array_equal(moved(mask, window, target), full[target])


@given(windows, windows)
def test_what_windows_share_is_a_part_of_either_block(one, other):
    voxels = np.arange(8**3).reshape(8, 8, 8)
    shared = common(one, other)
    both = np.intersect1d(voxels[one], voxels[other])
    if shared is None:
        assert not both.size
        return
    np.testing.assert_array_equal(np.sort(voxels[shared], axis=None), both)
    for window in (one, other):
        part = part_of(window, shared)
        np.testing.assert_array_equal(voxels[window][part], voxels[shared])
        assert within(window, part) == shared


@given(windows)
def test_the_box_of_a_mask_is_the_window_that_it_fills(window):
    full = np.zeros((8, 8, 8), bool)
    full[window] = True
    assert bounding_box(full) == (window if full.any() else None)
