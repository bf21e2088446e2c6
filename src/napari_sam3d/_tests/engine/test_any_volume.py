"""The same mask from arrays of any kind, and few voxels read for it."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_sam3d._tests.engine.test_predictor import ball_volume, predictor
from napari_sam3d._tests.engine.test_ways import SETTINGS, BrightSlices, cylinder
from napari_sam3d._tests.spy_array import SpyArray
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine import pieces
from napari_sam3d.engine.slicewise import SlicePredictor
from napari_sam3d.plugin.layers.arrays import Blocks
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.volume import Grid, Volume


def lazy(volume: Volume, dtype: str) -> Volume:
    data = np.asarray(volume.data)
    if dtype == "uint64":
        data = data - data.min()
    return Volume(da.from_array(data.astype(dtype), chunks=31), volume.grid, volume.name)


@pytest.mark.parametrize("dtype", ["float64", ">i2", "uint64"])
def test_the_mask_does_not_depend_on_the_kind_of_array(dtype) -> None:
    volume, truth = ball_volume()
    center = np.argwhere(truth).mean(0)
    prompts = Prompts().add(Point(tuple(center.tolist())))
    expected = predictor().predict(volume, prompts)
    found = predictor().predict(lazy(volume, dtype), prompts)
    np.testing.assert_array_equal(found.full(truth.shape), expected.full(truth.shape))


def test_a_background_of_no_number_is_no_object() -> None:
    volume, truth = ball_volume()
    data = np.asarray(volume.data, np.float64).copy()
    noise = np.random.default_rng(0).random(data.shape)
    data[~truth & (noise < 0.3)] = np.nan
    center = np.argwhere(truth).mean(0)
    prompts = Prompts().add(Point(tuple(center.tolist())))
    found = predictor().predict(Volume(data, volume.grid), prompts).full(truth.shape)
    assert 2 * (found & truth).sum() > 0.9 * (found.sum() + truth.sum())


def test_slices_of_a_lazy_volume() -> None:
    volume, truth = cylinder()
    it = SlicePredictor(BrightSlices(), model_spec("sam_vit_b"), SETTINGS)
    found = it.predict(lazy(volume, "int16"), Prompts().add(Point((9, 12, 14))))
    np.testing.assert_array_equal(found.full(truth.shape), truth)


def test_a_click_reads_its_surroundings_only(monkeypatch) -> None:
    """However large the volume is; a later one reads no more than its patch."""
    monkeypatch.setattr(pieces, "_MOMENT", 60**3)
    spy = SpyArray((20_000,) * 3, (16,) * 3, radius=9)
    volume = Volume(Blocks(spy), Grid.from_spacing(spy.shape, (2, 2, 2)))
    it, prompts = predictor(), Prompts().add(Point((10_000,) * 3))
    first = it.predict(volume, prompts)
    voxels = 4 / 3 * np.pi * spy.radius**3
    assert abs(first.mask.sum() / voxels - 1) < 0.2
    assert spy.voxels_read < 4 * (60 + 2 * 16 + 8) ** 3  # each wider patch reads anew
    spy.reads.clear()
    it.predict(volume, prompts.add(Point((10_003, 10_000, 10_000))), first)
    assert spy.voxels_read < 3 * (60 + 2 * 16 + 8) ** 3
