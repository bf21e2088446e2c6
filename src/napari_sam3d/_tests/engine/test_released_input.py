"""What the predictor shows the published networks is what their own code would show them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.nifti_files import nifti, put
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.fixed import FixedPredictor
from napari_sam3d.engine.models.base import Masks, PromptableModel
from napari_sam3d.engine.models.sam3d_adapter import preprocess as adapter
from napari_sam3d.engine.models.sam3d_adapter.tasks import TASKS
from napari_sam3d.engine.models.sam_med3d import preprocess as med3d
from napari_sam3d.engine.models.sam_med3d.crops import crop_about
from napari_sam3d.io import read_nifti
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings

SPACING = (1.7, 0.8, 2.3)
SHAPE = (40, 52, 23)


class Recorder(PromptableModel):
    """Keeps what it is shown, and finds nothing."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def encode_image(self, patch):
        self.patch = patch[0, 0]
        return patch

    def decode_masks(self, embedding, prompts):
        self.prompts = prompts
        return Masks(torch.full_like(embedding, -9.0), torch.zeros(1))

    @staticmethod
    def is_adapter(name):
        return True


def stored(seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(40, 80, SHAPE).astype("f4")


def affine(columns):
    """Stored axes toward three directions, such as "RAS"."""
    out = np.eye(4)
    for axis, (letter, size) in enumerate(zip(columns, SPACING, strict=True)):
        row = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}[letter]
        out[:3, axis] = 0
        out[row, axis] = size if letter in "RAS" else -size
    return out


def shown(volume, name, points, edge):
    """What the network of a row is shown for points on stored voxels, and the prompts."""
    spec = replace(model_spec(name), patch_shape=(edge,) * 3, mask_shape=None)
    model = Recorder().eval()
    settings = InferenceSettings(device="cpu", precision="fp32")
    prompts = Prompts()
    for point in volume.source.to_display(np.array(points)):
        prompts = prompts.add(Point(tuple(point.tolist())))
    FixedPredictor(model, spec, settings).predict(volume, prompts)
    return model.patch, model.prompts


@pytest.mark.parametrize("edge", [32, 48])
@pytest.mark.parametrize(("task", "axes"), [("kits", "IPL"), ("lits", "RAS"), ("colon", "RAS")])
def test_3dsam_adapter(tmp_path, task, axes, edge):
    image, at = stored(), affine(axes)
    volume = read_nifti(put(tmp_path / "a.nii", nifti(image, sform=at)))
    points = [(11, 30, 7), (14, 26, 9)]
    patch, prompts = shown(volume, f"sam3d_adapter_{task}", points, edge)

    ready = adapter.prepare(torch.from_numpy(image), SPACING, TASKS[task])
    # voxel v of the stored image is at (v + 1/2) s - 1/2 of the resampled one
    places = (np.array(points) + 0.5) * SPACING - 0.5
    order = list(TASKS[task].axes)
    resampled = np.floor(places[:, order] + 0.5)
    expected = adapter.crop(ready, torch.from_numpy(resampled), edge)
    torch.testing.assert_close(patch, expected.patch, atol=2e-4, rtol=1e-5)
    exact = places[:, order] - np.array(expected.start)
    np.testing.assert_allclose(prompts.points[0].numpy(), exact, atol=1e-4)


@pytest.mark.parametrize("edge", [32, 48])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "SRA"])
def test_sam_med3d(tmp_path, axes, edge):
    image, at = stored(), affine(axes)
    volume = read_nifti(put(tmp_path / "a.nii", nifti(image, sform=at)))
    point = (21, 25, 11)
    patch, prompts = shown(volume, "sam_med3d_turbo", [point], edge)

    lattice = med3d.Lattice(SHAPE, at)
    place = lattice.from_source(np.array([point]))
    first = crop_about(place, edge)
    ours = np.rint(place[0] - prompts.points[0, 0].numpy())
    # the released rule rounds the middle of a single voxel the other way in some crops
    assert np.abs(ours - first).max() <= 1
    expected = med3d.normalise(med3d.sample_crop(image, lattice, ours.astype(int), edge))
    torch.testing.assert_close(patch, expected, atol=2e-4, rtol=1e-4)
