"""Names of runs tell what they are for, and are free."""

from __future__ import annotations

import datetime

import pytest

from napari_sam3d._tests.plugin.tuning.conftest import ball_pair
from napari_sam3d.engine.places import adapters_folder, runs_folder
from napari_sam3d.plugin.tuning.run_name import run_name, subject

NOW = datetime.datetime(2026, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({}, "object"),
        ({1: "left femur"}, "left femur"),
        ({1: "anterior hippocampus", 2: "posterior hippocampus"}, "hippocampus"),
        ({1: "liver", 2: "spleen", 3: "aorta"}, "liver and 2 more"),
    ],
)
def test_the_labels_are_what_it_is_for(names, told) -> None:
    assert subject([ball_pair(names=names)]) == told


def test_a_name_never_meets_another_run_or_adapter() -> None:
    first = run_name("left femur", "compact", NOW)
    assert first == "left-femur_compact_20260203-0405"
    (runs_folder() / first).mkdir(parents=True)
    (runs_folder() / first / "config.json").touch()
    second = run_name("left femur", "compact", NOW)
    adapters_folder().mkdir(parents=True, exist_ok=True)
    (adapters_folder() / f"{second}.safetensors").touch()
    assert (second, run_name("left femur", "compact", NOW)) == (f"{first}-2", f"{first}-3")
