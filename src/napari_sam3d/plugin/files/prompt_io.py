"""Prompts of a session to a file and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_sam3d.io.prompt_file import json_path, read_prompts, write_prompts
from napari_sam3d.io.prompt_rows import ObjectPrompts
from napari_sam3d.plugin.files.asking import ask_target
from napari_sam3d.plugin.files.export import listing
from napari_sam3d.plugin.session.objects import Object
from napari_sam3d.prompts import Prompts

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_sam3d.plugin.session.session import Session

_FILTER = "Prompts (*.json)"


def save_prompts(session: Session, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write the prompts of all objects; ValueError or OSError with a sentence."""
    _, volume = session.require_image()
    return write_prompts(path, all_prompts(session.objects), volume, overwrite=overwrite)


def all_prompts(objects: Mapping[int, Object]) -> tuple[ObjectPrompts, ...]:
    """What was said about each object, as a file of prompts has it."""
    return tuple(
        ObjectPrompts(number, said.points, it.name, said.box, said.scribbles)
        for number, it in sorted(objects.items())
        if (said := it.prompts).parts
    )


def load_prompts(session: Session, path: str | Path) -> dict[int, int]:
    """Add the objects of a file to those that are there; ValueError with a sentence.

    Returns
    -------
    dict
        The number of each in the file, and here.
    """
    _, volume = session.require_image()
    loaded = read_prompts(path, volume)
    # a step of its own, so that Undo takes the prompts back
    return session.add_objects(
        {it.id: Object(Prompts().become(it.said), name=it.name) for it in loaded}
    )


def ask_and_save_prompts(session: Session, parent: QWidget) -> str:
    """Let the user choose a file to save to; a sentence about what was done."""
    image, volume = session.require_image()
    if not all_prompts(session.objects):
        raise ValueError("There are no prompts to save: click on the object first.")
    path = ask_target(image, volume, "_prompts.json", "Save prompts", _FILTER, json_path, parent)
    if path is None:
        return ""
    return f"Prompts saved in {save_prompts(session, path, overwrite=True).name}."


def ask_and_load_prompts(session: Session, parent: QWidget) -> str:
    """Let the user choose a file to load; a sentence about what was done."""
    _, volume = session.require_image()
    folder = Path(volume.source.path).parent if volume.source and volume.source.path else ""
    chosen, _ = QFileDialog.getOpenFileName(parent, "Load prompts", str(folder), _FILTER)
    if not chosen:
        return ""
    numbers = load_prompts(session, chosen)
    count = "1 object" if len(numbers) == 1 else f"{len(numbers)} objects"
    moved = [f"{old} is {new}" for old, new in numbers.items() if old != new]
    text = f"Loaded {count} from {Path(chosen).name}."
    return f"{text} Numbers that were taken: {listing(moved)} here." if moved else text
