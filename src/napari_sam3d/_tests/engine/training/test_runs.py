"""The runs that there are, known without torch."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from napari_sam3d._tests.engine.training.small import balls, settings, small_base
from napari_sam3d._tests.test_imports import SLOW, loaded_by
from napari_sam3d.engine.training import RunFolder, Step, train
from napari_sam3d.engine.training.runs import check_free, free_name, resumed_settings, runs
from napari_sam3d.labelled import PairFiles


def begin(name, cases, steps=6, stop=None):
    events = train(settings(steps=steps), cases, RunFolder.called(name), load=small_base)
    for event in events:
        if isinstance(event, Step) and event.step == stop:
            events.close()


def test_runs_tell_how_far_they_are_and_what_they_were_begun_on(tmp_path):
    assert runs() == []
    begin("first", balls(3))
    files = PairFiles(Path("x.nii.gz"), tmp_path / "x_seg.nii.gz")
    first, *others = balls(3)
    begin("second", [replace(first, files=files), *others], steps=9, stop=2)
    os.utime(RunFolder.called("first").status, (1, 1))
    newest, oldest = runs()
    assert (newest.name, newest.status, newest.step, newest.steps) == ("second", "STOPPED", 2, 9)
    assert (oldest.name, oldest.status, oldest.step, oldest.steps) == ("first", "DONE", 6, 6)
    assert newest.model == "compact" and newest.pairs == ("ball 0", "ball 1", "ball 2")
    assert newest.files == {"ball 0": PairFiles(Path("x.nii.gz").absolute(), files.labels)}
    assert oldest.files == {} and oldest.when.timestamp() == 1 and newest.when > oldest.when
    assert resumed_settings("second") == settings(steps=9)


def test_folders_that_are_damaged_are_no_runs(data_folder):
    begin("good", balls(3), stop=1)
    for name, text in (("a", "{"), ("b", "[]"), ("c", "null"), ("d", json.dumps({"x": 1}))):
        (data_folder / "runs" / name).mkdir()
        (data_folder / "runs" / name / "config.json").write_text(text)
    config = json.loads(RunFolder.called("good").config.read_text())
    for name, part in (("e", "settings"), ("f", "cases"), ("g", "files")):
        (data_folder / "runs" / name).mkdir()
        damaged = {**config, part: 7}
        (data_folder / "runs" / name / "config.json").write_text(json.dumps(damaged))
    assert [it.name for it in runs()] == ["good"]
    RunFolder.called("good").status.unlink()  # a death before the first event
    assert [(it.name, it.status, it.step) for it in runs()] == [("good", "FAILED", 0)]


def test_settings_of_another_version_are_a_sentence():
    begin("x", balls(3), stop=1)
    folder = RunFolder.called("x")
    config = folder.read_config()
    for wrong in ({"no such": 1}, {"rate": 7}, 3):
        folder.config.write_text(json.dumps({**config, "settings": wrong}))
        with pytest.raises(ValueError, match="The run x was begun by another version"):
            resumed_settings("x")


def test_names_are_free_or_get_a_number():
    check_free("x")
    assert free_name("x") == "x"
    begin("x", balls(3), stop=1)
    with pytest.raises(ValueError, match="There is a run called x already; resume it"):
        check_free("x")
    assert free_name("x") == "x-2" and free_name("x-2") == "x-2"
    assert free_name("../ä b") == "_ä b" and free_name("...") == "adapter"
    assert free_name("nul") == "nul_" and free_name("a" * 200) == "a" * 90


def test_runs_and_checks_need_no_torch():
    code = (
        "from napari_sam3d.engine.training.runs import runs\n"
        "from napari_sam3d.engine.training.preflight import preflight, mend\n"
        "from napari_sam3d.settings import TrainSettings\n"
        "runs(); next(preflight(TrainSettings(), (), 'x'))"
    )
    assert loaded_by(code, *SLOW) == ""
