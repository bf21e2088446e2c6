"""Adapters from the command line: listed, brought, passed on and deleted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli import main
from napari_sam3d.engine.adapter_facts import FORMAT, read_facts
from napari_sam3d.engine.adapter_files import name_for
from napari_sam3d.engine.places import adapter_file, adapter_names, adapters_folder

BASE = model_spec("compact").weights.sha256


def write(path: Path, said: str = FORMAT, **other) -> Path:
    """An adapter of one number, and what it says of itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"model": "compact", "family": "compact", "base_sha256": BASE, **other}
    texts = {key: json.dumps(value) for key, value in facts.items()}
    save_file({"x": np.zeros(1, np.float32)}, str(path), {"format": said, **texts})
    return path


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM3D_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_a_file_goes_in_and_out_again_as_it_was(tmp_path, capsys):
    brought = write(tmp_path / "femur.safetensors", classes=["head", "neck"], cases=4)
    assert main(["adapters", "import", "femur.safetensors"]) == 0
    assert "Added the adapter femur for compact" in capsys.readouterr().out
    assert main(["adapters", "import", "femur.safetensors"]) == 2
    assert "already; choose another name" in capsys.readouterr().err
    assert main(["adapters", "import", "femur.safetensors", "--as", "femur 2"]) == 0
    assert adapter_names() == ["femur", "femur 2"]
    assert main(["adapters", "export", "femur 2", "out.safetensors"]) == 0
    assert Path("out.safetensors").read_bytes() == brought.read_bytes()
    assert main(["adapters", "export", "femur", "out.safetensors"]) == 2
    assert main(["adapters", "export", "femur", "out.safetensors", "--overwrite"]) == 0
    assert main(["adapters", "delete", "femur"]) == 0
    assert adapter_names() == ["femur 2"]


def test_the_list_tells_what_each_is(tmp_path, capsys):
    assert main(["adapters"]) == 0
    assert "no adapter yet" in capsys.readouterr().out
    write(
        adapter_file("femur"),
        classes=["head", "neck"],
        cases=4,
        dice_before=[0.61, 0.7, 0.8],
        dice_after=[0.83, 0.9, 0.9],
        date="2026-11-20",
        licence="BSD-3-Clause",
    )
    adapter_file("half").write_bytes(b"{")
    assert main(["adapters", "list"]) == 0
    told = capsys.readouterr()
    line = next(line for line in told.out.splitlines() if line.startswith("femur"))
    for cell in ("compact", "head, neck", " 4 ", "0.61 to 0.83", "2026-11-20", "BSD-3-Clause"):
        assert cell in line
    assert "half.safetensors is damaged" in told.err
    assert main(["adapters", "--json"]) == 0
    rows = {row["adapter"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["femur"]["classes"] == ["head", "neck"]
    assert "damaged" in rows["half"]["error"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"base_sha256": "0" * 64},
            "tuned on weights of compact with the SHA-256 000000000000",
        ),
        ({"model": "compact_9", "family": "compact"}, "a model that this napari-sam3d does not"),
        ({"said": "napari-sam3d-adapter/9"}, "newer napari-sam3d"),
        ({"said": "other"}, "is no adapter of napari-sam3d"),
        ({"family": 3}, "unreadable"),
    ],
)
def test_what_is_no_use_here_is_refused_in_a_sentence(tmp_path, capsys, change, sentence):
    write(tmp_path / "x.safetensors", **change)
    assert main(["adapters", "import", "x.safetensors"]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1
    assert not adapters_folder().exists() or adapter_names() == []


def test_a_file_that_ends_too_early_is_refused(tmp_path, capsys):
    path = write(tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:-2])
    assert main(["adapters", "import", "x.safetensors"]) == 2
    assert "x.safetensors is damaged" in capsys.readouterr().err
    assert main(["adapters", "import", "y.safetensors"]) == 2
    assert "no file" in capsys.readouterr().err


@pytest.mark.parametrize("action", [["delete"], ["export", "x.safetensors"]])
def test_names_that_do_not_exist_are_refused(capsys, action):
    write(adapter_file("femur"))
    word, *rest = action
    assert main(["adapters", word, "tibia", *rest]) == 2
    assert "known adapters: femur" in capsys.readouterr().err
    assert main(["adapters", word, "../femur", *rest]) == 2


def test_an_adapter_of_a_run_is_called_like_the_run(tmp_path):
    path = write(tmp_path / "best.safetensors", name="tibia")
    assert name_for(path, read_facts(path)) == "tibia"
    path = write(tmp_path / "tibia (1).safetensors", name="tibia")
    assert name_for(path, read_facts(path)) == "tibia _1"
