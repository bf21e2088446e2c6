"""Which images are taken, and which prompts belong to them."""

from __future__ import annotations

import shutil

import pytest
import torch

from napari_sam3d._tests.engine.batch import balls
from napari_sam3d._tests.engine.test_proposing import facts
from napari_sam3d._tests.engine.training.small import ball
from napari_sam3d.engine.adapters import save_adapter
from napari_sam3d.engine.batch.planning import plan
from napari_sam3d.settings import InferenceSettings

COMPACT = InferenceSettings()


@pytest.fixture
def images(tmp_path):
    return balls.make(tmp_path / "scans", 3)


def test_images_are_taken_without_labels_and_further_channels(images, tmp_path):
    for name in ("x0_seg", "y_0000", "y_0001"):
        shutil.copy(images / "x0.nii.gz", images / f"{name}.nii.gz")
    what = plan([images], tmp_path / "masks", None, InferenceSettings(model="ma_sam_btcv"))
    assert [task.case for task in what.tasks] == ["x0", "x1", "x2", "y_0000"]
    assert what.tasks[0].mask == tmp_path / "masks" / "x0_seg.nii.gz"
    assert not (tmp_path / "masks").exists() and what.left_out == ()
    assert {task.prompts for task in what.tasks} == {None}  # the model finds them by itself


def test_masks_among_the_images_are_no_images(tmp_path):
    for name in ("scans", "imagesTr"):  # the second holds nothing but images, by its name
        images = balls.make(tmp_path / name, 2)
        shutil.copy(images / "x0.nii.gz", images / "x0_seg.nii.gz")
        shutil.copy(images / "x0_prompts.json", images / "x0_seg_prompts.json")
        assert [task.case for task in plan([images], images, None, COMPACT).tasks] == ["x0", "x1"]


def test_prompts_lie_beside_the_images_as_the_dock_saves_them(images, tmp_path):
    (images / "x1_prompts.json").rename(images / "x1_seg_prompts.json")
    (images / "x2_prompts.json").unlink()
    what = plan([images], tmp_path / "masks", None, COMPACT)
    names = [task.prompts.name for task in what.tasks]
    assert names == ["x0_prompts.json", "x1_seg_prompts.json"]
    assert [path.name for path in what.left_out] == ["x2.nii.gz"]


def test_prompts_come_from_a_folder_or_one_file(images, tmp_path):
    clicks = tmp_path / "clicks"
    clicks.mkdir()
    (images / "x1_prompts.json").rename(clicks / "x1.json")
    (images / "x2_prompts.json").rename(clicks / "x2_prompts.json")
    what = plan([images], tmp_path / "masks", clicks, COMPACT)
    assert [task.prompts.name for task in what.tasks] == ["x1.json", "x2_prompts.json"]
    what = plan([images], tmp_path / "masks", clicks / "x1.json", COMPACT)
    assert {task.prompts for task in what.tasks} == {clicks / "x1.json"} and len(what.tasks) == 3


def test_an_adapter_that_proposes_needs_no_prompts_and_one_that_does_not_needs_them(
    images, tmp_path
):
    for name, cases in (("knows", (ball("one"), ball("two"))), ("not", ())):
        save_adapter(tmp_path / f"{name}.safetensors", {"a": torch.zeros(1)}, facts(*cases))
    for name, silent in (("knows", True), ("not", False)):
        settings = InferenceSettings(adapter=str(tmp_path / f"{name}.safetensors"))
        what = plan([images], tmp_path / "masks", None, settings)
        assert {task.prompts is None for task in what.tasks} == {silent}
    what = plan([images], tmp_path / "masks", images, settings)  # unless they are asked for
    assert all(task.prompts is not None for task in what.tasks)
    assert len(what.config["adapter"]) == 64  # its content counts, not where it is


def test_what_cannot_be_is_said_in_a_sentence(images, tmp_path):
    masks = tmp_path / "masks"

    def refused(*paths, prompts=None, output=masks):
        with pytest.raises(ValueError) as error:
            plan(paths, output, prompts, COMPACT)
        return str(error.value)

    assert "no file or folder" in refused(tmp_path / "gone")
    assert "is no NIfTI image" in refused(images / "x0_prompts.json")
    assert "no file or folder of prompts" in refused(images, prompts=tmp_path / "gone")
    other = balls.make(tmp_path / "other", 1)
    assert "would both become x0_seg.nii.gz" in refused(images, other)
    shutil.copy(images / "x0.nii.gz", images / "x0_seg.nii.gz")
    shutil.copy(images / "x0_prompts.json", images / "x0_seg_prompts.json")
    both = images / "x0.nii.gz", images / "x0_seg.nii.gz"
    assert "would replace the image" in refused(*both, output=images)
    for path in images.glob("*.json"):
        path.unlink()
    assert "no prompts for any of the 3 images: beside them" in refused(images)
