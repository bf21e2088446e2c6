"""Weights that the user has as a file, added from the dock."""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.history import get_open_history
from qtpy.QtWidgets import QFileDialog

from napari_sam3d.catalog import model_spec
from napari_sam3d.plugin.files import background, questions
from napari_sam3d.plugin.thread.loading import Apart

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_sam3d.engine.store import Kept

_FILTER = "Weights (*.pth *.pt *.tar *.safetensors);;All files (*)"
_LOOK_S = 0.05


def ask_and_add(chosen: str, parent: QWidget) -> str:
    """Let the user choose a file of weights and keep it; the name of its model.

    Parameters
    ----------
    chosen
        Name of the model in the dock, offered first when the file tells only its family.
    parent
        Window to stand in front of.

    Returns
    -------
    str
        Empty when the user thought better of it.

    Raises
    ------
    ValueError, OSError
        With one sentence, when the file is wrong or cannot be kept.
    """
    from napari_sam3d.engine.store import Unclear

    folder = (*get_open_history(), str(Path.home()))[0]
    picked, _ = QFileDialog.getOpenFileName(parent, "Add weights", folder, _FILTER)
    if not picked:
        return ""
    path = Path(picked)
    try:
        try:
            return _add(path, None).name
        except Unclear as unclear:
            name = _ask_which(path, unclear.names, chosen, parent)
        return _add(path, name).name if name else ""
    except background.Cancelled:
        return ""


def _ask_which(path: Path, names: list[str], chosen: str, parent: QWidget) -> str:
    """The model that a file belongs to, as the user says."""
    names = sorted(names, key=lambda name: name != chosen)
    titles = [f"{name}: {model_spec(name).title}" for name in names]
    at = questions.choose(f"{path.name} does not tell what it was made for.", titles, parent)
    return "" if at is None else names[at]


def _add(path: Path, name: str | None) -> Kept:
    return background.run(_steps(path, name), f"Adding {path.name}")


def _steps(path: Path, name: str | None) -> Generator[float, None, Kept]:
    """Adds the file, and yields how far the download of a SAM file for it is."""
    from napari_sam3d.engine.store import add

    shares, gone, over = [0.0], threading.Event(), threading.Event()

    def progress(done: int, total: int) -> None:
        if gone.is_set() and done != total:
            raise background.Cancelled
        shares[0] = done / total if total else 0.0

    work = Apart(lambda: add(path, name, progress=progress), over.set)
    try:
        while not over.wait(_LOOK_S):
            yield shares[0]
    finally:
        gone.set()
    return work.result()
