"""napari ends in the middle of a training: nothing hangs or crashes, the run goes on later."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_sam3d._tests.engine.training.small import balls, settings, small_base
from napari_sam3d.engine.training import Finished, RunFolder, train

CODE = """
import sys
import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton
from napari_sam3d._tests.engine.training.small import settings, small_base
from napari_sam3d._tests.plugin.thread.test_trainer import pairs
from napari_sam3d.engine.training import Step
from napari_sam3d.plugin.train_widget import TrainWidget

how, asked = sys.argv[1], []
viewer = napari.Viewer()
dock = TrainWidget(viewer, lambda wanted, progress: small_base(wanted))
viewer.window.add_dock_widget(dock, name="Train")
window = dock.window()

def end():
    if how == "Ctrl+Q":
        # what Ctrl+Q does; no window is active, and no key a shortcut, without a window manager
        window.close(quit_app=True, confirm_need=True)
    elif how == "window":
        window.close()
    else:
        QApplication.exit()

def on_event(event):
    if isinstance(event, Step) and event.step >= 3:
        dock.trainer.event.disconnect(on_event)
        QTimer.singleShot(0, end)

def answer():
    box = QApplication.activeModalWidget()
    if isinstance(box, QMessageBox):
        asked.append(box.text())
        [it] = [it for it in box.findChildren(QPushButton) if it.text() == "Stop and save"]
        it.click()
    elif type(box).__name__ == "ConfirmCloseDialog":  # napari's own, before any other
        box.accept()

dock.trainer.event.connect(on_event)
timer = QTimer(interval=20)
timer.timeout.connect(answer)
timer.start()
wanted = settings(steps=1_000_000, validate_every=100_000)
QTimer.singleShot(0, lambda: dock.trainer.start(wanted, pairs(), "balls"))
napari.run()
print("over", len(asked))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "asked"), [("Ctrl+Q", 1), ("window", 1), ("at once", 0)])
def test_napari_may_end_in_the_middle_of_a_step(real_viewer, one_thread, how, asked) -> None:
    words = [sys.executable, "-c", CODE, how]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, [f"over {asked}"]), done.stderr
    folder = RunFolder.called("balls")
    step = folder.read_state()["step"]
    assert step >= 3 and '"STOPPED"' in folder.status.read_text()
    wanted = settings(steps=step + 1, validate_every=100_000)
    events = list(train(wanted, balls(3), folder, resume=True, load=small_base))
    assert events[0].step == step and isinstance(events[-1], Finished)
