"""Pairs of open layers: which labels lie on which image, and copies of them to learn from."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels

from napari_sam3d.labelled import Pair
from napari_sam3d.plugin.dock.probability import PROBABILITY
from napari_sam3d.plugin.layers.convert import volume_from_layer
from napari_sam3d.plugin.layers.origin import same_voxels
from napari_sam3d.plugin.layers.voxels import slabs
from napari_sam3d.plugin.session.frames import step_of
from napari_sam3d.plugin.session.names import titles_of
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel

PREVIEW = "napari_sam3d_preview"
"""Key in the metadata of layers that only show how a training goes."""
_ENDING = re.compile(r"[ ._-](seg|segmentation|labels?|mask|gt|image|img|0000)$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Match:
    """An Image layer, and the Labels layer that belongs to it."""

    image: Image
    labels: Labels


def images_of(viewer: ViewerModel) -> list[Image]:
    """The images of a viewer that can be learned from."""
    layers = [it for it in viewer.layers if isinstance(it, Image) and it.ndim >= 3 and not it.rgb]
    return [it for it in layers if PROBABILITY not in it.metadata]


def labels_of(viewer: ViewerModel) -> list[Labels]:
    """The Labels layers of a viewer that can be learned from."""
    layers = [it for it in viewer.layers if isinstance(it, Labels) and it.ndim >= 3]
    return [it for it in layers if PREVIEW not in it.metadata]


def matches(viewer: ViewerModel) -> tuple[list[Match], list[Labels]]:
    """Labels with the image that they lie on, and labels of which it is not clear.

    Of several images at one place it is the one with the same name, up to an ending such as
    _image or _seg; of several labels on one image likewise.
    """
    volumes = [(image, volume) for image in images_of(viewer) if (volume := _volume(viewer, image))]
    found: list[Match] = []
    unclear: list[Labels] = []
    for labels in labels_of(viewer):
        own = _volume(viewer, labels)
        on = [image for image, volume in volumes if own is not None and same_voxels(volume, own)]
        on = _called_like(labels, on) or on
        if len(on) == 1:
            found.append(Match(on[0], labels))
        else:
            unclear.append(labels)
    clear: list[Match] = []
    for image, _ in volumes:
        there = [it for it in found if it.image is image]
        named = [it for it in there if layer_stem(it.labels.name) == layer_stem(image.name)]
        chosen = there if len(there) <= 1 else named
        if len(chosen) != 1:
            chosen = []
        clear += chosen
        unclear += [it.labels for it in there if it not in chosen]
    return clear, unclear


def snapshots(viewer: ViewerModel, wanted: Sequence[Match]) -> Generator[float, None, list[Pair]]:
    """Pairs with copies of the labels as they are now, a slab at a time.

    Raises
    ------
    ValueError
        With one sentence, when a layer is no scalar volume along the axes of the world.
    """
    pairs = []
    for number, match in enumerate(wanted):
        volume = volume_from_layer(match.image, step_of(viewer, match.image))
        labels = volume_from_layer(match.labels, step_of(viewer, match.labels))
        copy = np.empty(labels.grid.shape, labels.data.dtype)
        for first, slab in slabs(labels.data):
            copy[first : first + len(slab)] = slab
            yield (number + (first + len(slab)) / len(copy)) / len(wanted)
        names = titles_of({"features": match.labels.features, "metadata": match.labels.metadata})
        grid = labels.grid
        if labels.source is None and same_voxels(volume, labels):
            grid = volume.grid  # painted on the image, whose file may be tilted
        pairs.append(Pair(volume, copy, grid, names))
    return pairs


def _volume(viewer: ViewerModel, layer: Image | Labels) -> Volume | None:
    """What a layer shows now; None when that is no volume."""
    try:
        return volume_from_layer(layer, step_of(viewer, layer))
    except ValueError:
        return None


def _called_like(labels: Labels, images: Sequence[Image]) -> list[Image]:
    return [image for image in images if layer_stem(image.name) == layer_stem(labels.name)]


def layer_stem(name: str) -> str:
    """A name without the endings that tell images from labels."""
    while (shorter := _ENDING.sub("", name)) != name:
        name = shorter
    return name
