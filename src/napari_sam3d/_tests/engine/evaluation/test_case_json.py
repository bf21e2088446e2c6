"""The scores of a case go through JSON unchanged; anything else is told in a sentence."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3d.engine.evaluation.case_json import from_json, to_json
from napari_sam3d.engine.evaluation.results import CaseScores, ObjectScores, Round
from napari_sam3d.io.json_file import read_json, write_text

NUMBERS = st.floats()
FINITE = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(0, 2**70)
TEXT = st.text(max_size=8) | st.just("\udcff.nii")  # a file name that is no UTF-8
SAID = st.tuples(*[FINITE] * 4) | st.tuples(*[FINITE] * 6)
ROUNDS = st.builds(
    Round, TEXT, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.lists(SAID, max_size=2).map(tuple)
)
OBJECTS = st.builds(
    ObjectScores, WHOLE, TEXT, WHOLE, WHOLE, NUMBERS, NUMBERS,
    st.lists(ROUNDS, max_size=2).map(tuple),
)  # fmt: skip
CASES = st.builds(
    CaseScores, TEXT, st.lists(OBJECTS, max_size=2).map(tuple), NUMBERS, WHOLE, TEXT
)  # fmt: skip

CASE = CaseScores(
    "a",
    (ObjectScores(1, "liver", 1, 9, 0.5, 1.5, (Round("1", 0.5, 0.4, 2.0, 0.1, ((1, 2, 3, 1),)),)),),
    2.5,
    7,
)


def same(one: object, other: object) -> bool:
    """Equal, where what is no number equals itself."""
    return repr(one) == repr(other)


@settings(deadline=None, max_examples=80)
@given(case=CASES)
def test_scores_are_the_same_after_a_file(tmp_path_factory, case):
    path = tmp_path_factory.mktemp("scores") / "case.json"
    value = {"format": "napari-sam3d case", "version": 1, "scores": to_json(case)}
    write_text(path, json.dumps(value, allow_nan=False, ensure_ascii=False), overwrite=True)
    assert same(from_json(read_json(path, "napari-sam3d case", 1)["scores"]), case)


def test_what_is_no_number_is_null_and_what_has_no_end_is_named():
    found = to_json(Round("1", math.nan, 0.25, math.inf, -math.inf))
    assert found == {
        "name": "1", "dice": None, "nsd": 0.25, "hd95_mm": "inf", "seconds": "-inf", "said": [],
    }  # fmt: skip


PATHS = [
    *[("case",), ("objects",), ("seconds",), ("peak_bytes",), ("error",)],
    *[("objects", 0, key) for key in ("label", "name", "class_label", "voxels", "volume_ml")],
    *[("objects", 0, "rounds", 0, key) for key in ("name", "dice", "hd95_mm", "said")],
    *[("objects", 0, "rounds", 0, "said", 0), ("objects", 0, "rounds", 0, "said", 0, 1)],
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("wrong", [True, {"x": 1}, [[]], -(10**400)])
def test_wrong_values_are_told_with_the_file(path, wrong):
    value = json.loads(json.dumps(to_json(CASE)))
    at = value
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = wrong
    with pytest.raises(ValueError, match=r"^case\.json is damaged: .*\.$"):
        from_json(value, "case.json")


@pytest.mark.parametrize("path", [path for path in PATHS if isinstance(path[-1], str)])
def test_missing_values_are_told(path):
    value = json.loads(json.dumps(to_json(CASE)))
    at = value
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    with pytest.raises(ValueError, match=rf"has no {path[-1]}\.$"):
        from_json(value, "case.json")


@pytest.mark.parametrize("value", [None, 3, "x", [], [{}]])
def test_other_values_are_told(value):
    with pytest.raises(ValueError, match="stands for a case"):
        from_json(value)
