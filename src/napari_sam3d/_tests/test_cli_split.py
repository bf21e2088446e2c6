"""`napari-sam3d split`: a pickle becomes JSON, and its parts are counted."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from napari_sam3d.cli import main

FOLDS = [
    {"train": {"a": ["a.nii", "a_seg.nii"], "b": ["b.nii", "b_seg.nii"]}, "test": {}},
    {"train": {}, "val": {"a": ["a.nii", "a_seg.nii"]}},
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("split.pkl").write_bytes(pickle.dumps(FOLDS))


def test_it_is_written_and_counted(capsys):
    assert main(["split", "split.pkl", "-o", "split.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["fold", "train", "test", "val"],
        ["0", "2", "0"],
        ["1", "0", "1"],
        ["Split:", "split.json"],
    ]
    assert json.loads(Path("split.json").read_text())["folds"] == FOLDS
    assert main(["split", "split.pkl", "-o", "split.json"]) == 2
    assert "split.json exists; --overwrite replaces it" in capsys.readouterr().err
    assert main(["split", "split.json", "-o", "split.json", "--overwrite"]) == 0
    assert json.loads(Path("split.json").read_text())["folds"] == FOLDS


def test_what_cannot_be_converted_is_one_sentence_and_writes_nothing(capsys):
    class Call:
        def __reduce__(self):
            return eval, ("1 / 0",)

    Path("bad.pkl").write_bytes(pickle.dumps([Call()]))
    for words, sentence in (
        (["bad.pkl", "-o", "out.json"], "bad.pkl is not read: it names 'builtins.eval'"),
        (["none.pkl", "-o", "out.json"], "none.pkl cannot be read: No such file"),
        (["split.pkl", "-o", "out.txt"], "The file out.txt must end in .json."),
        (["split.pkl", "-o", "nowhere/out.json"], "There is no folder nowhere"),
    ):
        assert main(["split", *words]) == 2
        said = capsys.readouterr().err
        assert said.startswith(sentence) and said.count("\n") == 1
    assert sorted(os.listdir()) == ["bad.pkl", "split.pkl"]
