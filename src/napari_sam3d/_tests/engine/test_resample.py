"""Resampling: hand-checkable ramps and balls, aligned, flipped, permuted and oblique."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.resample import normalise, resample
from napari_sam3d.volume import Grid


def indices(shape: tuple[int, int, int]) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)


def ramp_on(grid: Grid) -> np.ndarray:
    """Values that are linear in the world, so that trilinear interpolation is exact."""
    return (grid.to_world(indices(grid.shape)) @ [0.3, -0.2, 0.1] + 5).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.4, 4)] * 3),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    axes=st.permutations([0, 1, 2]),
    step=st.tuples(*[st.floats(0.3, 3.5)] * 3),
)
def test_a_ramp_stays_a_ramp(spacing, flips, axes, step):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.array(spacing) * flips)[:, list(axes)]
    source = Grid((24, 26, 28), affine)
    target = source.patch((12, 12, 13), (5, 4, 6), np.array(step) * (5, 4, 6))
    found = resample(ramp_on(source), source, target).numpy()
    assert np.allclose(found, ramp_on(target), atol=1e-3)


def test_a_ramp_stays_a_ramp_when_turned():
    source = Grid.from_spacing((20, 20, 20), (1, 1, 1))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]
    target = Grid((6, 6, 6), turn @ source.patch((10, 10, 1), (6, 6, 6), (6, 6, 6)).affine)
    inside = source.to_voxel(target.to_world(indices(target.shape)))
    kept = ((inside >= 0) & (inside <= 19)).all(-1)
    assert kept.sum() > 50
    found = resample(ramp_on(source), source, target).numpy()
    assert np.allclose(found[kept], ramp_on(target)[kept], atol=1e-4)


@pytest.mark.parametrize("flip", [1, -1])
def test_a_ball_comes_back_from_an_isotropic_patch(flip):
    affine = np.eye(4)
    affine[:3, :3] = np.diag([2.5, 0.8 * flip, 0.8])[:, [1, 0, 2]]
    grid = Grid((64, 26, 64), affine)
    middle = grid.to_world(grid.center_voxel)
    ball = ((grid.to_world(indices(grid.shape)) - middle) ** 2).sum(-1) < 22**2
    extent = 60 / np.asarray(grid.spacing)
    patch = grid.patch(grid.center_voxel, (64, 64, 64), extent)
    there = resample(ball.astype(np.float32), grid, patch, fill=0)
    back = resample(there, patch, grid, fill=0).numpy() > 0.5
    assert dice(back, ball) > 0.97


def test_coarser_targets_average_instead_of_skipping():
    grid = Grid.from_spacing((16, 16, 16), (1, 1, 1))
    stripes = np.zeros(grid.shape, np.float32)
    stripes[::2] = 1
    coarse = resample(stripes, grid, grid.patch(grid.center_voxel, (4, 4, 4), (16, 16, 16)))
    assert torch.allclose(coarse, torch.full((4, 4, 4), 0.5))


def test_nearest_keeps_labels_and_fill_marks_the_outside():
    grid = Grid.from_spacing((4, 4, 4), (1, 1, 1))
    labels = np.arange(64).reshape(4, 4, 4)
    target = grid.patch((1.5, 1.5, 1.5), (6, 6, 6), (6, 6, 6))
    found = resample(labels, grid, target, fill=-1, nearest=True).numpy()
    assert np.array_equal(found[1:5, 1:5, 1:5], labels)
    assert (found[0] == -1).all() and (found[:, :, 5] == -1).all()


def test_only_the_covered_block_is_read():
    class Spy:
        shape = (100, 100, 100)
        asked = None

        def __getitem__(self, window):
            self.asked = window
            return np.zeros([s.stop - s.start for s in window], np.int16)

    spy, grid = Spy(), Grid.from_spacing((100, 100, 100), (1, 1, 1))
    resample(spy, grid, grid.patch((50, 50, 50), (8, 8, 8), (8, 8, 8)))
    assert max(s.stop - s.start for s in spy.asked) <= 12


def test_normalise_is_not_moved_by_outliers_or_nan():
    generator = torch.Generator().manual_seed(0)
    patch = torch.randn(16, 16, 16, generator=generator)
    spoilt = patch.clone()
    spoilt[0, 0, 0], spoilt[0, 0, 1] = 1e6, float("nan")
    clean = normalise(spoilt)
    assert torch.isfinite(clean).all()
    assert abs(float(clean.mean())) < 1e-4 and abs(float(clean.std()) - 1) < 1e-3
    assert torch.equal(normalise(torch.full((4, 4, 4), 7.0)), torch.zeros(4, 4, 4))
    assert torch.equal(normalise(torch.full((4, 4, 4), float("nan"))), torch.zeros(4, 4, 4))
