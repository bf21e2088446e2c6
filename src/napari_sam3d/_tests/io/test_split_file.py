"""Splits: from a pickle and from JSON alike, and back."""

from __future__ import annotations

import json
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam3d.io.split_file import KIND, Split, find_file, read_split, write_split

PICKLED = [
    {
        "train": {"case_1": ["/imagesTr/1.nii.gz", "/labelsTr/1.nii.gz"]},
        "val": {},
        "test": {"case_2": ("imagesTr/2.nii.gz", "labelsTr/2.nii.gz")},
    },
    {"test": {"Fall „3“": ["a\\b.nii", "c.nii"]}},
]
parts = st.dictionaries(st.text(), st.dictionaries(st.text(), st.tuples(st.text(), st.text())))


def put(path, content):
    path.write_bytes(content)
    return path


def test_a_pickle_and_its_json_hold_the_same_split(tmp_path):
    split = read_split(put(tmp_path / "split.pkl", pickle.dumps(PICKLED, 2)))
    assert split.part(0, "test") == {"case_2": ("imagesTr/2.nii.gz", "labelsTr/2.nii.gz")}
    assert split.part(1, "test") == {"Fall „3“": ("a\\b.nii", "c.nii")}
    path = write_split(tmp_path / "split.json", split)
    assert read_split(path).folds == split.folds
    assert json.loads(path.read_text("utf-8")) == {
        "format": "napari-sam3d split",
        "version": 1,
        "folds": json.loads(json.dumps(PICKLED)),
    }
    with pytest.raises(FileExistsError):
        write_split(path, split)


@given(st.lists(parts, min_size=1, max_size=3))
def test_any_split_comes_back(tmp_path_factory, folds):
    path = write_split(tmp_path_factory.mktemp("split") / "x.json", Split(tuple(folds)))
    assert read_split(path).folds == tuple(folds)


@pytest.mark.parametrize(
    ("fold", "part", "sentence"),
    [
        (2, "test", "split.pkl has folds 0 to 1; there is no fold 2."),
        (-1, "test", "split.pkl has folds 0 to 1; there is no fold -1."),
        (1, "train", "Fold 1 of split.pkl has test; there is no part 'train'."),
        (0, "val", "The part 'val' of fold 0 of split.pkl has no cases."),
    ],
)
def test_what_is_not_in_a_split_is_told(tmp_path, fold, part, sentence):
    split = read_split(put(tmp_path / "split.pkl", pickle.dumps(PICKLED)))
    with pytest.raises(ValueError) as raised:
        split.part(fold, part)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ([], "no list of folds"),
        ({"train": {}}, "no list of folds"),
        (["train"], "fold 0 does not hold parts"),
        ([{1: {}}], "fold 0 does not hold parts"),
        ([{"test": [["a", "b"]]}], "fold 0, test does not hold cases"),
        ([{"test": {"c": ["a"]}}], "case 'c' does not have the paths"),
        ([{"test": {"c": ["a", None]}}], "case 'c' does not have the paths"),
        ([{"test": {}}, {"test": {3: ["a", "b"]}}], "in fold 1, test the case 3 does not"),
    ],
)
def test_what_is_no_split_is_one_sentence(tmp_path, folds, words):
    with pytest.raises(ValueError, match=rf"^x\.pkl is no split: .*{words}"):
        read_split(put(tmp_path / "x.pkl", pickle.dumps(folds)))
    if words.startswith(("no list", "fold 0,", "case")):
        text = json.dumps({"format": KIND, "version": 1, "folds": folds})
        with pytest.raises(ValueError, match=rf"^x\.json is no split: .*{words}"):
            read_split(put(tmp_path / "x.json", text.encode()))


def test_a_pickle_that_calls_something_is_not_read(tmp_path):
    class Call:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "mark"),)

    path = put(tmp_path / "x.pkl", pickle.dumps([{"test": Call()}]))
    with pytest.raises(ValueError, match=r"^x\.pkl is not read: it names '.*mkdir'"):
        read_split(path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("imagesTr/1.nii.gz", "imagesTr/1.nii.gz"),
        ("/imagesTr/1.nii.gz", "imagesTr/1.nii.gz"),
        ("/home/them/kits/imagesTr/1.nii.gz", "imagesTr/1.nii.gz"),
        ("C:\\kits\\imagesTr\\1.nii.gz", "imagesTr/1.nii.gz"),
        ("./imagesTr/./1.nii.gz", "imagesTr/1.nii.gz"),
        ("elsewhere/1.nii.gz", "1.nii.gz"),
        ("../../1.nii.gz", "1.nii.gz"),
        ("imagesTr/2.nii.gz", None),
        ("imagesTr", None),
        ("", None),
        ("a" * 10_000, None),
        ("a\0b", None),
    ],
)
def test_paths_are_found_by_their_longest_end(tmp_path, said, found):
    (tmp_path / "imagesTr").mkdir()
    for name in ("imagesTr/1.nii.gz", "1.nii.gz"):
        (tmp_path / name).touch()
    assert find_file(tmp_path, said) == (None if found is None else tmp_path / found)
