"""Makes the picture of the README from the real window: `python scripts/screenshots.py`.

It needs a screen, or `xvfb-run -a -s "-screen 0 1280x800x24"` before it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "docs" / "segment-dock.png"
CLICKS = {
    "liver": [((60, 80, 62), True), ((60, 70, 80), True), ((60, 100, 45), True)],
    "spleen": [((60, 103, 148), True)],
    "spine": [((60, 112, 96), True), ((60, 97, 102), False)],
}
"""In the phantom, (z, y, x): points by the name of their object, and their signs."""


def main() -> None:
    """Segment three objects of the phantom, and photograph the window."""
    folder = tempfile.mkdtemp()  # what the user has set and not saved is left alone
    os.environ["NAPARI_CONFIG"] = os.path.join(folder, "settings.yaml")
    os.environ["NAPARI_SAM3D_WORK"] = os.path.join(folder, "work")
    import napari
    from qtpy.QtWidgets import QApplication

    def wait(until: Callable[[], bool]) -> None:
        end = time.monotonic() + 300
        while not until() and time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    _, dock = viewer.window.add_plugin_dock_widget("napari-sam3d", "Segment")
    dock.guide.sample.click()
    wait(lambda: dock.session.image is not None)
    for number, (name, points) in enumerate(CLICKS.items(), start=1):
        dock.session.new_object()
        for voxel, positive in points:
            dock.session.prompt_layer.add(voxel, positive)
        wait(lambda number=number: bool((dock.session.labels.data == number).any()))
        wait(lambda: not dock.session.pending() and not dock.controls.cancel.isEnabled())
        dock.session.rename(number, name)
    viewer.dims.set_point(range(3), dock.session.image.data_to_world((60, 80, 90)))
    dock.overview.object_section.expand(animate=False)
    viewer.window.resize(1280, 800)
    wait(lambda: len(dock.overview.measuring.values) == len(CLICKS))
    until = time.monotonic() + 3
    wait(lambda: time.monotonic() > until)
    viewer.screenshot(str(PICTURE), canvas_only=False, flash=False)
    viewer.close()


if __name__ == "__main__":
    main()
