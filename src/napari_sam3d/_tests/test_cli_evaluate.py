"""`napari-sam3d evaluate` with the shipped model on small phantoms."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from napari_sam3d.cli import main
from napari_sam3d.io import write_image, write_labels
from napari_sam3d.volume import Grid


@pytest.fixture
def pairs(tmp_path):
    """Two volumes with a bright and a dark ball."""
    folder = tmp_path / "scans"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    (folder / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "2": "ball"}}))
    grid = Grid.from_spacing((32, 32, 32), (1.0, 1.0, 1.0))
    place = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1)
    for number, middle in enumerate([(12, 14, 16), (18, 16, 14)]):
        ball = ((place - np.array(middle)) ** 2).sum(-1) < 64
        image = np.random.default_rng(number).normal(100, 4, ball.shape) + 80 * ball
        write_image(folder / "imagesTr" / f"c{number}_0000.nii.gz", image.astype(np.float32), grid)
        write_labels(folder / "labelsTr" / f"c{number}.nii.gz", 2 * ball.astype(np.uint8), grid)
    return folder


def test_a_table_and_all_files_come_out(pairs, tmp_path, capsys):
    out = tmp_path / "scores"
    args = ["evaluate", "--pairs", str(pairs), "-o", str(out), "--clicks", "2", "--quiet"]
    assert main(args) == 0
    told = capsys.readouterr().out
    assert "ball" in told and "NSD at 2 mm" in told and str(out) in told
    with open(out / "results.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(it["case"], it["round"]) for it in lines] == [
        (case, round_) for case in ("c0", "c1") for round_ in ("box", "1", "2")
    ]
    assert float(lines[2]["dice"]) > 0.85
    assert (out / "picture.png").is_file() and (out / "table.md").is_file()

    before = (out / "results.json").read_text()
    assert main(args) == 0  # the same again: nothing is measured anew
    assert (out / "results.json").read_text() == before
    assert main([*args, "--protocol", "ma-sam"]) == 2
    assert "another protocol" in capsys.readouterr().err
    assert main([*args, "--protocol", "ma-sam", "--overwrite"]) == 0
    assert "relaxed" in (out / "results.csv").read_text()


def test_a_case_that_fails_is_told_and_the_others_go_on(pairs, tmp_path, capsys):
    (pairs / "imagesTr" / "c0_0000.nii.gz").write_bytes(b"no image")
    out = tmp_path / "scores"
    code = main(["evaluate", "--pairs", str(pairs), "-o", str(out), "--protocol", "ma-sam"])
    told = capsys.readouterr()
    assert code == 1
    assert "c0" in told.err and "ball" in told.out and "c0" in (out / "table.md").read_text()


def test_wrong_input_is_one_sentence(tmp_path, capsys):
    assert main(["evaluate", "--pairs", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
