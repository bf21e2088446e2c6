"""The Labels layer that masks are written into, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_sam3d.plugin.layers.convert import METADATA, source_of
from napari_sam3d.plugin.layers.placing import transform
from napari_sam3d.plugin.layers.voxels import widened
from napari_sam3d.plugin.session.frames import STEP, step_title
from napari_sam3d.plugin.session.objects import OBJECTS, Found, Object
from napari_sam3d.volume import Volume, Window
from napari_sam3d.windows import around, moved

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_sam3d.engine.predictor import Prediction

Rule = Callable[[int, np.ndarray, np.ndarray, Window], tuple[np.ndarray, np.ndarray]]

_UNDOABLE = 200_000
"""Changes of more voxels are kept out of the undo history of the layer, where each would take
24 bytes; `data_setitem` of a million voxels also takes 77 ms, the other way 6 ms."""


def new_labels(image: Image, volume: Volume) -> Labels:
    """Empty Labels layer on the grid of an image; saving it writes the source's header.

    It is uint8, which napari shows without converting the whole volume at each refresh.
    """
    metadata = {**image.metadata, STEP: volume.step} if volume.step else dict(image.metadata)
    if METADATA in metadata:  # whatever the image is, these labels are not in its file
        metadata[METADATA] = {**metadata[METADATA], "is_labels": False}
    return Labels(
        no_labels(volume),
        name=f"{image.name}_seg{step_title(volume.step)}",
        opacity=0.6,
        metadata=metadata,
        **transform(image),
    )


def no_labels(volume: Volume) -> np.ndarray:
    """Zeros on a volume, which take address space for all of them, and memory where written to.

    Raises
    ------
    ValueError
        With one sentence, when there is no room for them.
    """
    try:
        return np.zeros(volume.grid.shape, np.uint8)
    except MemoryError as error:
        size = math.prod(volume.grid.shape) / 1e9
        raise ValueError(
            f"{volume.name} is too large: its masks would need {size:.3g} GB of memory; crop it, "
            "or use a coarser level of it as a layer."
        ) from error


def same_place(labels: Labels, image: Image, volume: Volume) -> bool:
    """Whether a Labels layer has the voxels of an image, at the same places."""
    placed = transform(image)
    return tuple(labels.data.shape) == volume.grid.shape and all(
        np.allclose(getattr(labels, key), placed[key]) for key in ("scale", "translate")
    )


def labels_with_objects(
    layers: Iterable[Layer], image: Image, volume: Volume
) -> tuple[Labels, dict[int, Object]] | None:
    """The last Labels layer on an image that an earlier session left, with its objects."""
    for layer in layers:
        kept = layer.metadata.get(OBJECTS) if isinstance(layer, Labels) else None
        if kept is None or layer.metadata.get(STEP, ()) != volume.step:
            continue
        of, on = (source_of({"metadata": it.metadata}) for it in (layer, image))
        if of is not None and on is not None and of.path != on.path:
            continue  # another volume of the same size
        # a step is come back to, also before there is an object
        if (kept or volume.step) and same_place(layer, image, volume):
            return layer, kept
    return None


def free_id(labels: Labels, taken: set[int]) -> int:
    """The smallest id above all that are taken or painted."""
    return max(*taken, int(np.max(labels.data)), 0) + 1


def show_mask(
    labels: Labels,
    object_id: int,
    shown: Prediction | Found | None,
    before: Prediction | Found | None,
    rule: Rule | None = None,
) -> int:
    """Show the mask of an object in place of the one before; returns how many voxels changed."""
    return write_mask(
        labels,
        object_id,
        None if shown is None else shown.mask,
        None if shown is None else shown.window,
        None if before is None else before.window,
        rule,
    )


def write_mask(
    labels: Labels,
    object_id: int,
    mask: np.ndarray | None,
    window: Window | None,
    old_window: Window | None,
    rule: Rule | None = None,
) -> int:
    """Make the voxels of one object those of a mask; returns how many changed.

    Voxels of other objects stay as they are, also where the mask covers them, unless a rule says
    otherwise.

    Parameters
    ----------
    labels
        The layer.
    object_id
        The value of the object's voxels.
    mask
        Boolean block, or None for no voxel at all.
    window
        Where the block sits.
    old_window
        Where the object's voxels were; they are cleared outside the mask.
    rule
        What is wanted and what is free, made of the id, what the mask wants, the labels that are
        there, and the window of both.
    """
    make_room(labels, object_id)
    box = around(w for w in (window, old_window) if w is not None)
    now = labels.data[box]
    if mask is None or window is None:
        wanted = np.zeros(now.shape, bool)
    else:
        wanted = mask if window == box else moved(mask, window, box)
    free = now == 0
    if rule is not None:
        wanted, free = rule(object_id, wanted, now, box)
    gained = wanted & free
    lost = (now == object_id) & ~wanted
    gains, losses = np.count_nonzero(gained), np.count_nonzero(lost)
    if gains + losses > _UNDOABLE:
        now[gained] = object_id
        now[lost] = 0
        labels.refresh(extent=False, highlight=False, thumbnail=False)
    elif gains + losses:
        voxels = tuple(
            np.concatenate([g, m]) + b.start
            for g, m, b in zip(np.nonzero(gained), np.nonzero(lost), box, strict=True)
        )
        values = np.repeat(np.array([object_id, 0], now.dtype), [gains, losses])
        labels.data_setitem(voxels, values)
    return int(gains + losses)


def make_room(labels: Labels, object_id: int) -> None:
    """Widen the dtype of the layer when an id does not fit."""
    if object_id > np.iinfo(labels.data.dtype).max:
        labels.data = widened(labels.data, np.min_scalar_type(object_id))
