"""The arithmetic of hand edits, against a model of whole volumes."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_sam3d.engine.prediction import Prediction
from napari_sam3d.plugin.session.hand_blocks import block_at, listed, together
from napari_sam3d.plugin.session.hand_edits import HandEdits
from napari_sam3d.volume import Grid

SHAPE = (7, 9, 11)
ALL = tuple(slice(0, n) for n in SHAPE)


def window_of(corner, size):
    return tuple(slice(a, min(a + s, n)) for a, s, n in zip(corner, size, SHAPE, strict=True))


WINDOWS = st.builds(
    window_of,
    st.tuples(*(st.integers(0, n - 1) for n in SHAPE)),
    st.tuples(*(st.integers(1, n) for n in SHAPE)),
)
STROKES = st.lists(st.tuples(WINDOWS, st.integers(0, 3), st.integers(0, 2**31)), max_size=8)


def paint(data, window, value, seed):
    """Paint as napari does; the blocks of what changed."""
    mask = np.random.default_rng(seed).random(data[window].shape) < 0.6
    before = data[window].copy()
    data[window][mask] = value
    return block_at(window, mask, before, np.broadcast_to(np.uint8(value), mask.shape))


def whole(strokes):
    """All strokes on a random volume: the edits, and per object what a whole volume remembers."""
    data = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    edits, states, volumes = HandEdits(), {i: np.zeros(SHAPE, np.int8) for i in (1, 2, 3)}, []
    for window, value, seed in strokes:
        old = data.copy()
        blocks = paint(data, window, value, seed)
        edits.add(blocks)
        if blocks:
            volumes.append(old)
        for number, state in states.items():
            state[(old == number) & (data != number)] = -1
            state[(old != number) & (data == number)] = 1
    return data, edits, states, volumes


@given(STROKES, WINDOWS)
def test_the_last_stroke_counts(strokes, box) -> None:
    _, edits, states, _ = whole(strokes)
    for number, state in states.items():
        got = edits.state(number, box)
        np.testing.assert_array_equal(0 if got is None else got, state[box])
        assert edits.about(number) or not state.any()


@given(STROKES, WINDOWS)
def test_what_was_given_to_others_is_held(strokes, box) -> None:
    _, edits, states, _ = whole(strokes)
    for number in states:
        others = np.any([states[i][box] == 1 for i in states if i != number], 0)
        got = edits.held(number, box)
        np.testing.assert_array_equal(False if got is None else got, others)


@given(STROKES)
def test_undo_and_redo_are_seen_in_the_voxels(strokes) -> None:
    data, edits, _, volumes = whole(strokes)
    changes = [a != b for a, b in pairwise([*volumes, data])]
    # the voxels alone cannot tell "undo paint" from "redo erase" when both touched the same ones
    assume(not any(np.array_equal(a, b) for a, b in pairwise(changes)))
    latest, count = data.copy(), len(edits.done)
    edits.sync(data)
    assert (len(edits.done), len(edits.undone)) == (count, 0)
    for n, old in reversed(list(enumerate(volumes))):
        data[:] = old
        edits.sync(data)
        assert (len(edits.done), len(edits.undone)) == (n, count - n)
    data[:] = latest
    for redone in [*volumes[1:], latest]:
        data[:] = redone
        edits.sync(data)
    assert len(edits.done) == count


@given(STROKES)
def test_what_is_forgotten_of_one_object_is_kept_of_others(strokes) -> None:
    _, edits, states, _ = whole(strokes)
    edits.forget(1)
    assert not edits.about(1)
    assert edits.state(1, ALL) is None or not edits.state(1, ALL).any()
    got = edits.state(2, ALL)
    np.testing.assert_array_equal(0 if got is None else got, states[2])
    held = edits.held(3, ALL)
    np.testing.assert_array_equal(False if held is None else held, states[2] == 1)


@given(st.lists(st.tuples(*(st.integers(0, n - 1) for n in SHAPE)), min_size=1, unique=True))
def test_listed_voxels_are_those_of_the_blocks(voxels) -> None:
    indices = list(np.array(voxels).T)
    before, after = np.zeros(len(voxels), np.uint8), np.full(len(voxels), 2, np.uint8)
    data = np.zeros(SHAPE, np.uint8)
    for block in listed(indices, before, after):
        data[block.window][block.mask] += block.after[block.mask]
    expected = np.zeros(SHAPE, np.uint8)
    expected[tuple(indices)] = 2
    np.testing.assert_array_equal(data, expected)


def test_memory_follows_the_voxels_not_their_distance() -> None:
    corners = np.array([[0, 0, 0], [299, 511, 511]])
    value = np.array([0, 0], np.uint8)
    blocks = listed(list(corners.T), value, value + 1)
    assert len(blocks) == 2
    assert sum(block.mask.size for block in blocks) == 2
    many = [corners.T[axis] for axis in range(3)]
    assert len(together([*listed(many, value, value + 1), *blocks])) == 4  # too far apart


def test_the_blocks_of_a_stroke_become_one() -> None:
    zeros, full = np.zeros((1, 4, 4), np.uint8), np.ones((1, 4, 4), bool)
    first = block_at((slice(3, 4), slice(0, 4), slice(0, 4)), full, zeros, zeros + 1)
    again = block_at((slice(3, 4), slice(2, 6), slice(0, 4)), full, zeros + 1, zeros + 2)
    (block,) = together([*first, *again])
    assert block.window == (slice(3, 4), slice(0, 6), slice(0, 4))
    assert set(block.before[block.mask]) == {0, 1}
    np.testing.assert_array_equal(block.after[0, :, 0], [1, 1, 2, 2, 2, 2])


def test_a_fill_of_two_million_voxels_is_cheap() -> None:
    window = (slice(10, 138), slice(20, 148), slice(30, 158))
    shape = (128, 128, 128)
    tracemalloc.start()
    edits = HandEdits()
    edits.add(block_at(window, np.ones(shape, bool), np.zeros(shape, np.uint8), np.uint8(1)))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 * 128**3  # a byte of mask and a byte of what was there


def prediction(step: float) -> tuple[Grid, Prediction]:
    """Logits of -3 everywhere on a patch of 6 cubed voxels, `step` voxels wide each."""
    grid = Grid.from_spacing((24, 24, 24), (3, 1, 0.5))
    patch = grid.patch((11.5, 11.5, 11.5), (6, 6, 6), (6 * step,) * 3)
    logits = np.full((6, 6, 6), -3, np.float32)
    nothing = (slice(0, 0),) * 3
    return grid, Prediction(np.zeros((0, 0, 0), bool), nothing, patch, logits, 1.0, 0.0)


@given(
    st.sampled_from([0.5, 1, 2, 3, 4]),
    st.lists(st.tuples(*[st.integers(0, 23)] * 3), min_size=1, max_size=20, unique=True),
)
@settings(deadline=None)
def test_logits_follow_the_share_that_was_painted(step, voxels) -> None:
    grid, previous = prediction(step)
    edits = HandEdits()
    zeros = np.zeros(len(voxels), np.uint8)
    edits.add(together(listed(list(np.array(voxels).T), zeros, zeros + 1)))
    got = edits.adjusted(previous, 1, grid).logits
    n = 12  # points in each patch voxel, along each axis, and the voxel each lies in
    fine = (np.arange(6 * n) + 0.5) / n - 0.5
    at = previous.patch.to_world(np.stack(np.meshgrid(fine, fine, fine, indexing="ij"), -1))
    index = np.floor(grid.to_voxel(at) + 0.5).astype(int)
    painted = np.zeros(grid.shape)
    painted[tuple(np.array(voxels).T)] = 1
    inside = np.all((index >= 0) & (index < 24), -1)
    values = np.where(inside, painted[tuple(np.clip(index, 0, 23)[..., i] for i in range(3))], 0)
    share = values.reshape(6, n, 6, n, 6, n).mean((1, 3, 5))
    np.testing.assert_allclose(got, -3 + share * 11, atol=0.01)


def test_logits_of_what_was_erased_go_down_and_others_stay() -> None:
    grid, previous = prediction(2)
    edits = HandEdits()
    box = (slice(10, 14), slice(10, 14), slice(10, 14))
    ones = np.ones((4, 4, 4), np.uint8)
    edits.add(block_at(box, ones > 0, ones, 0 * ones))
    assert edits.adjusted(previous, 2, grid) is previous
    assert edits.adjusted(previous, 1, grid).logits.min() == pytest.approx(-8, abs=1e-4)
    assert (previous.logits == -3).all()


def test_an_edited_answer_has_the_mask_that_the_user_sees_and_is_kept() -> None:
    grid, previous = prediction(2)
    window = (slice(10, 14), slice(10, 14), slice(10, 14))
    answer = replace(previous, mask=np.ones((4, 4, 4), bool), window=window)
    edits = HandEdits()
    erased = (slice(10, 11), slice(10, 14), slice(10, 14))
    ones = np.ones((1, 4, 4), np.uint8)
    edits.add(block_at(erased, ones > 0, ones, 0 * ones))
    painted = (slice(20, 21), slice(10, 11), slice(10, 11))
    one = np.ones((1, 1, 1), np.uint8)
    edits.add(block_at(painted, one > 0, 0 * one, one))
    wanted = np.zeros(grid.shape, bool)
    wanted[window] = True
    wanted[erased] = False
    wanted[painted] = True
    adjusted = edits.adjusted(answer, 1, grid)
    np.testing.assert_array_equal(adjusted.full(grid.shape), wanted)
    assert adjusted.trusted and not adjusted.graded
    assert answer.mask.all()
