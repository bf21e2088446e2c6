"""`napari-sam3d segment` with an adapter and nothing said: what it proposes, or why it does not."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.test_proposing import facts, predictor
from napari_sam3d._tests.engine.training.small import ball
from napari_sam3d.cli import main
from napari_sam3d.engine import predictor as engine
from napari_sam3d.engine.adapters import save_adapter
from napari_sam3d.engine.batch import segmenting
from napari_sam3d.engine.places import adapters_folder
from napari_sam3d.io import read_nifti
from napari_sam3d.io.label_names import read_label_names
from napari_sam3d.labelled import Labelled


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SAM3D_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(engine, "load_predictor", lambda settings, progress: predictor())


def stored(case: Labelled, path: str, axes: str) -> None:
    """Save the image of a case, whose axes are toward inferior, posterior and left, turned."""
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
    turned = nibabel.orientations.ornt_transform(
        *(nibabel.orientations.axcodes2ornt(it) for it in ("IPL", axes))
    )
    nibabel.save(nibabel.Nifti1Image(case.volume.data, affine).as_reoriented(turned), path)


def adapter(*cases: Labelled, **other) -> None:
    adapters_folder().mkdir(parents=True, exist_ok=True)
    told = facts(*cases, **other)
    save_adapter(adapters_folder() / "balls.safetensors", {"a": torch.zeros(1)}, told)


def named(case: Labelled) -> Labelled:
    """The same case with a name for its class, and away from the middle."""
    image, labels = (np.roll(it, (-2, 3, 4), (0, 1, 2)) for it in (case.volume.data, case.labels))
    return Labelled(replace(case.volume, data=image), labels, {3: "ball"})


@pytest.mark.parametrize("axes", ["RAS", "PIR"])
def test_a_class_becomes_the_label_that_it_had_whatever_the_orientation(axes, capsys):
    adapter(named(ball("one", 4)), named(ball("two", 5)))
    case = named(ball("new", 4.5, seed=7))
    stored(case, "x.nii.gz", axes)
    assert main(["segment", "x.nii.gz", "--adapter", "balls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Proposed without a click by the adapter balls:"
    assert lines[1].startswith("Object 3 (ball): ") and "expected overlap" in lines[1]
    assert lines[-1] == "Mask: x_seg.nii.gz"
    mask = read_nifti("x_seg.nii.gz").data
    assert set(np.unique(mask)) == {0, 3}
    wrong = np.count_nonzero((mask == 3) != (case.labels == 3))
    assert wrong < 0.4 * np.count_nonzero(case.labels)
    assert [(it.id, it.name) for it in read_label_names("x_seg.nii.gz")] == [(3, "ball")]


def test_what_was_not_found_is_said_and_json_names_the_adapter(capsys):
    known = facts(named(ball("one", 4)), named(ball("two", 5)))
    rare = replace(known.priors[0], label=4, name="femur", cases=1, of=3)
    adapter(priors=(*known.priors, rare))
    stored(named(ball("new", 4.5)), "x.nii.gz", "RAS")
    assert main(["segment", "x.nii.gz", "--adapter", "balls", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["adapter"], report["proposed"]) == ("balls", True)
    assert report["warnings"] == ["femur was in 1 of 3 training volumes only."]
    assert [(it["id"], it["name"]) for it in report["objects"]] == [(3, "ball")]
    words = ["--adapter", "balls", "--point", "5,5,9", "-o", "y.nii.gz", "--json"]
    assert main(["segment", "x.nii.gz", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["adapter"], report["proposed"]) == ("balls", False)


@pytest.mark.parametrize(
    ("cases", "image", "sentence"),
    [
        ((), ball("new"), "balls does not know where its objects lie"),
        ((ball("one"), ball("two")), ball("empty", 0), "label 3 was not found where it is"),
    ],
)
def test_where_nothing_can_be_proposed_a_point_is_asked_for(cases, image, sentence, capsys):
    adapter(*cases)
    stored(image, "x.nii.gz", "RAS")
    assert main(["segment", "x.nii.gz", "--adapter", "balls"]) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Say where the object is with --point i,j,k." in said


def test_without_an_adapter_a_point_is_asked_for_as_ever(capsys):
    stored(ball("new"), "x.nii.gz", "RAS")
    assert main(["segment", "x.nii.gz"]) == 2
    assert "Say where the object is with --point i,j,k." in capsys.readouterr().err


def test_a_batch_proposes_what_segment_proposes(capsys, monkeypatch):
    adapter(named(ball("one", 4)), named(ball("two", 5)))
    for number, size in enumerate((4.5, 5)):
        stored(named(ball("new", size, seed=number)), f"x{number}.nii.gz", "RAS")
    monkeypatch.setattr(segmenting, "_loaded", {})
    images = ["x0.nii.gz", "x1.nii.gz"]
    assert main(["batch", *images, "-o", "masks", "--adapter", "balls"]) == 0
    assert "2 of 2 cases are done" in capsys.readouterr().out
    for image in images:
        assert (
            main(["segment", image, "--adapter", "balls", "-o", "alone.nii.gz", "--overwrite"]) == 0
        )
        mask = read_nifti(f"masks/{image[:2]}_seg.nii.gz").data
        assert 3 in mask and np.array_equal(mask, read_nifti("alone.nii.gz").data)
