"""Labels that lie on other voxels than their image are moved there, each kept as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from napari_sam3d.engine.training.checking.grids import moved
from napari_sam3d.volume import Grid


def turn(degrees) -> np.ndarray:
    """A rotation about the three axes, one after the other."""
    out = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        a, b = (i for i in range(3) if i != axis)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        out = one @ out
    return out


def about(shape, spacing, degrees, middle_mm) -> Grid:
    """A turned grid whose middle is at a point."""
    affine = np.eye(4)
    affine[:3, :3] = turn(degrees) * np.asarray(spacing)
    affine[:3, 3] = np.asarray(middle_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def test_a_label_lands_on_the_voxel_at_its_place():
    source = Grid.from_spacing((4, 4, 4), (1, 1, 1))
    target = Grid.from_spacing((3, 8, 4), (1, 0.5, 1), (1, -0.25, 0))
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 2, 3] = 7
    labels[0, 0, 0] = 9  # above the target
    out = moved(labels, source, target)
    assert np.argwhere(out == 7).tolist() == [[0, 4, 3], [0, 5, 3]]  # one voxel in two halves
    assert np.unique(out).tolist() == [0, 7] and out.dtype == np.uint8


def test_the_same_grid_changes_nothing():
    grid = about((5, 6, 7), (2, 1, 0.7), (10, 20, 30), (4, 5, 6))
    labels = np.random.default_rng(0).integers(0, 4, grid.shape)
    assert (moved(labels, grid, grid) == labels).all()


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.float64])
def test_large_labels_keep_their_value_and_their_kind(dtype):
    grid = Grid.from_spacing((4, 4, 4), (1, 1, 1))
    labels = np.zeros(grid.shape, dtype)
    labels[1:3, 1:3, 1:3] = 2**25 + 1  # more than float32 tells apart
    out = moved(labels, grid, Grid.from_spacing((8, 8, 8), (0.5,) * 3, (-0.25,) * 3))
    assert out.dtype == dtype and np.unique(out).tolist() == [0, 2**25 + 1]
    assert (out > 0).sum() == 64


def test_what_lies_outside_is_background():
    grid = Grid.from_spacing((3, 3, 3), (1, 1, 1))
    far = Grid.from_spacing((3, 3, 3), (1, 1, 1), (10, 0, 0))
    assert not moved(np.ones(grid.shape, int), grid, far).any()


SPACING = st.tuples(*[st.floats(0.7, 1.6)] * 3)
DEGREES = st.tuples(*[st.floats(-180, 180)] * 3)
SHIFT = st.tuples(*[st.floats(-1, 1)] * 3)


@given(SPACING, SPACING, DEGREES, DEGREES, SHIFT)
@limits(max_examples=40, deadline=None)
def test_the_middle_of_each_label_stays_where_it_is(first, second, degrees, others, shift):
    """Two balls far from the border: half a voxel along each axis, however grids are turned."""
    source = about((40, 40, 40), first, degrees, (0, 0, 0))
    target = about((44, 44, 44), second, others, shift)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in source.shape], indexing="ij"), -1)
    world = source.to_world(index)
    labels = np.zeros(source.shape, np.uint16)
    centres = {3: turn(degrees) @ [0, 0, -6.0], 700: turn(degrees) @ [0, 0, 6.0]}
    for label, centre in centres.items():
        labels[((world - centre) ** 2).sum(-1) < 5**2] = label
    out = moved(labels, source, target)
    assert np.unique(out).tolist() == [0, *centres]
    for label in centres:
        before = np.argwhere(labels == label).mean(0)
        after = source.to_voxel(target.to_world(np.argwhere(out == label))).mean(0)
        assert np.abs(after - before).max() < 0.5 + 0.1  # of its voxels, and for the balls' rims
