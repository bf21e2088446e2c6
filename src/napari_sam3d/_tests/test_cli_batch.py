"""`napari-sam3d batch` from typed words to masks, sentences and exit codes."""

from __future__ import annotations

import json

import pytest

from napari_sam3d._tests.engine.batch import balls
from napari_sam3d.cli import main


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return balls.make(tmp_path / "scans", 3)


@pytest.fixture
def predictor(monkeypatch):
    return balls.stand_in(monkeypatch)


def test_a_folder_becomes_a_folder_of_masks(predictor, capsys):
    assert main(["batch", "scans", "-o", "masks"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 of 3 cases are done in ") and out.endswith("Masks: masks\n")
    assert err == ""
    assert main(["batch", "scans", "-o", "masks"]) == 0
    out, err = capsys.readouterr()
    assert "3 of them before" in out and err == "3 of 3 cases were done before.\n"


def test_the_same_mask_as_segment_makes(predictor, capsys):
    assert main(["batch", "scans/x1.nii.gz", "-o", "masks"]) == 0
    words = ["--prompts", "scans/x1_prompts.json", "-o", "alone.nii.gz"]
    assert main(["segment", "scans/x1.nii.gz", *words]) == 0
    assert balls.stored("masks/x1_seg.nii.gz") == balls.stored("alone.nii.gz")


def test_failures_are_told_in_a_table_and_by_the_exit_code(predictor, images, capsys):
    (images / "x1.nii.gz").write_bytes(b"no image")
    (images / "x2_prompts.json").unlink()
    assert main(["batch", "scans", "-o", "masks"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("No prompts for x2.nii.gz: it is left out.\nx1: ")
    assert out.startswith("case  why it failed\nx1    ")
    assert "1 of 2 cases are done" in out and "1 failed" in out

    assert main(["batch", "scans", "-o", "masks", "--json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == "" and report["left_out"] == [str(images / "x2.nii.gz")]
    done, failed = report["cases"]
    assert (done["case"], done["known"], done["objects"][0]["voxels"]) == ("x0", True, 27)
    assert failed["case"] == "x1" and "x1.nii.gz" in failed["error"]


def test_ctrl_c_tells_what_is_left(predictor, monkeypatch, capsys):
    ask = predictor.predict

    def pressed(volume, prompts):
        if len(predictor.asked) == 2:
            raise KeyboardInterrupt
        return ask(volume, prompts)

    monkeypatch.setattr(predictor, "predict", pressed)
    assert main(["batch", "scans", "-o", "masks"]) == 130
    out, err = capsys.readouterr()
    assert out.startswith("2 of 3 cases are done.\n1 are left; the same command goes on.\n")
    assert err == "Interrupted.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("scans -o masks --model nonsense", "There is no model called"),
        ("scans -o masks --workers 0", "--workers is 0; it must be 1 or more."),
        ("scans -o masks --threads -1", "--threads is -1; it must be 1 or more, or 0."),
        ("scans -o masks --workers 2 --scheduler tcp://127.0.0.1:1", "Give --scheduler without"),
        ("scans -o masks --device nonsense", "Unknown device 'nonsense'"),
        ("scans -o masks --adapter nonsense", "There is no adapter called 'nonsense'"),
        ("scans -o masks --prompts gone", "There is no file or folder of prompts gone."),
        ("gone -o masks", "There is no file or folder gone."),
        ("scans -o gone/masks", "There is no folder"),
        ("scans -o scans/x0.nii.gz", "There is no folder scans/x0.nii.gz to write into."),
    ],
)
def test_wrong_input_ends_with_one_sentence_before_anything_runs(
    words, sentence, predictor, capsys
):
    assert main(["batch", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and sentence in err
    assert predictor.asked == []
