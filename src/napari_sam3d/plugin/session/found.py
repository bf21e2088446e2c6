"""What a model finds by itself, as objects beside those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.plugin.session.mask_layer import free_id, make_room
from napari_sam3d.plugin.session.objects import Found, Object, Request
from napari_sam3d.prompts import Prompts, Said

if TYPE_CHECKING:
    from napari_sam3d.catalog import ModelSpec
    from napari_sam3d.plugin.session.session import Session


def request_all(session: Session) -> Request:
    """To ask for all that the model of a session finds without prompts.

    Raises
    ------
    ValueError
        With a sentence, when there is no image, or what the model finds is there already.
    """
    _, volume = session.require_image()
    if any(it.untouched and it.model == session.model for it in session.objects.values()):
        raise ValueError(
            f"What {session.model} finds is there already: choose one of its objects and press "
            "Undo to have all found anew."
        )
    return Request(None, volume, Prompts(), None, session.model)


def add_found(session: Session, request: Request, found: Sequence[Found]) -> dict[int, Found]:
    """Make an object of each class that was found; the new ones, by number.

    Numbers are free ones, and every voxel that belongs to another object stays with it. A class
    without a voxel of its own is left out.
    """
    if request.volume is not session.volume:
        return {}
    labels, _ = session.ensure_layers()
    own = [it for it in found if np.any(labels.data[it.window][it.mask] == 0)]
    if not own:
        return {}
    undone = [n for n, it in session.objects.items() if it.taken_back and it.model == request.model]
    for number in undone:  # they would come back beside the new ones
        del session.objects[number]
    numbered = dict(enumerate(own, free_id(labels, session.used())))
    make_room(labels, max(numbered))
    for number, it in numbered.items():
        session.objects[number] = Object(Prompts(start=it, past=(Said(),)), name=it.name)
        session.show(number, it)
    session.select(next(iter(numbered)))
    return numbered


def split(labels: np.ndarray, spec: ModelSpec) -> tuple[Found, ...]:
    """The classes that occur in a label map of a model, each in its window."""
    from scipy.ndimage import find_objects

    return tuple(
        Found(spec.name, spec.classes[n - 1], labels[window] == n, window)
        for n, window in enumerate(find_objects(labels), start=1)
        if window is not None
    )
