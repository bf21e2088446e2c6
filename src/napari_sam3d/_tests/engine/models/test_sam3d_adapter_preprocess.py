"""3DSAM-adapter's preprocessing, cropping and pasting against the released code's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from napari_sam3d.engine.models.sam3d_adapter.preprocess import (
    crop,
    native_chance,
    paste,
    prepare,
    prompt_labels,
    to_millimetres,
    to_native,
)
from napari_sam3d.engine.models.sam3d_adapter.tasks import TASKS

GOLDEN = Path(__file__).parents[2] / "golden"
SPACING = {  # of the stored axes, in millimetres
    "kits": (3.0, 0.8, 0.9),
    "lits": (0.8, 0.75, 2.5),
    "pancreas": (0.7, 0.7, 6.5),
    "colon": (1.0, 1.0, 1.0),
}
CASES = (
    *("centre", "low_corner", "high_corner", "mixed_border", "three_prompts"),
    *("smaller_than_patch", "native_grid_differs", "odd_span", "prompts_wider_than_patch"),
)
PATCH = 12


@pytest.mark.parametrize("name", TASKS)
def test_images_of_each_task(name):
    tensors = load_file(GOLDEN / "3dsam_adapter_preprocess.safetensors")
    task = TASKS[name]
    stored = tensors[f"{name}.in.image_nifti_order"]
    spacing = tuple(float(torch.tensor(s, dtype=torch.float32)) for s in SPACING[name])
    image = prepare(stored, spacing, task)
    expected = tensors[f"{name}.out.image"]
    assert image.shape == expected.shape
    assert (image - expected).abs().max() <= 1e-4
    labels = tensors[f"{name}.in.label_nifti_order"].permute(task.axes) == task.target
    assert torch.equal(labels.float(), tensors[f"{name}.out.seg"])
    on_grid = prompt_labels(labels, tuple(image.shape))
    assert torch.equal(on_grid, tensors[f"{name}.out.prompt_grid_seg"])


def test_missing_values_are_zero_and_sizes_are_rounded_down():
    task = TASKS["colon"]
    stored = torch.full((4, 4, 4), float("nan"))
    assert torch.allclose(
        prepare(stored, (1.0, 1.0, 1.0), task), torch.tensor(-task.mean / task.std)
    )
    assert to_millimetres(torch.zeros(3, 3, 3), (0.9, 1.0, 1.5)).shape == (2, 3, 4)


@pytest.mark.parametrize("case", CASES)
def test_crop_and_paste(case):
    tensors = load_file(GOLDEN / "3dsam_adapter_crop_paste.safetensors")
    image = tensors[f"img.{case}"].float()
    part = crop(image, tensors[f"{case}.in.points_dhw"], PATCH)
    assert torch.equal(part.patch, tensors[f"{case}.mid.patch"])
    assert torch.equal(part.points[:, [0, 2, 1]].float(), tensors[f"{case}.mid.points_model"])
    # the network of the reference: log odds are eight times a local mean
    chance = torch.sigmoid(8 * F.avg_pool3d(part.patch[None], 3, 1, 1)[0])
    whole = paste(chance, part.start, image.shape)
    native = tensors[f"{case}.out.prob_native"]
    shape = tuple(native.shape)
    assert (whole - tensors[f"{case}.out.prob_resampled_grid"]).abs().max() <= 1e-5
    assert (native_chance(whole, shape) - native).abs().max() <= 1e-5
    assert torch.equal(to_native(whole, shape), tensors[f"{case}.out.mask"].bool())


def test_a_patch_beyond_the_image_is_empty_and_pastes_nothing():
    part = crop(torch.ones(8, 8, 8), torch.tensor([[40, 4, 4]]), 6)
    assert not part.patch.any() and part.start == (37, 1, 1)
    assert not paste(torch.ones(6, 6, 6), part.start, (8, 8, 8)).any()
