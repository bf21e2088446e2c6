"""The menu beside the adapters: import, export, delete, and files that change meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_sam3d._tests.test_cli_adapters import write
from napari_sam3d.engine.places import adapter_file, adapter_names
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.layers.convert import layer_data
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.samples import load_sample


@pytest.fixture
def dock(qtbot, loader):
    notification_manager.records.clear()
    it = SegmentWidget(ViewerModel(), loader)
    qtbot.addWidget(it)
    yield it
    it.teardown()


@pytest.fixture
def picks(monkeypatch):
    """Answers the next dialogs for files."""

    def picks(path: object) -> None:
        for name in ("getOpenFileName", "getSaveFileName"):
            monkeypatch.setattr(QFileDialog, name, lambda *_: (str(path), ""))

    return picks


def menu(dock: SegmentWidget):
    return dock.model._adapters.menu


def choose(dock: SegmentWidget, name: str) -> None:
    dock.set_value(replace(dock.value(), adapter=name))
    assert dock.value().adapter == name


def refusals() -> list[str]:
    return [it.message for it in notification_manager.records]


def status(dock: SegmentWidget) -> str:
    return dock.controls.status.text()


def test_a_new_user_finds_import_and_gets_the_adapter_chosen(dock, picks, tmp_path):
    assert not dock.model.adapter.isHidden()
    assert menu(dock).bring.isEnabled() and not menu(dock).export.isEnabled()
    facts = {"classes": ["femur"], "cases": 3, "licence": "BSD-3-Clause"}
    picks(write(tmp_path / "leg.safetensors", **facts))
    menu(dock).bring.trigger()
    assert (dock.value().model, dock.value().adapter) == ("compact", "leg")
    assert "leg: compact, tuned on 3 volumes (femur)." in status(dock)
    assert "BSD-3-Clause" in status(dock)
    assert "femur" in dock.model.form.row("adapter").native.toolTip()
    assert menu(dock).export.isEnabled()
    assert adapter_file("leg").read_bytes() == (tmp_path / "leg.safetensors").read_bytes()


def test_an_adapter_of_another_model_brings_its_model(dock, picks, tmp_path):
    dock.model.row.value = "medsam"
    assert dock.model.adapter.isHidden()
    picks(write(tmp_path / "leg.safetensors"))
    menu(dock).bring.trigger()
    assert (dock.value().model, dock.value().adapter) == ("compact", "leg")
    assert not dock.model.adapter.isHidden()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base_sha256": "0" * 64}, "tuned on weights of compact with"),
        ({"said": "napari-sam3d-adapter/9"}, "newer napari-sam3d"),
        ({"said": "other"}, "is no adapter"),
    ],
)
def test_what_is_no_use_here_is_refused(dock, picks, tmp_path, change, sentence):
    picks(write(tmp_path / "leg.safetensors", **change))
    menu(dock).bring.trigger()
    assert [sentence in it for it in refusals()] == [True]
    assert adapter_names() == [] and dock.value().adapter == ""


def test_names_that_are_taken_are_asked_about(dock, picks, tmp_path, monkeypatch):
    write(adapter_file("leg"), cases=1)
    brought = write(tmp_path / "leg.safetensors", cases=9)
    picks(brought)
    for answer, names in ((None, ["leg"]), (0, ["leg", "leg 2"]), (1, ["leg", "leg 2"])):
        monkeypatch.setattr(questions, "choose", lambda text, options, parent, a=answer: a)
        menu(dock).bring.trigger()
        assert adapter_names() == names
        assert dock.value().adapter == {None: "", 0: "leg 2", 1: "leg"}[answer]
    assert adapter_file("leg").read_bytes() == brought.read_bytes()
    picks(adapter_file("leg 2"))  # is there already
    menu(dock).bring.trigger()
    assert dock.value().adapter == "leg 2" and adapter_names() == ["leg", "leg 2"]


def test_export_writes_the_same_file_and_says_what_hinders_it(dock, picks, tmp_path):
    path = write(adapter_file("leg"))
    dock.model._adapters.names.refresh()
    choose(dock, "leg")
    picks(tmp_path / "mine")
    menu(dock).export.trigger()
    assert (tmp_path / "mine.safetensors").read_bytes() == path.read_bytes()
    picks(path)
    menu(dock).export.trigger()
    picks(tmp_path / "nowhere" / "mine.safetensors")
    menu(dock).export.trigger()
    assert ["itself" in refusals()[0], "cannot be written" in refusals()[1]] == [True, True]


def test_deleting_the_adapter_in_use_leaves_the_plain_model(dock, monkeypatch):
    write(adapter_file("leg"))
    dock.model._adapters.names.refresh()
    choose(dock, "leg")
    asked = []
    monkeypatch.setattr(questions, "allow", lambda text, *_: asked.append(text))
    menu(dock).delete.trigger()
    assert dock.value().adapter == "leg" and str(adapter_file("leg")) in asked[0]
    monkeypatch.setattr(questions, "allow", lambda *_: True)
    menu(dock).delete.trigger()
    assert dock.value().adapter == "" and adapter_names() == []
    assert "Deleted the adapter leg" in status(dock)
    assert not menu(dock).delete.isEnabled()


def test_about_tells_everything(dock, monkeypatch):
    write(
        adapter_file("leg"),
        cases=1,
        classes=["femur"],
        dice_before=[0.61, 0.7, 0.8],
        dice_after=[0.83, 0.9, 0.95],
        held_out=["scan 7"],
        date="2026-11-20",
        licence="Apache-2.0",
    )
    dock.model._adapters.names.refresh()
    choose(dock, "leg")
    shown = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: shown.append(box.text()))
    menu(dock).about.trigger()
    for word in ("1 volume (femur)", "0.61 to 0.83", "0.80 to 0.95", "scan 7", "Apache-2.0"):
        assert word in shown[0]
    Path(adapter_file("leg")).unlink()
    menu(dock).about.trigger()
    assert "There is no adapter called 'leg'" in refusals()[0]


def test_an_adapter_that_is_replaced_on_the_disk_is_loaded_anew(dock, qtbot, loader):
    data, meta, _ = layer_data(load_sample("phantom").volume, as_labels=False)
    dock.session._viewer.add_layer(Image(data, **meta))
    write(adapter_file("leg"))
    dock.image.take(print)
    dock.model._adapters.names.refresh()
    choose(dock, "leg")
    dock.session.prompt_layer.add((59, 75, 54))
    qtbot.waitUntil(lambda: dock.session.object.shown is not None)
    calls, loads = len(loader.predictor.calls), len(loader.loads)
    write(adapter_file("leg"), cases=2)  # in place, without a word from the folder
    qtbot.waitUntil(lambda: len(loader.predictor.calls) > calls)
    assert loader.loads[loads].adapter == "leg" and dock.value().adapter == "leg"
    adapter_file("leg").write_bytes(b"half of a fi")
    qtbot.waitUntil(lambda: dock.value().adapter == "")
    assert "The adapter leg is gone" in status(dock) or "Mask" in status(dock)
    assert refusals() == []
