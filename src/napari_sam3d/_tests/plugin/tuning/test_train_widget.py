"""The Train dock with real clicks, on a trainer that does as the tests say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from napari.utils.notifications import notification_manager
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from napari_sam3d._tests.plugin.tuning.conftest import (
    add_ball_layers,
    add_balls,
    ball_pair,
    open_dock,
    press,
    ready,
)
from napari_sam3d._tests.plugin.tuning.fake_trainer import BASE, BETTER
from napari_sam3d.engine.places import adapters_folder, runs_folder
from napari_sam3d.engine.training.events import Failed, Looking, Preview, Validated
from napari_sam3d.io.pairs import read_pair
from napari_sam3d.plugin.tuning.training_choice import tunable_choices
from napari_sam3d.volume import Grid


def sentences() -> list[str]:
    return [record.message for record in notification_manager.records]


def cells(dock) -> list[list[str]]:
    table = dock.pairs.table
    return [
        [table.item(line, column).text() for column in range(1, table.columnCount())]
        for line in range(table.rowCount())
    ]


# pairs


def test_an_empty_dock_says_what_is_missing(dock, trainer) -> None:
    assert not dock.run.start.isEnabled() and not dock.run.stop.isEnabled()
    assert "Add labelled volumes first" in dock.run.start.toolTip()
    assert not dock.progress.isVisible() and not dock.verdict.isVisible()
    assert trainer.asked == []


def test_open_layers_are_added_as_they_are_now(viewer, dock, qtbot) -> None:
    _, labels = add_ball_layers(viewer)
    press(dock.pairs.add_layers)
    voxels = str(np.count_nonzero(labels.data))
    qtbot.waitUntil(lambda: cells(dock) == [["ball", "_seg", "1", "1", voxels]])
    labels.data[8, 9, 10] = 0
    (pair,) = dock.pairs.value()
    assert pair.labels[8, 9, 10] == 3
    press(dock.pairs.add_layers)  # once more: as they are by now
    assert len(dock.pairs.value()) == 1
    assert dock.pairs.value()[0].labels[8, 9, 10] == 0


def test_what_is_not_clear_is_chosen_below(viewer, dock, qtbot) -> None:
    add_ball_layers(viewer)
    viewer.add_labels(np.ones((16, 18, 20), np.uint8), name="other")
    viewer.add_labels(np.ones((16, 18, 20), np.uint8), name="third")
    viewer.layers["ball_seg"].name = "first"
    chooser = dock.preparing.chooser
    assert not chooser.isVisible()
    press(dock.pairs.add_layers)
    assert chooser.isVisible() and dock.pairs.value() == ()
    assert "It is not clear which image" in dock.run.status.text()
    chooser.labels.setCurrentText("third")
    press(chooser.add)
    assert [row[:2] for row in cells(dock)] == [["ball", "third"]]


def test_without_labels_a_sentence_says_what_to_do(viewer, dock) -> None:
    viewer.add_image(np.zeros((4, 5, 6)))
    press(dock.pairs.add_layers)
    assert "There are no labels to add" in sentences()[-1]


def test_a_folder_is_read_by_the_trainer(dock, trainer, qtbot, tmp_path, monkeypatch) -> None:
    pair = ball_pair()
    for name in ("one", "two"):
        for ending, data in (("", pair.volume.data), ("_seg", pair.labels)):
            image = nib.Nifti1Image(np.asarray(data), np.eye(4))
            nib.save(image, tmp_path / f"{name}{ending}.nii.gz")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    press(dock.pairs.add_folder)
    ((files,),) = trainer.of("read")
    assert [it.labels.name for it in files] == ["one_seg.nii.gz", "two_seg.nii.gz"]
    trainer.go("idle")
    trainer.read.emit(tuple(map(read_pair, files)))
    qtbot.waitUntil(lambda: [row[2] for row in cells(dock)] == ["1", "1"])
    press(dock.pairs.add_folder)
    assert len(trainer.of("read")) == 1 and "is here already" in dock.run.status.text()


def test_a_folder_without_pairs_is_refused(dock, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    press(dock.pairs.add_folder)
    assert "holds no labelled pairs" in sentences()[-1]


def test_files_that_cannot_be_read_are_not_waited_for(dock, trainer, tmp_path) -> None:
    pair = replace(ball_pair(), files=None)
    (tmp_path / "x.nii").touch()
    (tmp_path / "x_seg.nii").touch()
    dock.preparing.add_folder(tmp_path)
    trainer.go("idle")
    trainer.failed.emit("x.nii is empty.")
    assert dock.pairs.awaited == () and "x.nii is empty." in sentences()
    dock.pairs.add_pair(pair)
    assert len(dock.pairs.value()) == 1


def test_reading_is_given_up_by_stop(dock, trainer, tmp_path) -> None:
    for name in ("x.nii", "x_seg.nii"):
        (tmp_path / name).touch()
    dock.preparing.add_folder(tmp_path)
    assert "Give up" in dock.run.stop.toolTip()
    press(dock.run.stop)
    trainer.go("idle")
    assert dock.pairs.awaited == ()
    dock.preparing.add_folder(tmp_path)  # and can be begun again
    assert len(trainer.of("read")) == 2


def test_files_that_are_being_read_when_a_training_begins_are_read_after_all(
    dock, trainer, qtbot, tmp_path
) -> None:
    ready(dock, qtbot)
    for name in ("x.nii", "x_seg.nii"):
        (tmp_path / name).touch()
    dock.preparing.add_folder(tmp_path)
    press(dock.run.start)
    trainer.begin()
    assert len(trainer.of("read")) == 2


def test_rows_are_removed(dock, qtbot) -> None:
    add_balls(dock)
    dock.pairs.table.selectRow(1)
    press(dock.pairs.remove)
    assert [pair.name for pair in dock.pairs.value()] == ["ball 0", "ball 2"]
    assert not dock.pairs.remove.isEnabled()


def test_two_pairs_of_one_name_are_told_apart(dock) -> None:
    dock.pairs.add_pair(ball_pair("image.nii"))
    dock.pairs.add_pair(ball_pair("image.nii", 1))
    assert [pair.name for pair in dock.pairs.value()] == ["image.nii", "image.nii (2)"]


# checks


def test_checks_run_by_themselves_and_start_waits_for_them(dock, trainer, qtbot) -> None:
    trainer.checks_itself = False
    add_balls(dock)
    assert not dock.run.start.isEnabled() and "checked" in dock.run.start.toolTip()
    qtbot.waitUntil(lambda: bool(trainer.of("check")))
    ((_, pairs, name),) = trainer.of("check")
    assert pairs == dock.pairs.value() and name == dock.choice.run_name()
    trainer.checks_itself = True
    dock.choice.set_name("femur")
    qtbot.waitUntil(dock.run.start.isEnabled)
    assert trainer.of("check")[-1][2] == "femur"
    assert "in order" in dock.checks.summary.text()


def test_a_problem_stands_first_and_its_button_solves_it(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    pair = ball_pair("shifted")
    grid = Grid(pair.labels_grid.shape, np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 2)
    dock.pairs.add_pair(replace(pair, labels_grid=grid))
    qtbot.waitUntil(lambda: bool(dock.checks.buttons()))
    assert dock.checks.value()[0].state == "problem"
    assert not dock.run.start.isEnabled()
    assert dock.run.start.toolTip() == dock.checks.value()[0].sentence
    assert "cannot be learned from" in dock.pairs.table.item(3, 0).toolTip()
    qtbot.waitUntil(lambda: dock.checks.buttons()[0].isVisible())
    dock.checks.buttons()[0].click()
    assert dock.pairs.value()[3].labels_grid == pair.volume.grid
    qtbot.waitUntil(dock.run.start.isEnabled)
    assert dock.checks.buttons() == []


def test_a_pair_without_labels_is_left_out_by_its_button(dock, qtbot) -> None:
    ready(dock, qtbot)
    pair = ball_pair("blank")
    dock.pairs.add_pair(replace(pair, labels=np.zeros_like(pair.labels)))
    qtbot.waitUntil(lambda: [it.text() for it in dock.checks.buttons()] == ["Leave it out"])
    dock.checks.buttons()[0].click()
    assert [pair.name for pair in dock.pairs.value()] == ["ball 0", "ball 1", "ball 2"]


def test_a_name_that_is_taken_is_replaced_by_its_button(dock, qtbot) -> None:
    adapters_folder().mkdir(parents=True, exist_ok=True)
    (adapters_folder() / "femur.safetensors").touch()
    ready(dock, qtbot)
    dock.choice.name.selectAll()
    QTest.keyClicks(dock.choice.name, "femur")
    qtbot.waitUntil(lambda: [it.text() for it in dock.checks.buttons()] == ["Take another name"])
    dock.checks.buttons()[0].click()
    qtbot.waitUntil(dock.run.start.isEnabled)
    assert dock.choice.run_name() == "femur-2"


def test_a_check_that_fails_is_said(dock, trainer, qtbot) -> None:
    trainer.checks_itself = False
    add_balls(dock)
    qtbot.waitUntil(lambda: bool(trainer.of("check")))
    trainer.failed.emit("The check failed.")
    assert dock.checks.summary.text() == "The check failed."
    assert not dock.run.start.isEnabled()


# settings


def test_only_models_that_can_be_tuned_are_offered() -> None:
    offered = {name for _, name in tunable_choices()}
    assert {"compact", "sam_med3d_turbo", "sam3d_adapter_kits"} <= offered
    assert not offered & {"sam_vit_b", "medsam"}


def test_a_name_follows_labels_and_model_until_it_is_typed(dock, qtbot) -> None:
    assert dock.choice.run_name().startswith("object_compact_20")
    add_balls(dock)
    assert dock.choice.run_name().startswith("nucleus_compact_20")
    dock.set_value(replace(dock.value(), model="sam_med3d_turbo"))
    assert dock.choice.run_name().startswith("nucleus_sam_med3d_turbo_20")
    dock.choice.name.selectAll()
    QTest.keyClicks(dock.choice.name, "mine")
    dock.set_value(replace(dock.value(), model="compact"))
    assert dock.choice.run_name() == "mine"


def test_settings_come_out_as_they_went_in(dock) -> None:
    wanted = replace(dock.value(), effort="long", steps=7, rate=0.0003, clicks=3, augment=False)
    dock.set_value(wanted)
    assert dock.value() == wanted


def test_the_time_is_estimated_when_asked_for(dock, trainer, qtbot) -> None:
    from napari_sam3d.engine.training.rehearsal import Rehearsal

    ready(dock, qtbot)
    press(dock.choice.estimate)
    assert trainer.of("rehearse") == [[dock.value(), dock.pairs.value()]]
    trainer.go("idle")
    trainer.rehearsed.emit(Rehearsal(0.6, 6.0, 2_000_000_000, "About 5 minutes."))
    assert dock.choice.time.text() == "About 4 min here, 2.0 GB of memory"
    dock.set_value(replace(dock.value(), effort="quick"))
    assert dock.choice.time.text().startswith("About 1 min here")
    dock.set_value(replace(dock.value(), accumulate=8))
    assert dock.choice.time.text() == "Not known yet"


# running


def test_a_training_from_start_to_its_verdict(viewer, dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    name = dock.choice.run_name()
    press(dock.run.start)
    ((settings, pairs, started, resume),) = trainer.of("start")
    assert (settings, pairs, started, resume) == (dock.value(), [*dock.pairs.value()], name, False)
    assert not dock.run.start.isEnabled() and "under way" in dock.run.start.toolTip()
    assert dock.run.stop.isEnabled() and not dock.run.resume.isEnabled()
    trainer.begin()
    qtbot.waitUntil(dock.progress.isVisible)
    assert not dock.pair_section.isExpanded()
    trainer.step(*range(1, 51))
    trainer.tell(Validated(50, BETTER, BASE, True))
    assert dock.progress.where.text().startswith("Step 50 of 100 · 0.5 s a step")
    qtbot.waitUntil(
        lambda: "Best Dice 0.70 / 0.80 / 0.85, at step 50" in dock.progress.scores.text()
    )
    assert dock.run.busy.value() == 500
    adapters_folder().mkdir(parents=True, exist_ok=True)
    (adapters_folder() / f"{name}.safetensors").touch()
    trainer.finish(adapters_folder() / f"{name}.safetensors")
    assert dock.verdict.isVisible() and dock.verdict.use.isVisible()
    assert dock.verdict.text.text().startswith("Dice 0.60 to 0.70")
    assert dock.progress.where.text() == "Finished after step 50 of 100"
    qtbot.waitUntil(dock.run.start.isEnabled)
    assert dock.choice.run_name() != name


def test_a_second_training_follows_in_the_same_dock(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    for number in range(2):
        dock.choice.set_name(f"run {number}")
        qtbot.waitUntil(dock.run.start.isEnabled)
        press(dock.run.start)
        assert not dock.verdict.isVisible()
        trainer.begin()
        trainer.step(1, 2)
        trainer.finish()
        assert "not selected" in dock.verdict.text.text() and not dock.verdict.use.isVisible()
        assert len(dock.running.record.losses) == 2
    assert [name for _, _, name, _ in trainer.of("start")] == ["run 0", "run 1"]


def test_stop_saves_and_says_so(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    press(dock.run.start)
    trainer.begin()
    trainer.step(1, 2, 3)
    press(dock.run.stop)
    assert trainer.of("stop") and dock.run.stop.text() == "Stopping (saving)..."
    assert not dock.run.stop.isEnabled()
    trainer.go("idle")
    qtbot.waitUntil(dock.verdict.isVisible)
    assert "Stopped and saved after step 3" in dock.verdict.text.text()
    assert dock.run.stop.text() == "Stop"


def test_a_failure_says_what_is_kept(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    press(dock.run.start)
    trainer.begin()
    trainer.tell(Failed(7, "The disk is full.", Path("best.safetensors")))
    trainer.go("idle")
    assert "The disk is full. The best so far is kept: best.safetensors" in dock.verdict.text.text()
    assert "The disk is full." in sentences()
    qtbot.waitUntil(dock.run.start.isEnabled)


def test_what_cannot_begin_is_said_and_can_be_tried_again(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    press(dock.run.start)
    trainer.go("idle")
    trainer.failed.emit("There is not enough memory.")
    assert dock.verdict.text.text() == "There is not enough memory."
    qtbot.waitUntil(dock.run.start.isEnabled)


def test_pairs_that_are_added_meanwhile_are_for_the_next_training(dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    press(dock.run.start)
    trainer.begin()
    dock.pairs.add_pair(ball_pair("late"))
    assert len(trainer.of("start")[0][1]) == 3
    trainer.finish()
    qtbot.waitUntil(dock.run.start.isEnabled)
    press(dock.run.start)
    assert len(trainer.of("start")[1][1]) == 4


def test_a_training_goes_on_without_its_dock_and_is_shown_by_the_next(
    viewer, dock, trainer, qtbot
) -> None:
    ready(dock, qtbot)
    press(dock.run.start)
    trainer.begin()
    trainer.step(1, 2)
    viewer.window.remove_dock_widget(dock)
    trainer.step(3)
    again = open_dock(viewer, qtbot)
    assert again.trainer is trainer and trainer.state == "running"
    assert [pair.name for pair in again.pairs.value()] == ["ball 0", "ball 1", "ball 2"]
    assert again.progress.isVisible()
    assert again.progress.where.text().startswith("Step 3 of 100")
    press(again.run.stop)
    trainer.go("idle")
    qtbot.waitUntil(again.verdict.isVisible)


# the preview


def found(name: str, label: int = 3) -> Preview:
    window = (slice(2, 5), slice(2, 5), slice(2, 5))
    return Preview(name, label, np.ones((3, 3, 3), bool), window, 0.9)


def test_the_preview_is_drawn_anew_at_each_look_and_goes_at_the_end(
    viewer, dock, trainer, qtbot
) -> None:
    image, _ = add_ball_layers(viewer)
    press(dock.pairs.add_layers)
    qtbot.waitUntil(dock.run.start.isEnabled)
    press(dock.run.start)
    viewer.layers.selection.active = image
    trainer.begin(held_out=("ball",))
    trainer.tell(Looking(0, 1, 2, found("ball")))
    layer = dock.progress.preview.layer
    assert layer in viewer.layers and layer.name == f"preview: {trainer.name}"
    assert (layer.data == 3).sum() == 27 and viewer.layers.selection.active == image
    trainer.tell(Looking(0, 2, 2, found("ball", 300)))
    assert (dock.progress.preview.layer.data == 300).sum() == 27
    trainer.tell(Looking(50, 1, 2, found("ball", 2)))
    assert np.unique(dock.progress.preview.layer.data).tolist() == [0, 2]
    press(dock.progress.preview.visible)
    assert not layer.visible
    trainer.finish()
    assert layer not in viewer.layers


def test_a_preview_can_be_kept(viewer, dock, trainer, qtbot) -> None:
    add_ball_layers(viewer)
    press(dock.pairs.add_layers)
    qtbot.waitUntil(dock.run.start.isEnabled)
    press(dock.run.start)
    trainer.begin(held_out=("ball, slices 4 to 15",))
    trainer.tell(Looking(0, 1, 1, found("ball")))
    press(dock.progress.preview.keep)
    trainer.finish()
    assert f"preview: {trainer.name}" in viewer.layers
    press(dock.pairs.add_layers)  # which is not learned from
    assert len(dock.pairs.value()) == 1


def test_the_held_out_volume_is_opened_by_a_button(viewer, dock, trainer, qtbot) -> None:
    ready(dock, qtbot)
    press(dock.run.start)
    trainer.begin(held_out=("ball 1",))
    trainer.tell(Looking(0, 1, 1, found("ball 1")))
    assert len(viewer.layers) == 0
    qtbot.waitUntil(dock.progress.preview.open.isVisible)
    press(dock.progress.preview.open)
    assert [it.name for it in viewer.layers] == ["ball 1"]
    assert not dock.progress.preview.open.isEnabled()
    trainer.tell(Looking(50, 1, 1, found("ball 1")))
    assert (dock.progress.preview.layer.data == 3).sum() == 27


# resuming


def test_without_a_run_there_is_nothing_to_resume(dock) -> None:
    assert not runs_folder().exists()
    press(dock.run.resume)
    assert "no training to go on with" in sentences()[-1]
