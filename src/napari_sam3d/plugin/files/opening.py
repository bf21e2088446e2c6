"""Opening NIfTI files by a command of our own, and by napari's when the user wants that."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.layers import Layer
from napari.settings import get_settings
from napari.utils.history import get_open_history, update_open_history
from napari.utils.notifications import (
    Notification,
    NotificationSeverity,
    notification_manager,
    show_error,
    show_info,
)
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_sam3d.io import NiftiError, TooLarge, unpack_steps
from napari_sam3d.plugin.files import background
from napari_sam3d.plugin.files.reader import one_of_each_pair, read_layers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.types import LayerDataTuple

PLUGIN = "napari-sam3d"
PATTERNS = ("*.nii", "*.nii.gz")
"""Names that are nobody else's; .hdr and .img are those of other programs, too."""

_FILTER = "NIfTI (*.nii *.nii.gz *.hdr *.img *.hdr.gz *.img.gz);;All files (*)"
_offered: list[bool] = []


def open_nifti() -> None:
    """The command "Open NIfTI...", whatever napari's preferences say."""
    viewer = napari.current_viewer()
    if viewer is not None:
        choose_and_open(viewer)


def prefer() -> None:
    """The command that asks whether napari opens NIfTI files with us from now on."""
    box = QMessageBox(background.main_window())
    box.setWindowTitle("SAM 3D")
    box.setIcon(QMessageBox.Icon.Question)
    if is_preferred():
        box.setText("Files named .nii and .nii.gz are opened with SAM 3D.")
        box.setInformativeText("Shall napari ask again each time?")
        change = box.addButton("Ask again", QMessageBox.ButtonRole.AcceptRole)
        keep = box.addButton("Leave it so", QMessageBox.ButtonRole.RejectRole)
    else:
        box.setText("Open files named .nii and .nii.gz with SAM 3D from now on?")
        box.setInformativeText(
            f"{_now()} This applies to files that are dropped on the window, to File > Open and "
            "to the command line; Preferences > Plugins has it, too."
        )
        change = box.addButton("From now on", QMessageBox.ButtonRole.AcceptRole)
        keep = box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(keep)
    box.exec()
    if box.clickedButton() == change:
        set_preferred(not is_preferred())


def choose_and_open(viewer: ViewerModel, parent: QWidget | None = None) -> list[Layer]:
    """Let the user choose files and open them in a viewer; for the command and for docks.

    Parameters
    ----------
    viewer
        Where the layers go.
    parent
        Widget in front of which the dialogs stand; napari's window by default.
    """
    parent = parent or background.main_window()
    folder = (*get_open_history(), "")[0]
    paths, _ = QFileDialog.getOpenFileNames(parent, "Open NIfTI", folder, _FILTER)
    return open_files(viewer, paths, parent)


def open_files(
    viewer: ViewerModel, paths: Iterable[str], parent: QWidget | None = None
) -> list[Layer]:
    """Open NIfTI files with our reader; what is wrong with one is shown, and the next one tried."""
    opened: list[Layer] = []
    for path in one_of_each_pair(paths):
        try:
            for data in _read(path, parent):
                opened.append(viewer.add_layer(Layer.create(*data)))
            update_open_history(path)
        except background.Cancelled:
            break
        except (NiftiError, OSError) as error:
            show_error(str(error))
    if opened:
        _offer()
    return opened


def open_sample(viewer: ViewerModel, name: str = "phantom") -> list[Layer]:
    """Open a sample in a viewer; nothing when it takes the user too long."""
    from napari_sam3d.plugin.files.sample_data import layers_of

    def steps() -> Generator[float, None, list[LayerDataTuple]]:
        yield 0.0
        return layers_of(name)

    try:
        found = background.run(steps(), f"Opening the sample {name}")
    except background.Cancelled:
        return []
    return [viewer.add_layer(Layer.create(*data)) for data in found]


def is_preferred() -> bool:
    """Whether napari opens NIfTI files with us without asking."""
    readers = get_settings().plugins.extension2reader
    return all(readers.get(pattern) == PLUGIN for pattern in PATTERNS)


def set_preferred(preferred: bool) -> None:
    """Have napari open NIfTI files with us, or no longer; other entries stay as they are."""
    settings = get_settings().plugins
    ours = dict.fromkeys(PATTERNS, PLUGIN)
    others = {
        pattern: plugin
        for pattern, plugin in settings.extension2reader.items()
        if pattern not in ours or (not preferred and plugin != PLUGIN)
    }
    # first: of equally good patterns, as *.gz is to *.nii.gz, napari takes the first
    settings.extension2reader = {**(ours if preferred else {}), **others}


def _read(path: str, parent: QWidget | None) -> list[LayerDataTuple]:
    """As `read_layers`; what needs much memory is read, unpacked or left as the user says."""
    try:
        return read_layers(path)
    except TooLarge as error:
        answer = _ask(error, parent)
    if answer == "read":
        return read_layers(path, allow_large=True)
    if answer == "unpack":
        beside = path[: -len(".gz")] if path.lower().endswith(".gz") else f"{path}.nii"
        target, _ = QFileDialog.getSaveFileName(parent, "Unpack to", beside, "NIfTI (*.nii)")
        if target:
            target = target if target.lower().endswith(".nii") else f"{target}.nii"
            steps = unpack_steps(path, target)
            return read_layers(str(background.run(steps, f"Unpacking {Path(path).name}")))
    raise background.Cancelled


def _ask(error: TooLarge, parent: QWidget | None) -> str:
    """What to do with a file that needs much memory: "read", "unpack" or ""."""
    box = QMessageBox(parent)
    box.setWindowTitle("SAM 3D")
    box.setIcon(QMessageBox.Icon.Warning)
    box.setText(str(error))
    buttons: dict[Any, str] = {
        box.addButton("Unpack...", QMessageBox.ButtonRole.AcceptRole): "unpack"
    }
    if error.readable:
        buttons[box.addButton("Read it anyway", QMessageBox.ButtonRole.DestructiveRole)] = "read"
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    return next((answer for b, answer in buttons.items() if b == box.clickedButton()), "")


def _now() -> str:
    """What happens to NIfTI files so far, in a sentence."""
    readers = get_settings().plugins.extension2reader
    others = sorted({readers[p] for p in PATTERNS if p in readers})
    return f"Now it is {' and '.join(others)} that opens them." if others else "Now napari asks."


def _offer() -> None:
    """Ask once, without standing in the way, whether napari shall open such files with us."""
    readers = get_settings().plugins.extension2reader
    if _offered or any(pattern in readers for pattern in PATTERNS):
        return
    _offered.append(True)

    def accept(*_: object) -> None:
        set_preferred(True)
        show_info("NIfTI files are opened with SAM 3D now; File > IO Utilities can undo that.")

    notification_manager.dispatch(
        Notification(
            "SAM 3D can open NIfTI files that are dropped on the window, too.",
            NotificationSeverity.INFO,
            actions=[("From now on", accept)],
        )
    )
