import numpy as np
import pytest

from napari_sam3d.volume import Grid, Volume


def turned(shape=(4, 6, 8), spacing=(3.0, 2.0, 1.0), degrees=10.0) -> Grid:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (5, -7, 11)
    return Grid(shape, turn @ np.diag([*spacing, 1]))


def test_grid_from_spacing_says_where_voxels_are():
    grid = Grid.from_spacing((4, 6, 8), (3, 2, 1), origin=(10, 20, 30))
    assert grid.to_world([1, 2, 3]).tolist() == [13, 24, 33]
    assert grid.to_voxel([13, 24, 33]).tolist() == [1, 2, 3]
    assert grid.spacing == (3, 2, 1)
    assert grid.extent_mm.tolist() == [12, 12, 8]


def test_grids_are_equal_by_value():
    assert turned() == turned()
    assert hash(turned()) == hash(turned())
    assert turned() != turned(degrees=11)


def test_a_voxel_has_its_volume_however_it_is_turned():
    assert turned().voxel_ml == pytest.approx(3 * 2 * 1 / 1000)
    flipped = np.diag([-3.0, 2, 1, 1])
    assert Grid((4, 6, 8), flipped).voxel_ml == pytest.approx(0.006)


def test_contains_covers_whole_voxels():
    grid = Grid.from_spacing((2, 2, 2), (1, 1, 1))
    assert grid.contains((-0.5, 0, 1.49))
    assert not grid.contains((0, 0, 1.5))


def test_patch_covers_the_box_it_was_asked_for():
    grid = turned()
    patch = grid.patch((1.5, 2.5, 3.5), (8, 8, 8), extent=(4, 6, 8))
    np.testing.assert_allclose(patch.extent_mm, grid.extent_mm)
    edge = np.array([-0.5, -0.5, -0.5])
    np.testing.assert_allclose(patch.to_world(edge), grid.to_world(edge))


def test_window_is_where_the_subarray_is():
    grid = turned()
    window = grid.window((slice(1, 3), slice(2, 6), slice(0, 8)))
    assert window.shape == (2, 4, 8)
    np.testing.assert_allclose(window.to_world([0, 0, 0]), grid.to_world([1, 2, 0]))


def test_layer_transform_keeps_the_centre_and_drops_the_tilt():
    grid = turned()
    scale, translate = grid.layer_transform()
    assert scale == pytest.approx((3, 2, 1))
    center = np.array(translate) + np.array(scale) * grid.center_voxel
    np.testing.assert_allclose(center, grid.to_world(grid.center_voxel))
    assert grid.tilt_deg == pytest.approx(10)


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((2, 2), np.eye(4)),
        ((2, 0, 2), np.eye(4)),
        ((2, 2, 2), np.eye(3)),
        ((2, 2, 2), np.diag([1, 1, 0, 1])),
        ((2, 2, 2), np.full((4, 4), np.nan)),
        ((2, 2, 2), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ],
)
def test_impossible_grids_are_refused(shape, affine):
    with pytest.raises(ValueError, match="grid"):
        Grid(shape, affine)


def test_tiny_voxels_are_no_singular_affine():
    assert Grid.from_spacing((2, 2, 2), (1e-8, 1e-8, 1e-8)).spacing == (1e-8, 1e-8, 1e-8)


def test_volume_needs_the_shape_of_its_grid():
    with pytest.raises(ValueError, match="scan"):
        Volume(np.zeros((2, 2, 3)), Grid.from_spacing((2, 2, 2), (1, 1, 1)), name="scan")
