"""Measures that can be checked by hand."""

from __future__ import annotations

import csv
import math

import dask.array as da
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_sam3d._tests.plugin.conftest import ball
from napari_sam3d.plugin.session.measure import (
    Measures,
    longest_diameter,
    measure,
    write_csv,
)
from napari_sam3d.volume import Grid
from napari_sam3d.windows import bounding_box

SHAPE = (12, 20, 24)
SPACING = (3.0, 0.5, 0.8)


def box(shape, window) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[window] = True
    return mask


def by_hand(mask, affine) -> float:
    """The longest of the distances between all corners of all voxels."""
    steps = np.indices((2, 2, 2)).reshape(3, -1).T - 0.5
    corners = np.unique((np.argwhere(mask)[:, None] + steps).reshape(-1, 3), axis=0)
    corners = corners @ np.asarray(affine)[:3, :3].T
    return float(np.linalg.norm(corners[:, None] - corners[None], axis=-1).max())


def test_a_box_has_the_size_of_its_edges() -> None:
    mask = box(SHAPE, np.s_[2:6, 3:13, 5:25])
    image = np.broadcast_to(np.arange(24.0), SHAPE)
    found = measure(mask, image, Grid.from_spacing(SHAPE, SPACING).affine)
    assert found.voxels == 4 * 10 * 19
    assert found.volume_ml == pytest.approx(12.0 * 5.0 * 15.2 / 1000)
    assert found.diameter_mm == pytest.approx(math.hypot(12.0, 5.0, 15.2))
    assert found.mean == pytest.approx((5 + 23) / 2)


def test_a_ball_has_its_volume_and_diameter_whatever_the_spacing() -> None:
    grid = Grid.from_spacing((24, 60, 60), (2.5, 1.0, 1.0))
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    mask = np.linalg.norm(places - grid.to_world(grid.center_voxel), axis=-1) <= 25
    found = measure(mask, np.zeros(grid.shape), grid.affine)
    assert found.volume_ml == pytest.approx(4 / 3 * math.pi * 2.5**3, rel=0.01)
    assert 50 <= found.diameter_mm <= 50 + math.hypot(2.5, 1, 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_diameter_is_that_of_all_pairs_of_corners_also_on_oblique_grids(seed) -> None:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() * rng.uniform(0.4, 4, 3)
    for mask in (
        rng.random((5, 6, 7)) < 0.05,
        ball((7, 7, 7), (3, 3, 3)),
        rng.random((1, 6, 5)) > 0.7,
    ):
        if mask.any():
            assert longest_diameter(mask, affine[:3, :3]) == pytest.approx(by_hand(mask, affine))


@pytest.mark.parametrize(
    "window",
    [np.s_[3:4, 4:5, 5:6], np.s_[3:4, 4:5, 5:9], np.s_[3:4, 4:9, 5:9], np.s_[3:5, 4:6, 5:7]],
)
def test_points_lines_and_slices_have_a_diameter(window) -> None:
    mask = box(SHAPE, window)
    extent = [(s.stop - s.start) * mm for s, mm in zip(window, SPACING, strict=True)]
    assert longest_diameter(mask, np.diag(SPACING)) == pytest.approx(math.hypot(*extent))


def test_a_diagonal_is_longest_where_both_its_ends_are() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[range(9), range(9), range(9)] = True
    assert longest_diameter(mask, np.eye(3)) == pytest.approx(math.sqrt(3 * 9**2))


def test_an_empty_mask_measures_nothing() -> None:
    found = measure(np.zeros(SHAPE, bool), np.zeros(SHAPE), np.eye(4))
    assert (found.voxels, found.volume_ml, found.diameter_mm) == (0, 0.0, 0.0)
    assert math.isnan(found.mean)
    assert bounding_box(np.zeros(SHAPE, bool)) is None


def test_the_mean_leaves_out_what_is_not_a_number_and_does_not_overflow() -> None:
    mask = box(SHAPE, np.s_[0:1, 0:1, 0:4])
    image = np.zeros(SHAPE, np.float32)
    image[0, 0, :4] = [1, np.nan, 3, np.inf]
    assert measure(mask, image, np.eye(4)).mean == 2
    full = np.full(SHAPE, 32767, np.int16)
    assert measure(np.ones(SHAPE, bool), full, np.eye(4)).mean == 32767
    assert measure(mask, da.from_array(full), np.eye(4)).mean == 32767


def test_the_csv_says_names_and_units(tmp_path) -> None:
    path = tmp_path / "objects.csv"
    path.write_text("older")
    liver = Measures(8, 0.024, 6.70820393, 101.5)
    rows = [(1, 'Liver, "left"', "organ", liver), (2, "Größe", "", Measures())]
    assert write_csv(path, rows) == path
    with open(path, encoding="utf-8", newline="") as file:
        header, first, second = csv.reader(file)
    assert header[:4] == ["id", "name", "class", "volume_ml"]
    assert header[4:] == ["longest_diameter_mm", "mean_intensity", "voxels"]
    assert first == ["1", 'Liver, "left"', "organ", "0.024", "6.7082", "101.5", "8"]
    assert second == ["2", "Größe", "", "0", "0", "", "0"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_csv_that_cannot_be_written_is_a_sentence(tmp_path) -> None:
    with pytest.raises(OSError, match="is a folder"):
        write_csv(tmp_path, [])
