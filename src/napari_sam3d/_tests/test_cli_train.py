"""`napari-sam3d train` from typed words to an adapter; only the network is a stand-in."""

from __future__ import annotations

import json
import os
import signal

import nibabel as nib
import numpy as np
import pytest

from napari_sam3d._tests.engine.training.small import balls, small_base
from napari_sam3d.catalog import model_spec
from napari_sam3d.cli import main
from napari_sam3d.engine import training
from napari_sam3d.engine.places import adapters_folder

QUICK = ("--steps", "6", "--validate-every", "3", "--device", "cpu", "--precision", "fp32")


@pytest.fixture(autouse=True)
def pairs(tmp_path, monkeypatch, one_thread):
    """Three pairs in `scans`, and a folder of the user's that is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SAM3D_DATA", str(tmp_path / "data"))

    def load(settings, progress):
        model_spec(settings.model)
        return small_base(settings)

    monkeypatch.setattr(training, "load_base", load)
    (tmp_path / "scans").mkdir()
    for number, case in enumerate(balls(3)):
        for array, name in ((case.volume.data, "x"), (case.labels, "x_seg")):
            image = nib.Nifti1Image(array, np.eye(4))
            nib.save(image, tmp_path / "scans" / f"{name.replace('x', f'ball{number}')}.nii.gz")
    return "scans"


def run(*words: str) -> int:
    return main(["train", "--pairs", "scans", *words])


def status(name: str) -> dict:
    with open(f"data/runs/{name}/status.json") as file:
        return json.load(file)


def test_a_training_from_the_command_line(capsys):
    assert run("--name", "x", *QUICK, "--rate", "0.5", "--steps", "40") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("Dice ") and lines[0].endswith("on 1 held-out volume.")
    assert lines[1] == f"Adapter: {adapters_folder() / 'x.safetensors'}"
    assert "held out: ball" in err and "Step 3: Dice after 1 / 3 / 5 clicks" in err
    assert "Traceback" not in err and status("x")["state"] == "DONE"


def test_quiet_says_the_verdict_alone(capsys):
    assert run("--name", "x", *QUICK, "--quiet", "--rate", "1e-9") == 0
    out, err = capsys.readouterr()
    assert out.startswith("Not better than the model before") and err == ""
    assert not adapters_folder().exists()


def test_a_run_is_resumed_with_its_own_settings(capsys):
    assert run("--name", "x", *QUICK, "--rate", "0.5", "--seed", "7") == 0
    assert run("--name", "x", "--resume") == 2
    assert "has done its 6 steps" in capsys.readouterr().err
    assert run("--name", "x", "--resume", "--steps", "8") == 0
    assert "Step 8:" in capsys.readouterr().err
    assert status("x")["step"] == 8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--name", "a/b"), "'a/b' cannot be the name of an adapter"),
        (("--name", "x", "--resume"), "There is no run called x to resume."),
        (("--name", "x", "--pairs", "nowhere"), "There is no folder nowhere."),
        (("--name", "x", "--model", "sam9"), "There is no model called 'sam9'"),
    ],
)
def test_wrong_words_are_answered_in_a_sentence(capsys, words, sentence):
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert sentence in err and err.count("\n") == 1 and out == ""
    assert not os.path.exists("data")


def test_a_name_that_is_taken_is_told_before_anything_is_read(capsys):
    assert run("--name", "x", *QUICK) == 0
    capsys.readouterr()
    assert run("--name", "x", "--pairs", "nowhere") == 2
    assert "There is a run called x already; resume it or choose" in capsys.readouterr().err


def test_models_that_cannot_be_tuned_are_named(capsys, monkeypatch):
    from napari_sam3d.engine.training.loop import load_base

    monkeypatch.setattr(training, "load_base", load_base)
    assert run("--name", "x", "--model", "sam_vit_b") == 2
    assert "sam_vit_b cannot be tuned" in capsys.readouterr().err


def spoil(number: int, change) -> None:
    """Change the labels of a pair, given as array and affine."""
    path = f"scans/ball{number}_seg.nii.gz"
    image = nib.load(path)
    array, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    nib.save(nib.Nifti1Image(array, affine), path)


def cut(array, affine):
    """Without the first slice along i, where the header says so."""
    affine[0, 3] += 1
    return array[1:], affine


def test_what_is_wrong_is_told_and_mended(capsys):
    spoil(0, cut)
    assert run("--name", "x", *QUICK) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "ball0_seg.nii.gz has 20 x 18 x 15 voxels" in err and err.endswith("--fix to mend it.\n")
    assert not os.path.exists("data")
    spoil(1, lambda array, affine: (array * 0, affine))
    assert run("--name", "x", *QUICK) == 2
    err = capsys.readouterr().err
    assert "ball1_seg.nii.gz has no labelled voxel" in err and "2 problems are in the way" in err
    assert run("--name", "x", *QUICK, "--fix") == 0
    err = capsys.readouterr().err
    assert "Done: resample the labels." in err and "Done: leave it out." in err
    assert "on slices of the same volumes" in err  # of two that are left
    assert run("--name", "x", "--resume", "--fix", "--steps", "8") == 0
    with open("data/runs/x/config.json") as file:
        config = json.load(file)
    assert sorted(config["cases"]) == sorted(config["files"]) == ["ball0.nii.gz", "ball2.nii.gz"]
    assert config["files"]["ball0.nii.gz"]["labels"] == os.path.abspath("scans/ball0_seg.nii.gz")


def test_a_check_tells_all_and_tunes_nothing(capsys):
    assert run("--name", "x", *QUICK, "--check") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("good ") for line in lines) and len(lines) > 15
    assert "3 volumes, 1 kind of object, 3 objects." in "\n".join(lines)
    assert "s a step" in lines[-1] and not os.path.exists("data")
    spoil(0, cut)
    assert run("--name", "x", *QUICK, "--check") == 2
    out, err = capsys.readouterr()
    assert "problem  ball0.nii.gz: ball0_seg.nii.gz has 20 x 18 x 15 voxels" in out
    assert "s a step" not in out and "--fix" in err


def test_a_warning_does_not_stop(capsys):
    spoil(0, lambda array, affine: (np.where(np.indices(array.shape).sum(0) < 2, 9, array), affine))
    assert run("--name", "x", *QUICK) == 0
    assert "an object of fewer than 20 voxels (label 9)" in capsys.readouterr().err


def test_control_c_saves_and_the_run_goes_on(capsys, monkeypatch):
    from napari_sam3d.engine.training.tuning import Tuner

    advance = Tuner.advance

    def pressed(self, step):
        if step == 4:
            signal.raise_signal(signal.SIGINT)
        return advance(self, step)

    monkeypatch.setattr(Tuner, "advance", pressed)
    assert run("--name", "x", *QUICK) == 130
    assert "Saved; --resume goes on from there." in capsys.readouterr().err
    assert (status("x")["state"], status("x")["step"]) == ("STOPPED", 4)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.setattr(Tuner, "advance", advance)
    assert run("--name", "x", "--resume") == 0
    assert status("x")["state"] == "DONE"


def test_a_failure_names_what_is_left(capsys, monkeypatch):
    from napari_sam3d.engine.training.tuning import Tuner

    advance = Tuner.advance
    monkeypatch.setattr(
        Tuner, "advance", lambda self, n: (float("nan"), 0) if n == 5 else advance(self, n)
    )
    assert run("--name", "x", *QUICK, "--rate", "0.5") == 2
    err = capsys.readouterr().err
    assert "no number any more at step 5" in err and "The best so far is " in err
    assert status("x")["state"] == "FAILED"
