"""Crops for SAM-Med3D: the released preprocessing voxel for voxel, and its way back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from napari_sam3d.engine.models.sam_med3d.crops import crop_about
from napari_sam3d.engine.models.sam_med3d.preprocess import (
    Lattice,
    normalise,
    paste_crop,
    sample_crop,
)

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = json.loads((GOLDEN / "sam_med3d_preprocess.json").read_text())["cases"]
SIZE = 24  # of the crops in the golden file


@pytest.fixture(scope="module")
def tensors():
    return load_file(GOLDEN / "sam_med3d_preprocess.safetensors")


@pytest.mark.parametrize("category", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_crops_and_pastes_are_the_released_ones(tensors, case, category):
    expected = CASES[case]["categories"][str(category)]
    affine = np.float64(np.float32(CASES[case]["affine"]))  # as NIfTI keeps it
    label = (tensors[f"{case}.in.label"] == category).astype(np.uint8)
    image = tensors[f"in16.{case}.image"].astype(np.float32)
    lattice = Lattice(image.shape, affine)
    assert lattice.shape == tuple(expected["canonical_shape"])

    whole = sample_crop(label, lattice, (0, 0, 0), max(lattice.shape), nearest=True)
    first = crop_about(np.argwhere(whole.numpy()), SIZE)
    corner = lattice.affine @ [*first, 1]
    found = np.column_stack([lattice.affine[:, :3], corner])
    assert np.abs(found - expected["roi_affine"]).max() < 1e-6

    crop = normalise(sample_crop(image, lattice, first, SIZE)).numpy()
    assert np.abs(crop - tensors[f"{case}.cat{category}.out.roi_image"]).max() < 1e-4
    label_crop = sample_crop(label, lattice, first, SIZE, nearest=True).numpy()
    assert np.array_equal(label_crop, tensors[f"{case}.cat{category}.out.roi_label"])
    pasted = paste_crop(tensors[f"{case}.cat{category}.mid.roi_pred"], lattice, first)
    assert np.array_equal(pasted.T, tensors[f"{case}.cat{category}.out.pred_zyx"])


@pytest.mark.parametrize("case", CASES)
def test_voxels_go_to_the_lattice_and_back(tensors, case):
    image = tensors[f"in16.{case}.image"]
    lattice = Lattice(image.shape, np.array(CASES[case]["affine"]))
    points = np.random.default_rng(0).uniform(-3, 40, (50, 3))
    assert np.allclose(lattice.from_source(lattice.to_source(points)), points)
    world = points @ lattice.affine[:3, :3].T + lattice.affine[:3, 3]
    source = lattice.to_source(points)
    assert np.allclose(
        source @ lattice.source_affine[:3, :3].T + lattice.source_affine[:3, 3], world
    )
    assert np.allclose(np.linalg.norm(lattice.affine[:3, :3], axis=0), 1.5)
    assert (np.diag(lattice.affine[:3, :3]) > 0).all()


class Watched:
    """An array that remembers what was read of it."""

    def __init__(self, values):
        self.values, self.shape, self.read = values, values.shape, []

    def __getitem__(self, window):
        self.read.append(window)
        return self.values[window]


def test_only_the_block_under_the_crop_is_read():
    values = np.random.default_rng(0).normal(size=(60, 50, 40)).astype(np.int16)
    affine = np.diag([-3.0, 1.5, 0.75, 1])
    image, lattice = Watched(values), Lattice(values.shape, affine)
    assert lattice.shape == (120, 50, 20)
    crop = sample_crop(image, lattice, (50, 20, 5), 10)
    (window,) = image.read
    shape = values[window].shape
    assert shape[0] <= 7 and shape[1] == 10 and shape[2] <= 21
    assert torch.equal(crop, sample_crop(values, lattice, (0, 0, 0), 120)[50:60, 20:30, 5:15])


def test_a_crop_beside_the_image_is_empty_and_a_slice_stays_one():
    lattice = Lattice((8, 8, 1), np.diag([1.5, 1.5, 5, 1]))
    assert lattice.shape == (8, 8, 1)
    values = np.ones((8, 8, 1), np.uint8)
    assert not sample_crop(values, lattice, (20, 0, 0), 6).any()
    crop = sample_crop(values, lattice, (-2, 3, -2), 6)
    assert crop.sum() == 4 * 5 and crop[2:, :5, 2].all()


def test_intensities_are_those_above_zero():
    crop = torch.tensor([-1000.0, 0, 10, 20, 30]).view(5, 1, 1)
    assert torch.allclose(normalise(crop).flatten()[2:], torch.tensor([-1.0, 0, 1]))
    below = torch.tensor([-3.0, -2, -1]).view(3, 1, 1)
    assert torch.allclose(normalise(below).flatten(), torch.tensor([-1.0, 0, 1]))
    assert not normalise(torch.full((2, 2, 2), 7.0)).any()


def test_crops_stay_about_the_clicks_while_they_hold_them():
    assert crop_about(np.array([[64, 64, 64]])).tolist() == [0, 0, 0]
    first = crop_about(np.array([[10.2, 50, 60], [30, 50, 61]]), 32)
    assert first.tolist() == [4, 34, 45]
