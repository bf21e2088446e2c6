"""Makes the pictures of the documentation from the real window.

`python scripts/screenshots.py`, or with the names of some pictures. It needs a screen, or
`xvfb-run -a -s "-screen 0 1280x1024x24"` before it; the training takes some minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
SIZE = (1280, 800)
GREYS, COLOURS = 192, 64
"""Of a picture's palette: for its large parts, and for marks of a few pixels."""
LIMITS = (-160, 240)
"""Contrast of the phantom."""
CLICKS = {
    "liver": [((60, 80, 62), True), ((60, 70, 80), True), ((60, 100, 45), True)],
    "spleen": [((60, 103, 148), True)],
    "spine": [((60, 112, 96), True), ((60, 97, 102), False)],
}
"""In the phantom, (z, y, x): points by the name of their object, and their signs."""


KIDNEY = ((74, 103, 139), (66, 104, 122), (84, 106, 124))
"""In the phantom, (z, y, x): places that are aimed at in the 3D view."""


def main() -> None:
    """Make the pictures that were named, or all."""
    unknown = set(sys.argv[1:]) - set(PICTURES)
    if unknown:
        sys.exit(f"There is no picture {min(unknown)}; there are {', '.join(PICTURES)}.")
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        folder = tempfile.mkdtemp()  # what the user has set and not saved is left alone
        os.environ["NAPARI_CONFIG"] = os.path.join(folder, "settings.yaml")
        os.environ["NAPARI_SAM3D_WORK"] = os.path.join(folder, "work")
        os.environ["NAPARI_SAM3D_DATA"] = os.path.join(folder, "data")
        PICTURES[name]()


def segment_dock() -> None:
    """Three objects of the phantom, clicked in a slice; and the dialog that saves them."""
    viewer, dock = _window("Segment")
    dock.guide.sample.click()
    _wait(lambda: dock.session.image is not None)
    for number, (name, points) in enumerate(CLICKS.items(), start=1):
        if number > 1:
            dock.controls.new.click()
        for voxel, positive in points:
            _click(viewer, dock.session.image, voxel, positive)
        _wait(lambda number=number: bool((dock.session.labels.data == number).any()))
        _answered(dock)
        dock.session.rename(number, name)
    dock.overview.object_section.expand(animate=False)
    _wait(lambda: len(dock.overview.measuring.values) == len(CLICKS))
    _save(viewer, "segment-dock")
    dock.files.save.click()
    (dialog,) = (it for it in _shown_dialogs() if "NIfTI" in it.windowTitle())
    dialog.folder.setText("~")
    dialog.itksnap.setChecked(True)
    _settle()
    _write(dialog.grab(), "save-masks")
    dialog.reject()
    viewer.close()


def click_in_3d() -> None:
    """A kidney of the phantom, clicked in the 3D view."""
    viewer, dock = _window("Segment")
    dock.guide.sample.click()
    _wait(lambda: dock.session.image is not None)
    image = dock.session.image
    image.contrast_limits = (70, 330)  # bone, and what took up contrast agent
    viewer.dims.ndisplay = 3
    camera = viewer.scene.camera
    camera.set_view_direction(view_direction=(0.2, 1, 0.35), up_direction=(-1, 0, 0))
    camera.zoom *= 1.3
    _settle()
    for voxel in KIDNEY:
        _click(viewer, image, voxel)
        _answered(dock)
    _save(viewer, "click-3d")
    viewer.close()


def train_dock() -> None:
    """A training on three phantoms, of which one is held out."""
    from napari_sam3d.settings import TrainSettings

    viewer, dock = _window("Train")
    for seed in (3, 2, 1):
        _add_phantom(viewer, seed)
    _press(dock.pairs.add_layers)
    dock.set_value(TrainSettings(steps=48, validate_every=8, objects=2, accumulate=1))
    dock.choice.set_name("organs")
    _wait(dock.run.start.isEnabled)
    _press(dock.run.start)
    _wait(lambda: len(dock.running.record.looks) >= 1, seconds=1500)
    held_out = dock.running.record.started.held_out[0]
    for layer in viewer.layers:
        layer.visible = layer.name == held_out or layer.name.startswith("preview")
    viewer.layers.selection.active = viewer.layers[held_out]
    _wait(lambda: len(dock.running.record.looks) >= 5, seconds=1500)
    _save(viewer, "train-dock")
    _press(dock.run.stop)
    _wait(dock.verdict.isVisible, seconds=300)
    viewer.close()


PICTURES: dict[str, Callable[[], None]] = {
    "segment-dock": segment_dock,
    "click-3d": click_in_3d,
    "train-dock": train_dock,
}


def _window(dock: str) -> tuple[Any, Any]:
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    _, widget = viewer.window.add_plugin_dock_widget("napari-sam3d", dock)
    _settle()
    return viewer, widget


def _add_phantom(viewer: Any, seed: int) -> None:
    """The middle of a phantom, with the labels of some organs."""
    import numpy as np

    from napari_sam3d.phantom import draw_phantom
    from napari_sam3d.samples import PHANTOM_SPACING

    image, labels, names = draw_phantom(seed)
    wanted = [number for number, name in names.items() if name in ("spleen", "aorta")]
    part = np.s_[24:88, 40:150, 70:180]
    chosen = np.where(np.isin(labels, wanted), labels, 0).astype(np.uint8)
    name = f"patient {seed}"
    place = {"scale": PHANTOM_SPACING, "visible": seed == 1}
    viewer.add_image(image[part], name=name, contrast_limits=LIMITS, **place)
    viewer.add_labels(chosen[part], name=f"{name} labels", **place)


def _click(viewer: Any, image: Any, voxel: tuple[int, int, int], positive: bool = True) -> None:
    """A real click where a voxel is drawn; in a slice, in that of the voxel."""
    from napari_sam3d._tests.plugin.view3d import hover, mouse, pixel_of

    if viewer.dims.ndisplay == 2:
        viewer.dims.set_point(range(3), image.data_to_world(voxel))
        _settle(0.3)
    pixel = pixel_of(viewer, image, voxel)
    hover(viewer, pixel)
    mouse(viewer, pixel, modifier="NoModifier" if positive else "ControlModifier")


def _press(button: Any) -> None:
    """A real click on a button."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def _answered(dock: Any) -> None:
    _wait(lambda: not dock.session.pending() and not dock.controls.cancel.isEnabled())


def _wait(until: Callable[[], bool], seconds: float = 300) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError(f"The window was not ready within {seconds:g} s.")
        QApplication.processEvents()
        time.sleep(0.01)


def _settle(seconds: float = 2) -> None:
    """Let the window draw what has changed."""
    end = time.monotonic() + seconds
    _wait(lambda: time.monotonic() > end)


def _shown_dialogs() -> list[Any]:
    from qtpy.QtWidgets import QApplication, QDialog

    return [it for it in QApplication.topLevelWidgets() if isinstance(it, QDialog)]


def _save(viewer: Any, name: str) -> None:
    viewer.window.resize(*SIZE)
    _settle()
    _write(viewer.window._qt_window.grab(), name)


def _write(pixmap: Any, name: str) -> None:
    """A PNG with a palette, which is a third as large."""
    from PIL import Image

    path = FOLDER / f"{name}.png"
    pixmap.save(str(path))
    with Image.open(path) as opened:
        whole = opened.convert("RGB")
    common = whole.quantize(GREYS, Image.Quantize.MEDIANCUT).getpalette() or []
    # the octree keeps the colours of what is too small for the median cut
    marks = whole.quantize(COLOURS, Image.Quantize.FASTOCTREE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*common[: 3 * GREYS], *marks[: 3 * COLOURS]])
    few = whole.quantize(palette=palette, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(path.name, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
