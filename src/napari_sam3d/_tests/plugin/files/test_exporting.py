"""The dialog "Save masks...", driven as a user drives it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMessageBox, QStyle, QStyleOptionViewItem

from napari_sam3d._tests.nifti_files import nifti, put
from napari_sam3d._tests.plugin.conftest import sentences
from napari_sam3d._tests.plugin.files.test_writer import on, open_layer
from napari_sam3d.io import read_nifti
from napari_sam3d.io.label_names import read_label_names
from napari_sam3d.plugin.files import export
from napari_sam3d.plugin.files.exporting import SaveDialog, ask_and_save
from napari_sam3d.plugin.session.objects import OBJECTS, Object
from napari_sam3d.prompts import Point, Prompts

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def image(viewer, tmp_path):
    return viewer.add_layer(open_layer(put(tmp_path / "scan.nii.gz", nifti()), as_labels=False))


@pytest.fixture
def masks(viewer, image) -> list[Labels]:
    """A mask of the dock, and one that was drawn."""
    points = {1: Object(Prompts((Point((1.0, 2.0, 3.0)),)), name="Tumour")}
    first, second = np.zeros((2, *image.data.shape), np.uint8)
    first[1], second[1:3] = 1, 1
    metadata = {**image.metadata, OBJECTS: points}
    return [
        viewer.add_layer(on(image, first, name="scan_seg", metadata=metadata)),
        viewer.add_layer(on(image, second, name="ribs / left")),
    ]


def opened(viewer, qtbot, chosen=None) -> SaveDialog:
    dialog = ask_and_save(viewer, chosen)
    qtbot.addWidget(dialog)
    qtbot.waitUntil(dialog.isVisible)
    return dialog


def press(button) -> None:
    spot = QPoint(8, button.height() // 2)  # where a check box has its box
    QTest.mouseClick(button, LEFT, pos=spot)


def tick(dialog, row: int) -> None:
    """Click the box of a layer."""
    index = dialog.table.model().index(row, 0)
    option = QStyleOptionViewItem()
    option.rect = dialog.table.visualRect(index)
    option.features |= QStyleOptionViewItem.ViewItemFeature.HasCheckIndicator
    box = dialog.table.style().subElementRect(
        QStyle.SubElement.SE_ItemViewItemCheckIndicator, option, dialog.table
    )
    QTest.mouseClick(dialog.table.viewport(), LEFT, pos=box.center())


def answer(word: str, questions: list[str]) -> None:
    """Press a button of the next message box, once it stands there."""

    def look() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(20, look)
            return
        questions.append(box.text())
        (button,) = [b for b in box.buttons() if b.text().replace("&", "") == word]
        QTest.mouseClick(button, LEFT)

    QTimer.singleShot(20, look)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_mask_of_the_dock_is_saved_beside_its_image(viewer, image, masks, qtbot, tmp_path):
    dialog = opened(viewer, qtbot, masks[0])
    plan = dialog.plan()
    assert plan.layers == (masks[0],) and plan.folder == tmp_path
    assert "Writes scan_seg.nii.gz;" in dialog.summary.text()
    press(dialog.prompts)
    press(dialog.itksnap)
    assert "scan_seg_labels.txt, scan_seg_prompts.json" in dialog.summary.text()
    press(dialog.save)
    assert not dialog.isVisible()
    stem = [f"scan_seg{end}" for end in (".labels.json", ".nii.gz", "_labels.txt", "_prompts.json")]
    assert files(tmp_path) == ["scan.nii.gz", *stem]
    mask = read_nifti(tmp_path / "scan_seg.nii.gz")
    np.testing.assert_array_equal(mask.data, masks[0].data)
    assert mask.grid == read_nifti(tmp_path / "scan.nii.gz").grid
    (name,) = read_label_names(tmp_path / "scan_seg.nii.gz")
    assert (name.name, name.volume_ml) == ("Tumour", pytest.approx(30 * 9 / 1000))
    prompts = json.loads((tmp_path / "scan_seg_prompts.json").read_text())
    assert prompts["image"]["name"] == "scan.nii.gz"
    assert sentences()[-1].startswith("Saved scan_seg.nii.gz, scan_seg_prompts.json in ")


def test_a_second_save_asks_before_it_replaces(viewer, image, masks, qtbot, tmp_path):
    press(opened(viewer, qtbot, masks[0]).save)
    before = (tmp_path / "scan_seg.nii.gz").read_bytes()
    masks[0].data[0] = 1
    dialog = opened(viewer, qtbot, masks[0])
    assert "exist already" in dialog.summary.text()
    asked: list[str] = []
    answer("Cancel", asked)
    press(dialog.save)
    assert asked == ["scan_seg.nii.gz, scan_seg.labels.json exist already."]
    assert dialog.isVisible() and (tmp_path / "scan_seg.nii.gz").read_bytes() == before
    answer("Replace", asked)
    press(dialog.save)
    assert not dialog.isVisible()
    np.testing.assert_array_equal(read_nifti(tmp_path / "scan_seg.nii.gz").data, masks[0].data)


def test_several_masks_get_a_file_each(viewer, image, masks, qtbot, tmp_path):
    dialog = opened(viewer, qtbot, masks[0])
    assert not dialog.combined.isEnabled()
    tick(dialog, 1)
    assert dialog.combined.isEnabled()
    dialog.table.item(0, 1).setText("one.nii")
    press(dialog.save)
    assert not dialog.isVisible()
    assert files(tmp_path) == [
        *("one.labels.json", "one.nii", "scan.nii.gz"),
        *("scan_ribs_left.labels.json", "scan_ribs_left.nii.gz"),
    ]
    again = read_nifti(tmp_path / "scan_ribs_left.nii.gz")
    np.testing.assert_array_equal(again.data, masks[1].data)
    assert again.grid == read_nifti(tmp_path / "scan.nii.gz").grid


def test_or_become_one_label_map(viewer, image, masks, qtbot, tmp_path):
    viewer.layers.selection = set()
    dialog = opened(viewer, qtbot)
    press(dialog.combined)
    assert dialog.name.isEnabled() and "Writes scan_combined.nii.gz;" in dialog.summary.text()
    dialog.name.clear()
    QTest.keyClicks(dialog.name, "both")
    assert "Writes both.nii.gz;" in dialog.summary.text()
    press(dialog.save)
    names = [it.name for it in read_label_names(tmp_path / "both.nii.gz")]
    assert names == ["scan_seg: Tumour", "ribs / left: 1"]
    data = read_nifti(tmp_path / "both.nii.gz").data
    assert (data[1:3] == 2).all() and np.count_nonzero(data) == masks[1].data.sum()
    assert "Labels of ribs / left that were taken have new numbers: 1 is 2." in sentences()[-1]
    assert "30 voxels are in several layers" in sentences()[-1]


def test_objects_of_one_class_get_one_label(viewer, image, masks, qtbot, tmp_path):
    layer = masks[0]
    layer.data[2, 0, 0] = 4
    before = layer.data.copy()
    layer.metadata[OBJECTS] = {
        1: Object(name="Left", category="lung"),
        4: Object(name="Right", category="lung"),
    }
    dialog = opened(viewer, qtbot, layer)
    press(dialog.classes)
    press(dialog.save)
    (name,) = read_label_names(tmp_path / "scan_seg.nii.gz")
    assert (name.id, name.name, name.category) == (1, "lung", "lung")
    mask = read_nifti(tmp_path / "scan_seg.nii.gz").data
    np.testing.assert_array_equal(mask == 1, before > 0)
    np.testing.assert_array_equal(layer.data, before)
    assert layer.metadata[OBJECTS][4].name == "Right"


def test_what_cannot_be_saved_is_said_at_once(viewer, image, masks, qtbot, tmp_path):
    dialog = opened(viewer, qtbot)
    for row in range(2):
        if dialog.table.item(row, 0).checkState() == Qt.CheckState.Checked:
            tick(dialog, row)
    assert dialog.summary.text() == "Tick a layer to save." and not dialog.save.isEnabled()
    tick(dialog, 0)
    tick(dialog, 1)
    for name, words in (
        ("", "file name missing"),
        ("../a", "../a is no file name"),
        ("SCAN_seg", "Two layers would be saved as scan_seg.nii.gz"),
        ("x" * 300, "File name too long"),
    ):
        dialog.table.item(1, 1).setText(name)
        assert words in dialog.summary.text()
    dialog.table.item(1, 1).setText("b")
    for folder, words in (("", "whole path"), (str(tmp_path / "gone"), "There is no folder")):
        dialog.folder.setText(folder)
        assert words in dialog.summary.text()
        press(dialog.save)
        assert dialog.isVisible()
    assert files(tmp_path) == ["scan.nii.gz"]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failure_leaves_dialog_and_files(
    viewer, image, masks, qtbot, tmp_path, monkeypatch, call
):
    old = tmp_path / "scan_seg.nii.gz"
    old.write_bytes(b"precious")

    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    dialog = opened(viewer, qtbot, masks[0])
    asked: list[str] = []
    with monkeypatch.context() as broken:
        broken.setattr(f"os.{call}", refuse)
        answer("Replace", asked)
        press(dialog.save)
        assert dialog.isVisible() and dialog.isEnabled()
        assert "cannot be written: Read-only file system" in dialog.summary.text()
        assert files(tmp_path) == ["scan.nii.gz", "scan_seg.nii.gz"]
        assert old.read_bytes() == b"precious"
    answer("Replace", asked)
    press(dialog.save)  # the disk is there again
    assert not dialog.isVisible()
    np.testing.assert_array_equal(read_nifti(old).data, masks[0].data)


def test_the_image_is_only_replaced_when_asked_twice(viewer, image, masks, qtbot, tmp_path):
    before = (tmp_path / "scan.nii.gz").read_bytes()
    dialog = opened(viewer, qtbot, masks[0])
    dialog.table.item(0, 1).setText("scan")
    asked: list[str] = []
    answer("Replace", asked)
    QTimer.singleShot(200, lambda: answer("Cancel", asked))
    press(dialog.save)
    assert asked[0].startswith("scan.nii.gz exists already")
    assert asked[1].startswith("scan.nii.gz is the file of the open layer scan")
    assert dialog.isVisible() and "choose another name" in dialog.summary.text()
    assert (tmp_path / "scan.nii.gz").read_bytes() == before


def test_the_window_lives_while_a_mask_is_written(
    viewer, image, masks, qtbot, monkeypatch, tmp_path
):
    """A slow disk: timers run, and the dialog takes no second click and does not close."""
    dialog = opened(viewer, qtbot, masks[0])
    began, beats = threading.Event(), threading.Semaphore(0)
    enabled: list[bool] = []

    def beat() -> None:
        if began.is_set():
            enabled.append(dialog.isEnabled())
            dialog.reject()
            beats.release()

    write = export.write_labels

    def slow(*args, **kwargs):
        began.set()
        assert all(beats.acquire(timeout=30) for _ in range(5))
        return write(*args, **kwargs)

    monkeypatch.setattr(export, "write_labels", slow)
    timer = QTimer(interval=10)
    timer.timeout.connect(beat)
    timer.start()
    press(dialog.save)
    timer.stop()
    assert enabled and not any(enabled) and not dialog.isVisible()
    assert (tmp_path / "scan_seg.nii.gz").exists()


def test_without_a_mask_there_is_a_sentence(viewer, image, qtbot):
    assert ask_and_save(viewer) is None
    assert "no mask to save" in sentences()[-1]


def test_the_command_is_in_the_menu(real_viewer, npe2pm, manifest, qtbot, monkeypatch):
    npe2pm.register(manifest)
    (command,) = [c for c in manifest.contributions.commands if c.title == "Save masks..."]
    items = manifest.contributions.menus["napari/file/io_utilities"]
    assert command.id in [item.command for item in items]
    viewer = real_viewer(show=True)
    shown: list[SaveDialog] = []
    monkeypatch.setattr(SaveDialog, "open", lambda self: shown.append(self))
    viewer.add_labels(np.zeros((3, 3, 3), int), name="mask")
    npe2pm.commands.execute(command.id)
    (dialog,) = shown
    assert dialog.plan().names == ("mask.nii.gz",)
    qtbot.addWidget(dialog)
