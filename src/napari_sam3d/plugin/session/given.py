"""A mask that a Labels layer holds, as what an object starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.plugin.layers.arrays import level_of
from napari_sam3d.plugin.layers.voxels import box_of
from napari_sam3d.plugin.session.mask_layer import same_place
from napari_sam3d.plugin.session.names import titles_of
from napari_sam3d.plugin.session.objects import OBJECTS
from napari_sam3d.prompts import Found

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam3d.volume import Volume


def given(layer: Labels, label_id: int, image: Image, volume: Volume) -> Found:
    """The voxels of one label.

    Parameters
    ----------
    layer
        Any Labels layer on the voxels of the image.
    label_id
        Which label of it.
    image, volume
        What is segmented.

    Raises
    ------
    ValueError
        With a sentence, when the layer lies elsewhere or has no such voxel.
    """
    if not same_place(layer, image, volume):
        raise ValueError(
            f"{layer.name} does not have the voxels of {image.name}: choose a mask of this image."
        )
    data = level_of(layer)
    window = box_of(data, label_id) if label_id else None
    if window is None:
        raise ValueError(
            f"{layer.name} has no voxel with the label {label_id}: choose one of its labels."
            if label_id
            else f"The label 0 of {layer.name} is the background: choose one of its labels."
        )
    mask = np.asarray(data[window]) == label_id
    return Found("", _name(layer, label_id), mask, window)


def _name(layer: Labels, label_id: int) -> str:
    it = (layer.metadata.get(OBJECTS) or {}).get(label_id)
    named = "" if it is None else it.name
    return named or titles_of({"features": layer.features}).get(label_id, "")
