"""The Train dock with the real trainer, on a network that tunes in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_sam3d._tests.engine.training import small
from napari_sam3d._tests.plugin.tuning.conftest import (
    add_ball_layers,
    ball_pair,
    open_dock,
    press,
    ready,
)
from napari_sam3d.engine.places import adapters_folder, runs_folder
from napari_sam3d.engine.training.runs import runs
from napari_sam3d.plugin.train_widget import TrainWidget
from napari_sam3d.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = small.settings()


def load(settings: TrainSettings, progress: object):
    return small.small_base(settings)


@pytest.fixture
def dock(viewer, qtbot) -> Iterator[TrainWidget]:
    widget = open_dock(viewer, qtbot, load=load)
    widget.set_value(SETTINGS)
    yield widget
    widget.trainer.close()


def train(dock: TrainWidget, qtbot, name: str) -> None:
    """From the start to the verdict."""
    dock.choice.set_name(name)
    qtbot.waitUntil(dock.run.start.isEnabled)
    press(dock.run.start)
    qtbot.waitUntil(lambda: dock.verdict.isVisible() and not dock.running.waits)


def test_two_trainings_one_after_the_other(dock, qtbot) -> None:
    ready(dock, qtbot)
    for name in ("one", "two"):
        train(dock, qtbot, name)
        assert "held-out volume" in dock.verdict.text.text()
        assert dock.running.record.step == 6
        assert [look.step for look in dock.running.record.looks] == [0, 3, 6]
        assert (runs_folder() / name / "progress.png").is_file()
    assert dock.trainer.state == "idle"


def test_what_was_stopped_is_resumed_from_its_files(dock, qtbot, tmp_path) -> None:
    for number in range(3):
        pair = ball_pair(seed=number)
        for ending, data in (("", pair.volume.data), ("_seg", pair.labels)):
            image = nib.Nifti1Image(np.asarray(data).T, np.eye(4))
            nib.save(image, tmp_path / f"ball{number}{ending}.nii.gz")
    dock.preparing.add_folder(tmp_path)
    qtbot.waitUntil(lambda: len(dock.pairs.value()) == 3)
    dock.set_value(replace(SETTINGS, steps=10_000, patience=0, validate_every=100_000))
    dock.choice.set_name("long")
    qtbot.waitUntil(dock.run.start.isEnabled)
    press(dock.run.start)
    qtbot.waitUntil(lambda: dock.running.record.step >= 3)
    press(dock.run.stop)
    qtbot.waitUntil(dock.verdict.isVisible)
    assert "Stopped and saved" in dock.verdict.text.text()
    (info,) = runs()
    assert info.status == "STOPPED" and info.step >= 3 and len(info.files) == 3
    dock.pairs.set_entries([])
    press(dock.run.resume)
    dialog = dock.resuming.dialog
    texts = [dialog.table.item(0, column).text() for column in range(4)]
    assert texts == ["long", "stopped", f"{info.step} of 10000", "compact"]
    dialog.steps.setValue(info.step + 2)
    press(dialog.resume)
    qtbot.waitUntil(lambda: runs()[0].status == "DONE" and not dock.running.waits)
    assert runs()[0].step == info.step + 2
    assert len(dock.pairs.value()) == 3


def test_layers_that_a_run_was_begun_on_have_to_be_there(dock, qtbot) -> None:
    ready(dock, qtbot)
    train(dock, qtbot, "of layers")
    dock.pairs.set_entries([])
    dock.resuming.resume(runs()[0], 12)
    said = notification_manager.records[-1].message
    assert "ball 0, a layer, which is not among the training pairs" in said


def test_a_preview_and_the_adapter_in_the_segment_dock(
    viewer, dock, qtbot, npe2pm, manifest, loader
) -> None:
    npe2pm.register(manifest)
    add_ball_layers(viewer)
    press(dock.pairs.add_layers)
    qtbot.waitUntil(lambda: len(dock.pairs.value()) == 1)
    dock.progress.preview.keep.setChecked(True)
    train(dock, qtbot, "ball")
    assert "optimistic" in dock.verdict.text.text()
    assert "preview: ball" in viewer.layers
    assert (adapters_folder() / "ball.safetensors").is_file()
    press(dock.verdict.use)
    names = list(viewer.window.dock_widgets)
    (segment,) = [viewer.window.dock_widgets[name] for name in names if "Segment" in name]
    assert (segment.value().model, segment.value().adapter) == ("compact", "ball")
    segment.runner.stop()


def test_the_time_is_estimated_by_real_steps(dock, qtbot) -> None:
    ready(dock, qtbot)
    press(dock.choice.estimate)
    qtbot.waitUntil(lambda: "here" in dock.choice.time.text())
    assert not runs_folder().exists() or not list(runs_folder().iterdir())


def test_a_failure_at_the_start_is_a_sentence(viewer, qtbot) -> None:
    def broken(settings, progress):
        raise ValueError("The weights are damaged; add them again.")

    dock = open_dock(viewer, qtbot, load=broken)
    ready(dock, qtbot)
    press(dock.run.start)
    qtbot.waitUntil(dock.verdict.isVisible)
    assert dock.verdict.text.text() == "The weights are damaged; add them again."
    assert not dock.running.waits
