"""The dock offers what was left, and keeps what is done, in real viewers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QLabel

from napari_sam3d._tests.plugin.conftest import SHAPE, ball, canvas_click, object_is, open_dock
from napari_sam3d._tests.plugin.unsaved.test_autosave import keep, work_files
from napari_sam3d.plugin.files.exporting import SaveDialog
from napari_sam3d.plugin.session.session import Session

MASK = ball(SHAPE, (12, 20, 22))


@pytest.fixture
def left(viewer, loader, qtbot, work_folder) -> None:
    """A dock was closed, and its layers are gone."""
    image = viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    dock = open_dock(viewer, loader, qtbot)
    dock.set_value(replace(dock.value(), threshold=0.25))
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: object_is(dock, MASK))
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    assert len(work_files(work_folder)) == 1
    loader.predictor.calls.clear()


def test_one_press_brings_everything_back(viewer, left, loader, qtbot, work_folder) -> None:
    image = viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    dock = open_dock(viewer, loader, qtbot)
    bar = dock.keeper.bar
    qtbot.waitUntil(bar.isVisible)
    assert bar.text.text().startswith("Resume your unsaved work on ct of ")
    assert bar.text.text().endswith("(1 object)?")
    assert all(it.toolTip() for it in (bar.resume, bar.discard, bar.findChild(QLabel)))
    bar.resume.click()
    assert object_is(dock, MASK) and dock.value().threshold == 0.25
    assert not bar.isVisible() and dock.controls.undo.isEnabled()
    assert "Resumed 1 object of " in dock.controls.status.text()
    canvas_click(viewer, (12, 20, 25), image)
    expected = MASK | ball(SHAPE, (12, 20, 25))
    qtbot.waitUntil(lambda: object_is(dock, expected))
    # only for the second point: what came back is asked of no model
    assert [len(prompts.points) for prompts, _ in loader.predictor.calls] == [2]


def test_declining_is_remembered(viewer, left, loader, qtbot, work_folder) -> None:
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    dock = open_dock(viewer, loader, qtbot)
    qtbot.waitUntil(dock.keeper.bar.isVisible)
    dock.keeper.bar.discard.click()
    assert not dock.keeper.bar.isVisible() and not work_files(work_folder)
    assert not dock.session.labels.data.any()


def test_another_image_takes_the_question_away(viewer, left, loader, qtbot) -> None:
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    dock = open_dock(viewer, loader, qtbot)
    qtbot.waitUntil(dock.keeper.bar.isVisible)
    other = viewer.add_image(np.zeros((9, 10, 11)), name="mr")
    qtbot.waitUntil(lambda: other in dock.images.choices)
    dock.images.value = other
    qtbot.waitUntil(lambda: not dock.keeper.bar.isVisible())
    dock.images.value = viewer.layers["ct"]
    qtbot.waitUntil(dock.keeper.bar.isVisible)


def test_a_damaged_file_is_a_sentence(viewer, left, loader, qtbot, work_folder) -> None:
    (path,) = work_files(work_folder)
    path.write_bytes(b"PK")
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    dock = open_dock(viewer, loader, qtbot)
    qtbot.waitUntil(lambda: "cannot be resumed" in dock.controls.status.text())
    assert not dock.keeper.bar.isVisible()


def test_each_change_is_kept_and_saved_masks_are_not_asked_about(
    viewer, loader, qtbot, work_folder, tmp_path, monkeypatch
) -> None:
    image = viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    dock = open_dock(viewer, loader, qtbot)

    def kept() -> np.ndarray | None:
        """What another session on the same image would be given back now."""
        autosave = dock.keeper.autosave
        autosave._writer.wait(60)
        files = work_files(work_folder)
        if not files:
            return None
        copy = tmp_path / "copy"
        copy.mkdir(exist_ok=True)
        (copy / files[0].name.replace("-", "-copy")).write_bytes(files[0].read_bytes())
        from napari.components import ViewerModel

        other = Session(ViewerModel())
        other.set_image(other._viewer.add_image(np.zeros(SHAPE, np.int16), name="ct"))
        keeper = keep(other, copy)
        keeper.resume()
        keeper.close()
        for path in copy.iterdir():
            path.unlink()
        return other.labels.data

    def is_kept(expected: np.ndarray) -> bool:
        return np.array_equal(kept(), expected)

    assert kept() is None
    canvas_click(viewer, (12, 20, 22), image)
    qtbot.waitUntil(lambda: is_kept(1 * MASK))
    labels = dock.session.labels
    labels.paint((12, 5, 5), 7)
    qtbot.waitUntil(lambda: is_kept(labels.data) and kept()[12, 5, 5] == 7)
    labels.undo()
    qtbot.waitUntil(lambda: is_kept(1 * MASK))
    shown: list[SaveDialog] = []
    monkeypatch.setattr(SaveDialog, "open", lambda self: shown.append(self))
    dock.files.save.click()
    (dialog,) = shown
    qtbot.addWidget(dialog)
    dialog.folder.setText(str(tmp_path))
    dialog.accept()
    assert (tmp_path / "ct_seg.nii.gz").exists()
    qtbot.waitUntil(lambda: kept() is None)
    viewer.window.remove_dock_widget(dock)
    assert not work_files(work_folder)
