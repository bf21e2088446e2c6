"""The dock in real viewers: from a mouse press on the canvas to a file on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

import napari_sam3d
from napari_sam3d._tests.plugin.conftest import (
    SHAPE,
    ball,
    canvas_click,
    canvas_key,
    object_is,
    open_dock,
    sentences,
)
from napari_sam3d.engine import models
from napari_sam3d.plugin.files.exporting import SaveDialog
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.settings import InferenceSettings

WEIGHTS = Path(models.__file__).with_name("compact.safetensors")


def test_a_click_after_opening_the_dock_is_a_mask(viewer, image, dock, qtbot) -> None:
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (12, 20, 22))))
    assert dock.controls.status.text() == "Mask in 0.31 s (1 point), expected IoU 0.84"
    assert not dock.controls.busy.isVisible() and not dock.controls.cancel.isEnabled()


def test_control_click_and_the_key_place_negative_points(viewer, image, dock, qtbot) -> None:
    canvas_click(viewer, (12, 20, 22), image)
    canvas_click(viewer, (12, 20, 26), image, control=True)
    expected = ball(SHAPE, (12, 20, 22)) & ~ball(SHAPE, (12, 20, 26))
    qtbot.waitUntil(lambda: object_is(dock, expected))
    canvas_key(viewer, "G")
    assert dock.controls.negative.isChecked()
    canvas_click(viewer, (12, 20, 18), image)
    expected &= ~ball(SHAPE, (12, 20, 18))
    qtbot.waitUntil(lambda: object_is(dock, expected))


def test_new_object_undo_and_redo_by_key(viewer, image, dock, qtbot) -> None:
    first, second = ball(SHAPE, (12, 20, 22)), ball(SHAPE, (12, 8, 8))
    canvas_click(viewer, (12, 20, 22), image)
    canvas_key(viewer, "N")
    canvas_click(viewer, (12, 8, 8), image)
    qtbot.waitUntil(lambda: object_is(dock, first, 1) and object_is(dock, second, 2))
    assert dock.controls.objects.currentText() == "Object 2"
    canvas_key(viewer, "Ctrl+Z")
    assert not (dock.session.labels.data == 2).any() and object_is(dock, first, 1)
    canvas_key(viewer, "Ctrl+Shift+Z")
    assert object_is(dock, second, 2)
    dock.controls.objects.activated.emit(0)
    dock.controls.undo.click()
    assert not (dock.session.labels.data == 1).any() and object_is(dock, second, 2)


def test_the_window_works_while_the_model_does_and_escape_cancels(
    viewer, image, dock, loader, qtbot
) -> None:
    loader.predictor.go.clear()
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(loader.predictor.started.is_set)
    assert dock.controls.busy.isVisible()
    viewer.dims.set_current_step(0, 13)
    canvas_key(viewer, "Escape")
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    assert "Cancelled" in dock.controls.status.text() and not dock.controls.busy.isVisible()
    assert len(dock.session.object.prompts.points) == 1
    loader.predictor.go.set()
    dock.controls.segment.click()
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (12, 20, 22))))


def test_the_newest_click_wins(viewer, image, dock, loader, qtbot) -> None:
    loader.predictor.go.clear()
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(loader.predictor.started.is_set)
    canvas_click(viewer, (12, 20, 25), image)
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    loader.predictor.go.set()
    expected = ball(SHAPE, (12, 20, 22)) | ball(SHAPE, (12, 20, 25))
    qtbot.waitUntil(lambda: object_is(dock, expected))


def test_without_auto_run_points_wait_for_the_button(viewer, image, dock, loader, qtbot) -> None:
    dock.controls.auto.setChecked(False)
    canvas_click(viewer, (12, 20, 22), image)
    canvas_click(viewer, (12, 20, 25), image)
    qtbot.waitUntil(lambda: "2 points placed" in dock.controls.status.text())
    assert not loader.predictor.calls
    dock.controls.segment.click()
    expected = ball(SHAPE, (12, 20, 22)) | ball(SHAPE, (12, 20, 25))
    qtbot.waitUntil(lambda: object_is(dock, expected))
    assert len(loader.predictor.calls) == 1


def test_a_click_in_3d_places_no_point_at_a_depth_nobody_chose(viewer, image, dock) -> None:
    viewer.dims.ndisplay = 3
    canvas_click(viewer, (12, 20, 22), image)  # it is black
    assert len(dock.session.prompt_layer.layer.data) == 0
    assert "Nothing of ct is seen there" in dock.controls.status.text()


def test_settings_make_a_new_mask(viewer, image, dock, loader, qtbot) -> None:
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: len(loader.predictor.calls) == 1)
    settings = InferenceSettings(threshold=0.25, device="cpu")
    dock.set_value(settings)
    assert dock.value() == settings
    qtbot.waitUntil(lambda: len(loader.predictor.calls) == 2)
    assert loader.predictor.settings == settings


def test_an_unknown_model_changes_nothing(dock) -> None:
    with pytest.raises(ValueError, match="no model called 'sam9'"):
        dock.set_value(replace(dock.value(), model="sam9"))
    assert dock.value() == InferenceSettings()


def test_a_model_that_fails_is_one_notification(viewer, image, dock, loader, qtbot) -> None:
    sentence = "There is no model called 'sam9'; known models: compact."
    loader.predictor.error = ValueError(sentence)
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: sentence in sentences())
    assert sentences().count(sentence) == 1
    assert len(dock.session.object.prompts.points) == 1
    loader.predictor.error = None
    dock.controls.segment.click()
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (12, 20, 22))))


@pytest.mark.parametrize(
    ("shape", "rgb", "said"),
    [
        ((16, 16), False, "bad has 2 dimensions"),
        ((8, 16, 16, 3), True, "bad is a colour image"),
    ],
)
def test_an_unfit_image_is_one_sentence_and_nothing_is_lost(
    viewer, image, dock, qtbot, shape, rgb, said
) -> None:
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (12, 20, 22))))
    bad = viewer.add_image(np.zeros(shape, np.uint8), rgb=rgb, name="bad")
    qtbot.waitUntil(lambda: bad in dock.images.choices)
    before = len(sentences())
    dock.images.value = bad
    assert len(sentences()) == before + 1 and said in sentences()[-1]
    assert dock.images.value == image
    assert object_is(dock, ball(SHAPE, (12, 20, 22)))


def test_no_image_is_one_sentence(viewer, loader, qtbot) -> None:
    dock = open_dock(viewer, loader, qtbot)
    assert dock.controls.status.text() == "Open a 3D image to begin."
    for button in (dock.controls.new, dock.controls.segment):
        before = len(sentences())
        button.click()
        assert sentences()[before:] == ["There is no 3D image to segment: open one first."]
    image = viewer.add_image(np.zeros(SHAPE), name="late")
    qtbot.waitUntil(lambda: dock.session.image == image)
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (12, 20, 22))))


def test_the_image_may_be_deleted_in_the_middle(viewer, image, dock, loader, qtbot) -> None:
    loader.predictor.go.clear()
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(loader.predictor.started.is_set)
    viewer.layers.remove(image)
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    assert dock.session.image is None and not dock.controls.busy.isVisible()


def test_closing_the_dock_leaves_the_viewer_as_it_was(viewer, image, dock, qtbot) -> None:
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (12, 20, 22))))
    assert set(map(str, viewer.keymap)) == {"N", "G", "Escape"}
    viewer.window.remove_dock_widget(dock)
    assert dock.runner.worker.wait(5)
    assert not viewer.keymap
    assert [layer.name for layer in viewer.layers] == ["ct", "ct_seg"]
    viewer.layers.clear()


def test_the_second_dock_goes_on(viewer, image, dock, loader, qtbot) -> None:
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (12, 20, 22))))
    viewer.window.remove_dock_widget(dock)
    again = open_dock(viewer, loader, qtbot)
    canvas_click(viewer, (12, 20, 25), image)
    expected = ball(SHAPE, (12, 20, 22)) | ball(SHAPE, (12, 20, 25))
    qtbot.waitUntil(lambda: object_is(again, expected))


def test_a_key_that_is_taken_is_left_alone(viewer, image, loader, qtbot) -> None:
    pressed = []
    viewer.bind_key("N", lambda viewer: pressed.append("N"))
    dock = open_dock(viewer, loader, qtbot)
    canvas_key(viewer, "N")
    viewer.window.remove_dock_widget(dock)
    canvas_key(viewer, "N")
    assert pressed == ["N", "N"]


def test_from_the_menu_to_a_file(real_viewer, manifest, npe2pm, loader, qtbot, tmp_path) -> None:
    """Open a NIfTI with our reader, click, save the Labels layer with our writer."""
    npe2pm.register(manifest)
    affine = np.array([[-2.0, 0, 0, 30], [0, 0, 1.5, -20], [0, -1, 0, 12], [0, 0, 0, 1]])
    source = nib.Nifti1Image(np.zeros((30, 20, 24), np.int16), affine)
    nib.save(source, tmp_path / "ct.nii.gz")
    viewer = real_viewer(show=True)
    (image,) = viewer.open(tmp_path / "ct.nii.gz", plugin="napari-sam3d")
    dock = open_dock(viewer, loader, qtbot)
    shape = image.data.shape
    voxel = tuple(n // 2 for n in shape)
    canvas_click(viewer, voxel, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(shape, voxel)))
    # what the File menu does
    viewer.layers.selection = {dock.session.labels}
    (written,) = viewer.layers.save(str(tmp_path / "ct_seg.nii.gz"), selected=True)
    mask = nib.load(written)
    np.testing.assert_array_equal(mask.affine, affine)
    assert mask.shape == source.shape and mask.get_data_dtype() == np.uint8
    # where the file says the object is, and where the user clicked
    center = nib.affines.apply_affine(affine, np.argwhere(np.asarray(mask.dataobj)).mean(0))
    clicked = -np.array(image.data_to_world(voxel))[::-1]
    np.testing.assert_allclose(center, clicked, atol=1e-4)
    assert np.asarray(mask.dataobj).sum() == ball(shape, voxel).sum()


def test_the_dock_opens_saves_and_tells_where_the_cursor_is(
    viewer, loader, qtbot, tmp_path, monkeypatch
) -> None:
    dock = open_dock(viewer, loader, qtbot)
    assert dock.guide.open.isVisible()
    affine = np.diag([2.0, 1.5, 3.0, 1.0])
    affine[:3, 3] = -10, 20, 30
    nib.save(nib.Nifti1Image(np.zeros((30, 20, 24), np.int16), affine), tmp_path / "ct.nii.gz")
    picked = ([str(tmp_path / "ct.nii.gz")], "")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: picked)
    QTest.mouseClick(dock.guide.open, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.session.image is not None)
    assert not dock.guide.open.isVisible()
    image = dock.session.image
    viewer.cursor.position = tuple(image.data_to_world((12, 10, 15)))
    # display axes run to I, P, L; the stored ones to R, A, S
    i, j, k = 30 - 1 - 15, 20 - 1 - 10, 24 - 1 - 12
    right, anterior, superior = affine[:3] @ (i, j, k, 1)
    said = f"RAS {right:.1f}, {anterior:.1f}, {superior:.1f} mm  ·  ijk {i}, {j}, {k}"
    assert dock.cursor.text() == said
    canvas_click(viewer, (12, 10, 15), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(image.data.shape, (12, 10, 15))))
    shown: list[SaveDialog] = []
    monkeypatch.setattr(SaveDialog, "open", lambda self: shown.append(self))
    dock.files.save.click()
    (dialog,) = shown
    qtbot.addWidget(dialog)
    assert dialog.plan().layers == (dock.session.labels,)
    assert dialog.plan().masks == (tmp_path / "ct_seg.nii.gz",)
    assert dialog.prompts.isVisibleTo(dialog)


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.exists(), reason="the weights of `compact` are not there yet")
def test_the_shipped_model_segments_a_ball(viewer, qtbot) -> None:
    shape = (40, 48, 48)
    truth = ball(shape, (20, 24, 24), 9)
    noise = np.random.default_rng(0).normal(0, 8, shape)
    image = viewer.add_image((100 * truth + noise).astype(np.int16), name="ball")
    dock = open_dock(viewer, None, qtbot)
    canvas_click(viewer, (20, 24, 24), image)
    qtbot.waitUntil(lambda: dock.session.labels.data.any(), timeout=120_000)
    mask = dock.session.labels.data == 1
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8


def test_the_plugin_starts_without_torch() -> None:
    code = (
        "import sys, napari_sam3d.plugin.segment_widget\n"
        "assert not {'torch', 'monai', 'segment_anything'} & set(sys.modules)\n"
    )
    path = os.pathsep.join([str(Path(napari_sam3d.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_how_slices_are_cut_is_asked_for_2d_models_only(real_viewer, loader):
    viewer = real_viewer()
    widget = SegmentWidget(viewer, loader)
    (slices,) = (row for row in widget.form.rows if row.name == "slices")
    assert slices.native.isHidden()
    widget.set_value(replace(widget.value(), model="sam_vit_b", slices="coronal"))
    assert not slices.native.isHidden()
    assert widget.value().slices == "coronal"
    widget.set_value(replace(widget.value(), model="compact"))
    assert slices.native.isHidden()
    widget.teardown()
    widget.deleteLater()


def test_another_threshold_asks_no_model(real_viewer, qtbot):
    viewer = real_viewer()
    viewer.open_sample("napari-sam3d", "phantom")
    widget = SegmentWidget(viewer)
    calls = []
    predict = widget.runner.worker.submit
    widget.runner.worker.submit = lambda *args: calls.append(args) or predict(*args)
    image = widget.session.image
    canvas_click(viewer, (47, 64, 90), image)
    qtbot.waitUntil(lambda: widget.session.labels.data.any())
    session = widget.session

    def count() -> int:
        return np.count_nonzero(session.labels.data)

    before = count()
    widget.set_value(replace(widget.value(), threshold=0.9))
    qtbot.waitUntil(lambda: count() < before)
    widget.set_value(replace(widget.value(), threshold=0.2))
    widget.set_value(replace(widget.value(), threshold=0.1))  # the newest wins
    qtbot.waitUntil(lambda: "0.1" in widget.controls.status.text())
    more = count()
    assert more > before
    session.labels.data[:2, :2, :2] = 1
    widget.set_value(replace(widget.value(), keep_clicked=True, smooth_mm=2.0))
    qtbot.waitUntil(lambda: count() not in (more, more + 8))
    smooth = session.labels.data.copy()
    widget.set_value(replace(widget.value(), threshold=0.5, keep_clicked=False, smooth_mm=0.0))
    qtbot.waitUntil(lambda: np.count_nonzero(session.labels.data) == before + 8)
    canvas_click(viewer, (47, 64, 94), image)
    qtbot.waitUntil(lambda: len(session.object.answers) == 2)
    session.undo()  # earlier answers come back as they were shown last
    assert count() == before + 8 and not np.array_equal(session.labels.data, smooth)
    assert [call[-1] for call in calls].count(False) == 2
    widget.teardown()
    widget.deleteLater()
