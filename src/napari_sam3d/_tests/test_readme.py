"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_sam3d import cli
from napari_sam3d.engine import predictor as engine

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
if not README.exists():
    pytest.skip("the tests run outside a checkout", allow_module_level=True)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


COMMANDS = [
    shlex.split(line, comments=True)
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("napari-sam3d ")
]


@pytest.mark.parametrize("words", COMMANDS, ids=shlex.join)
def test_commands_are_understood(words, monkeypatch):
    ran = []
    commands = (
        *(cli.Segment, cli.Batch, cli.Train, cli.Evaluate),
        *(cli.Models, cli.Adapters, cli.Split, cli.Demo),
    )
    for command in commands:
        monkeypatch.setattr(command, "run", lambda self: ran.append(type(self).__name__.lower()))
    assert cli.main(words[1:]) == 0
    assert ran == [words[1]]


def test_scripts_exist_and_run():
    scripts = re.findall(r"^\./(\S+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert scripts
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README.read_text("utf-8"))
    missing = [t for t in targets if "://" not in t and not (ROOT / t).exists()]
    assert missing == []


def test_python_runs(tmp_path, monkeypatch):
    class Whole:
        def predict(self, volume, prompts):
            window = tuple(slice(0, n) for n in volume.grid.shape)
            mask = np.ones(volume.grid.shape, bool)
            return engine.Prediction(mask, window, volume.grid, mask.astype("f4"), 1.0, 0.0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "load_predictor", lambda settings: Whole())
    nib.save(
        nib.Nifti1Image(np.zeros((130, 90, 50), np.int16), np.diag([-1, -1, 1, 1])), "ct.nii.gz"
    )
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert np.asarray(nib.load("mask.nii.gz").dataobj).all()
