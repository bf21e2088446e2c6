"""npe2 writers: image and labels layers as NIfTI files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3d.io import write_image, write_labels
from napari_sam3d.plugin.layers import METADATA, volume_from_layer_data
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.types import FullLayerData

_SUFFIX = re.compile(r"(\.nii(\.gz)?)?$", re.IGNORECASE)


def write_single(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one image or labels layer; `.nii.gz` is appended to a name without extension.

    Raises
    ------
    ValueError, OSError
        With one sentence for the user.
    """
    # npe2 does not say which type the layer has; only images have contrast limits
    kind = "image" if "contrast_limits" in meta else "labels"
    if meta.get("rgb"):
        raise ValueError(f"{meta.get('name')} is a colour image; NIfTI export takes grey values.")
    volume = volume_from_layer_data(data, meta)
    return [_write(path, volume, kind, _came_as_labels(meta))]


def write_multi(path: str, layers: Sequence[FullLayerData]) -> list[str]:
    """Write every labels and image layer to a file of its own.

    With several layers each file gets the name of its layer appended. A labels layer without a
    source takes the header of an image in the same place. Other layers are left out.

    Raises
    ------
    ValueError, OSError
        With one sentence for the user.
    """
    chosen = [
        (volume_from_layer_data(data, meta), kind, _came_as_labels(meta))
        for data, meta, kind in layers
        if kind in ("image", "labels") and not meta.get("rgb")
    ]
    if not chosen:
        raise ValueError("There is no image or labels layer among those to save.")
    images = [volume for volume, kind, _ in chosen if kind == "image"]
    written: list[str] = []
    for volume, kind, came_as_labels in chosen:
        if kind == "labels" and volume.source is None:
            volume = _with_source_of(volume, images)
        own = path if len(chosen) == 1 else _numbered(path, volume.name, written)
        written.append(_write(own, volume, kind, came_as_labels))
    return written


def _write(path: str, volume: Volume, kind: str, came_as_labels: bool) -> str:
    if kind == "image":
        target = write_image(path, volume.data, volume.grid, volume.source, overwrite=True)
    else:
        target = write_labels(
            path,
            volume.data,
            volume.grid,
            volume.source,
            overwrite=True,  # napari's dialog has asked
            replace_source=came_as_labels,
        )
    return str(target)


def _came_as_labels(meta: dict[str, Any]) -> bool:
    """Whether the layer was read from a label file, which may be saved over."""
    return bool(meta.get("metadata", {}).get(METADATA, {}).get("is_labels"))


def _with_source_of(labels: Volume, images: Sequence[Volume]) -> Volume:
    """The labels with the source of the only image that lies where they lie, if there is one."""
    scale, translate = labels.grid.layer_transform()
    found = [
        image
        for image in images
        if image.source is not None
        and image.grid.shape == labels.grid.shape
        and np.allclose(image.grid.layer_transform(), (scale, translate), atol=1e-3 * min(scale))
    ]
    if len(found) != 1:
        return labels
    return replace(labels, grid=found[0].grid, source=found[0].source)


def _numbered(path: str, layer_name: str, taken: Sequence[str]) -> str:
    """Path with the layer's name before the extension, and a number when that is taken."""
    end = _SUFFIX.search(path)
    assert end is not None
    suffix = end.group() or ".nii.gz"
    safe = re.sub(r"[^\w.-]+", "_", layer_name).strip("_.") or "layer"
    base = f"{path[: end.start()]}_{safe}"
    candidate, number = base + suffix, 2
    names = {Path(t).name for t in taken}
    while Path(candidate).name in names:
        candidate, number = f"{base}-{number}{suffix}", number + 1
    return candidate
