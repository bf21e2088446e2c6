"""Where to save a file, above all one that goes with an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.history import get_save_history
from qtpy.QtWidgets import QFileDialog

from napari_sam3d.io import nifti_stem
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.files.export import safe_name

if TYPE_CHECKING:
    from napari.layers import Image
    from qtpy.QtWidgets import QWidget

    from napari_sam3d.volume import Volume


def save_folder() -> Path:
    """Where something was saved last, or the user's own folder."""
    return Path((*get_save_history(), Path.home())[0])


def ask_target(
    image: Image,
    volume: Volume,
    ending: str,
    title: str,
    file_filter: str,
    named: Callable[[str], Path],
    parent: QWidget,
) -> Path | None:
    """Let the user choose a file to save to; None when there is to be none.

    Parameters
    ----------
    image, volume
        What the file goes with: it is suggested beside the image, and called like it.
    ending
        Of the suggested name.
    title, file_filter
        Of the dialogue.
    named
        The path for what was typed, which may lack its suffix.
    parent
        Window in front of which the dialogue stands.
    """
    source = volume.source
    if source is not None and source.path:
        beside = Path(source.path)
        suggested = beside.with_name(f"{nifti_stem(beside.name)}{ending}")
    else:
        suggested = save_folder() / f"{safe_name(image.name)}{ending}"
    return ask_path(suggested, title, file_filter, named, parent)


def ask_path(
    suggested: Path,
    title: str,
    file_filter: str,
    named: Callable[[str], Path],
    parent: QWidget,
) -> Path | None:
    """Let the user choose a file to save to, `suggested` at first; the rest as `ask_target`."""
    chosen, _ = QFileDialog.getSaveFileName(parent, title, str(suggested), file_filter)
    if not chosen:
        return None
    path = named(chosen)
    # the dialog has asked about the name as it was typed
    if str(path) != chosen and path.exists():
        if not questions.allow(f"{path.name} exists already.", "Replace", parent):
            return None
    return path
