"""`napari-sam3d train` on a network without clicks, from its released files to a better one."""

from __future__ import annotations

import os

import nibabel as nib
import numpy as np
import pytest

from napari_sam3d._tests.engine.training.small import balls
from napari_sam3d._tests.tiny_checkpoints import save_tiny, tiny_ma_sam
from napari_sam3d.cli import main


@pytest.fixture(autouse=True)
def scans(tmp_path, monkeypatch, one_thread):
    """Three pairs in `scans`, and a tiny MA-SAM among the user's models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NAPARI_SAM3D_DATA", str(tmp_path / "data"))
    adapters, sam = tiny_ma_sam()
    save_tiny(adapters, tmp_path / "epoch_159.pth")
    save_tiny(sam, tmp_path / "some_sam")
    words = ["models", "add", "epoch_159.pth", "--base", "some_sam", "--as", "ma_sam_btcv"]
    assert main(words) == 0
    (tmp_path / "scans").mkdir()
    for number, case in enumerate(balls(3)):
        for array, word in ((case.volume.data[5:12], ""), (case.labels[5:12], "_seg")):
            nib.save(nib.Nifti1Image(array.T, np.eye(4)), f"scans/ball{number}{word}.nii.gz")


def run(*words: str) -> int:
    return main(["train", "--pairs", "scans", "--model", "ma_sam_btcv", "--device", "cpu", *words])


@pytest.mark.slow
def test_a_training_and_a_segmentation_with_its_adapter(capsys, tmp_path):
    quick = ("--steps", "2", "--validate-every", "2", "--accumulate", "1", "--precision", "fp32")
    assert run("--name", "x", *quick) == 0
    out, err = capsys.readouterr()
    assert "Step 0: Dice 0." in err and "Step 2: Dice 0." in err and "click" not in err
    assert out.startswith(("Dice ", "Not better"))
    assert run("--name", "x", "--resume", "--steps", "3") == 0
    assert "Step 3: Dice " in capsys.readouterr().err
    adapter = tmp_path / "data" / "runs" / "x" / "last.safetensors"
    words = ["segment", "scans/ball0.nii.gz", "--model", "ma_sam_btcv", "--adapter", str(adapter)]
    assert main([*words, "--output", "mask.nii.gz", "--device", "cpu"]) == 0
    assert nib.load("mask.nii.gz").shape == (20, 18, 7)


def test_labels_that_the_network_does_not_know(capsys):
    for number in range(3):
        image = nib.load(f"scans/ball{number}_seg.nii.gz")
        values = np.asarray(image.dataobj) * 7
        nib.save(nib.Nifti1Image(values.astype(np.uint8), np.eye(4)), f"scans/ball{number}_seg.nii")
        os.remove(f"scans/ball{number}_seg.nii.gz")
    assert run("--name", "x", "--steps", "2") == 2
    err = capsys.readouterr().err
    assert "has label 21, but ma_sam_btcv knows labels 1 to 12; change the labels." in err
