"""Prompts from the dock to a file and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_sam3d._tests.nifti_files import AFFINE, forms, nifti, put, turn
from napari_sam3d._tests.plugin.conftest import ball, canvas_click, object_is, open_dock, sentences
from napari_sam3d._tests.plugin.files.test_writer import open_layer
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.layers.convert import volume_from_layer


@pytest.fixture
def image(viewer, tmp_path):
    return viewer.add_layer(scan(tmp_path / "ct.nii.gz", (24, 40, 44)))


@pytest.fixture
def chosen(monkeypatch) -> dict[str, str]:
    """What the user picks in file dialogs, and what the dialogs suggested."""
    it = {"path": ""}

    def pick(parent, title, suggested, kinds):
        it["suggested"] = suggested
        return it["path"], kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", pick)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", pick)
    return it


def scan(path, shape, affine=AFFINE):
    stored = np.zeros(shape[::-1], np.int16)
    return open_layer(put(path, nifti(stored, **forms(affine, "both"))), as_labels=False)


def menu(dock, word: str):
    (action,) = [a for a in dock.files.prompts.menu().actions() if a.text().startswith(word)]
    return action


def test_prompts_are_saved_and_loaded_by_the_menu(viewer, image, dock, chosen, qtbot, tmp_path):
    canvas_click(viewer, (12, 20, 22), image)
    canvas_click(viewer, (12, 20, 26), image, control=True)
    dock.controls.new.click()
    canvas_click(viewer, (12, 8, 8), image)
    first = ball(image.data.shape, (12, 20, 22)) & ~ball(image.data.shape, (12, 20, 26))
    second = ball(image.data.shape, (12, 8, 8))
    qtbot.waitUntil(lambda: object_is(dock, first, 1) and object_is(dock, second, 2))
    chosen["path"] = str(tmp_path / "points")
    menu(dock, "Save").trigger()
    assert chosen["suggested"] == str(tmp_path / "ct_prompts.json")
    assert dock.controls.status.text() == "Prompts saved in points.json."
    rows = json.loads((tmp_path / "points.json").read_text())["objects"]
    assert [len(row["points"]) for row in rows] == [2, 1]

    # the same patient another day: the masks come back, and what is there stays
    viewer.layers.remove(dock.session.labels)
    dock.session.set_image(None)
    dock.session.set_image(image)
    canvas_click(viewer, (4, 30, 30), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(image.data.shape, (4, 30, 30))))
    chosen["path"] = str(tmp_path / "points.json")
    menu(dock, "Load").trigger()
    assert dock.controls.status.text().startswith(
        "Loaded 2 objects from points.json. Numbers that were taken: 1 is 3 here."
    )
    qtbot.waitUntil(lambda: object_is(dock, first, 3) and object_is(dock, second, 2))
    assert object_is(dock, ball(image.data.shape, (4, 30, 30)), 1)
    dock.controls.undo.click()
    assert not (dock.session.labels.data == 3).any()


def test_prompts_land_in_the_same_place_of_another_scan(
    viewer, image, dock, chosen, qtbot, tmp_path
):
    canvas_click(viewer, (12, 20, 22), image)
    chosen["path"] = str(tmp_path / "p.json")
    menu(dock, "Save").trigger()
    finer = turn((0, 0, 5)) @ AFFINE @ np.diag([-0.8, 0.8, 1, 1])  # and stored toward the left
    finer[:3, 3] = (AFFINE @ [43, -4, 0, 1])[:3]
    other = viewer.add_layer(scan(tmp_path / "other.nii", (24, 60, 60), finer))
    qtbot.waitUntil(lambda: other in dock.images.choices)
    dock.images.value = other
    menu(dock, "Load").trigger()
    (point,) = dock.session.object.prompts.points
    expected = ras(image, (12, 20, 22))
    np.testing.assert_allclose(ras(other, point.position_voxel), expected, atol=1e-3)


def ras(layer, voxel):
    return volume_from_layer(layer).source.to_ras(np.array(voxel))


def test_a_name_that_the_dialog_did_not_ask_about(
    viewer, image, dock, chosen, tmp_path, monkeypatch
):
    old = tmp_path / "p.json"
    old.write_text("precious")
    canvas_click(viewer, (12, 20, 22), image)
    asked = []
    monkeypatch.setattr(questions, "allow", lambda text, *_: asked.append(text))
    chosen["path"] = str(tmp_path / "p")
    menu(dock, "Save").trigger()
    assert asked == ["p.json exists already."] and old.read_text() == "precious"
    chosen["path"] = str(old)  # the dialog itself has asked
    menu(dock, "Save").trigger()
    assert old.read_text() != "precious"


@pytest.mark.parametrize(
    ("content", "words"),
    [("{}", "does not hold napari-sam3d prompts"), ("[", "not JSON")],
)
def test_a_bad_file_is_one_sentence_and_nothing_is_lost(
    viewer, image, dock, chosen, tmp_path, content, words
):
    canvas_click(viewer, (12, 20, 22), image)
    points = dock.session.object.prompts
    (tmp_path / "p.json").write_text(content)
    chosen["path"] = str(tmp_path / "p.json")
    before = len(sentences())
    menu(dock, "Load").trigger()
    assert len(sentences()) == before + 1 and words in sentences()[-1]
    assert dock.session.object.prompts is points
    chosen["path"] = str(tmp_path / "none" / "p.json")
    menu(dock, "Save").trigger()
    assert "cannot be written" in sentences()[-1]
    chosen["path"] = ""  # the user thinks better of it
    menu(dock, "Save").trigger()
    menu(dock, "Load").trigger()
    assert len(sentences()) == before + 2


def test_without_points_or_image_there_is_a_sentence(viewer, loader, chosen, qtbot, tmp_path):
    dock = open_dock(viewer, loader, qtbot)
    for word in ("Save", "Load"):
        menu(dock, word).trigger()
        assert sentences()[-1] == "There is no 3D image to segment: open one first."
    image = viewer.add_layer(scan(tmp_path / "ct.nii.gz", (24, 40, 44)))
    qtbot.waitUntil(lambda: dock.session.image == image)
    menu(dock, "Save").trigger()
    assert sentences()[-1] == "There are no prompts to save: click on the object first."
    assert "suggested" not in chosen
