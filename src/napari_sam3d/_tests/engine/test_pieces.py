"""Reading in pieces: the same numbers as from memory, and no chunk twice."""

from __future__ import annotations

from collections import Counter

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3d._tests.spy_array import SpyArray
from napari_sam3d.engine import pieces
from napari_sam3d.engine.pieces import affordable, averaged, picked, sampled
from napari_sam3d.engine.resample import resample
from napari_sam3d.volume import Grid, Volume

shapes = st.tuples(*[st.integers(1, 12)] * 3)


def lazy(array: np.ndarray, chunks: tuple[int, int, int]) -> da.Array:
    return da.from_array(array, chunks=chunks)


@settings(max_examples=25, deadline=None)
@given(shape=shapes, chunks=shapes, data=st.data())
def test_pieces_fill_the_block_and_end_with_chunks(shape, chunks, data) -> None:
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    array = lazy(np.zeros(shape), chunks)
    seen = np.zeros(shape, int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", data.draw(st.integers(1, 200)))
        for low, high in pieces.pieces(array, start, stop):
            seen[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] += 1
            for axis in range(3):
                edges = {start[axis], stop[axis], *range(0, shape[axis], chunks[axis])}
                assert low[axis] in edges and high[axis] in edges
    inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    assert (seen[inside] == 1).all() and seen.sum() == seen[inside].size


@settings(max_examples=25, deadline=None)
@given(shape=shapes, chunks=shapes, factors=st.tuples(*[st.integers(1, 5)] * 3), data=st.data())
def test_means_are_those_of_the_whole_block(shape, chunks, factors, data) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    missing = data.draw(st.sampled_from([None, np.nan, np.inf]))
    if missing is not None:
        image[tuple(n // 2 for n in shape)] = missing
    pad = [(0, -n % f) for n, f in zip(shape, factors, strict=True)]
    padded = np.pad(image, pad, mode="edge")
    padded[~np.isfinite(padded)] = np.nan
    split = [part for n, f in zip(padded.shape, factors, strict=True) for part in (n // f, f)]
    boxes = padded.reshape(split).transpose(0, 2, 4, 1, 3, 5).reshape(*split[::2], -1)
    known = np.isfinite(boxes)
    expected = np.where(known, boxes, 0).sum(-1) / np.where(known.any(-1), known.sum(-1), np.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", data.draw(st.integers(1, 200)))
        for array in (image, lazy(image, chunks)):
            found = averaged(array, (0, 0, 0), shape, factors).numpy()
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_planes_are_picked_from_the_chunks_that_hold_them() -> None:
    spy = SpyArray((40, 40, 40), (10, 10, 10))
    array = da.from_array(spy, chunks=spy.chunks)
    planes = [np.array([3, 25]), np.array([0, 1, 39]), np.array([22])]
    found = picked(array, planes)
    whole = spy[:40, :40, :40]
    np.testing.assert_array_equal(found.numpy(), whole[np.ix_(*planes)])


@pytest.mark.parametrize("options", [{}, {"average": False}, {"nearest": True}, {"fill": -1.0}])
@pytest.mark.parametrize("dtype", ["bool", "uint64", ">i2", "float64", "float16"])
def test_resampling_is_the_same_from_every_array(monkeypatch, options, dtype) -> None:
    """Also in pieces that are smaller than what is read."""
    image = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 200, (30, 21, 26))
    image = image.astype(dtype)
    grid = Grid.from_spacing(image.shape, (3, 0.8, 1.1))
    targets = [
        grid.patch((14, 9, 12), (7, 6, 5), extent)
        for extent in ((30, 21, 26), (6, 6, 5), (50, 9, 9))
    ]
    expected = [resample(image.astype(np.float32), grid, it, **options) for it in targets]
    monkeypatch.setattr(pieces, "PIECE", 100)
    monkeypatch.setattr("napari_sam3d.engine.resample.PIECE", 100)
    for array in (image, lazy(image, (7, 8, 9))):
        for target, values in zip(targets, expected, strict=True):
            found = resample(array, grid, target, **options)
            assert torch.allclose(found, values, atol=1e-3)


def test_each_chunk_is_read_once(monkeypatch) -> None:
    spy = SpyArray((64, 64, 64), (16, 16, 16))
    array = da.from_array(spy, chunks=spy.chunks)
    grid = Grid.from_spacing(spy.shape, (1, 1, 1))
    monkeypatch.setattr(pieces, "PIECE", 16**3)
    resample(array, grid, grid.patch(grid.center_voxel, (5, 5, 5), spy.shape))
    assert Counter(spy.chunks_read()) == Counter(np.ndindex(4, 4, 4))


def test_a_first_look_at_a_huge_volume_ends_early_unless_it_has_coarser_levels() -> None:
    shape = (4000, 4000, 4000)
    grid = Grid.from_spacing(shape, (1, 1, 1))
    data = da.zeros(shape, chunks=500, dtype=np.uint8)
    row = [grid.patch(grid.center_voxel, (64, 64, 64), (n,) * 3) for n in (100, 500, 1000, 4000)]
    assert len(list(affordable(Volume(data, grid), row))) == 2
    assert len(list(affordable(Volume(data, grid), row[2:]))) == 1
    small = Volume(data[::8, ::8, ::8], grid.patch(grid.center_voxel, (500,) * 3, shape))
    levels = Volume(data, grid, coarser=(small,))
    assert levels.at((15, 15, 15)) is small and levels.at((7, 9, 9)) is levels
    assert len(list(affordable(levels, row))) == 4


def test_a_sample_of_a_large_volume_reads_few_chunks() -> None:
    spy = SpyArray((1000, 1000, 1000), (50, 50, 50), radius=500)
    values = sampled(da.from_array(spy, chunks=spy.chunks), 1_000_000)
    assert 0.5 < values.size / 1e6 < 2
    assert len(spy.reads) <= 5**3 * 2**3
    assert 0.4 < (values > 0).mean() < 0.65  # a ball in its cube: 0.52
    array = np.arange(1000).reshape(10, 10, 10)
    for one in (array, lazy(array, (3, 4, 5))):
        np.testing.assert_array_equal(sampled(one, 125), array[::2, ::2, ::2].ravel())
