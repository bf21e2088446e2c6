"""Where the network looks: growing first guesses, and patches that hold mask and clicks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3d.engine.patches import fit_patch, zoom_patches
from napari_sam3d.volume import Grid

SHAPE = (16, 16, 16)
GRID = Grid.from_spacing((40, 120, 100), (3, 0.8, 0.8))


def box_mask(low, high) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_first_guesses_grow_to_the_whole_volume():
    patches = list(zoom_patches(GRID, np.array([[5.0, 10, 90]]), SHAPE))
    edges = [p.extent_mm.max() for p in patches]
    assert edges == sorted(edges) and len(edges) < 12
    assert (patches[-1].extent_mm >= GRID.extent_mm - 1e-6).all()
    assert all(p.contains(p.to_voxel(GRID.to_world((5, 10, 90)))) for p in patches)


@pytest.mark.parametrize(("low", "high"), [(20.0, 20.0), (10.0, 30.0), (1.0, 500.0)])
def test_first_guesses_are_of_the_sizes_that_are_known(low, high):
    middle = np.array([[20.0, 60, 50]])
    edges = [p.extent_mm.max() for p in zoom_patches(GRID, middle, SHAPE, (low, high))]
    every = [p.extent_mm.max() for p in zoom_patches(GRID, middle, SHAPE)]
    assert edges == sorted(edges) and len(edges) <= len(every)
    assert edges[0] == pytest.approx(max(0.8 * low, every[0]))
    assert edges[-1] <= min(2 * high, max(every)) * 1.001
    assert edges[-1] >= min(1.1 * high, GRID.extent_mm.max())


@settings(max_examples=80, deadline=None)
@given(
    low=st.tuples(*[st.integers(0, 10)] * 3),
    size=st.tuples(*[st.integers(1, 6)] * 3),
    centre=st.tuples(st.floats(0, 39), st.floats(0, 119), st.floats(0, 99)),
    edge=st.floats(12, 150),
)
def test_a_fitted_patch_holds_the_mask_and_the_clicks(low, size, centre, edge):
    patch = GRID.patch(centre, SHAPE, edge / np.asarray(GRID.spacing))
    mask = box_mask(low, np.add(low, size))
    click = np.clip(GRID.to_voxel(patch.to_world(low)), 0, np.asarray(GRID.shape) - 1)
    fitted = fit_patch(GRID, patch, mask, click[None]) or patch
    corners = GRID.to_voxel(patch.to_world(np.argwhere(mask)))
    inside = corners[((corners >= 0) & (corners <= np.asarray(GRID.shape) - 1)).all(1)]
    for point in [*inside, click]:
        assert fitted.contains(fitted.to_voxel(GRID.to_world(point)))
    assert fitted.extent_mm.max() / fitted.extent_mm.min() < 8


def test_a_mask_at_the_border_is_followed():
    patch = GRID.patch((20, 60, 50), SHAPE, (10, 40, 40))
    fitted = fit_patch(GRID, patch, box_mask((4, 4, 8), (12, 12, 16)), np.array([[20.0, 60, 60]]))
    assert fitted is not None
    before, after = (
        GRID.to_voxel(g.to_world(np.array([16.0, 16, 16])))[2] for g in (patch, fitted)
    )
    assert after > before + 5


def test_a_patch_that_fits_is_kept():
    patch = GRID.patch((20, 60, 50), SHAPE, (10, 37, 37))
    assert (
        fit_patch(GRID, patch, box_mask((3, 3, 3), (13, 13, 13)), np.array([[20.0, 60, 50]]))
        is None
    )
    assert fit_patch(GRID, patch, np.zeros(SHAPE, bool), np.array([[20.0, 60, 50]])) is None
