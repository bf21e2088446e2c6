"""Which voxels of which file a layer shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_sam3d.io import NiftiSource
from napari_sam3d.plugin.layers.arrays import as_array
from napari_sam3d.plugin.layers.convert import (
    METADATA,
    shear_matrix,
    source_of,
    volume_from_layer_data,
)
from napari_sam3d.volume import Volume

_GEOMETRY = (
    *("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def place_of(data: Any, meta: Mapping[str, Any]) -> Volume:
    """The volume that the last three axes of layer data span: of a film its first frame.

    Parameters
    ----------
    data
        Array ([...,] z, y, x[, colour]), or the levels of one.
    meta
        Settings of the layer, as `as_layer_data_tuple` gives them.

    Raises
    ------
    ValueError
        With one sentence, when these axes do not run along those of the world.
    """
    data = finest(data, meta)
    shown = data[..., 0] if meta.get("rgb") else data
    extra = len(np.shape(shown)) - 3
    if extra > 0:
        meta = _last_three(meta)
        shown = as_array(shown, (0,) * extra)
    return volume_from_layer_data(shown, meta)


def finest(data: Any, meta: Mapping[str, Any]) -> Any:
    """The array itself, of several levels the first."""
    return data[0] if meta.get("multiscale") else data


def came_as_labels(meta: Mapping[str, Any]) -> bool:
    """Whether the layer was read from a label file, which may be saved over."""
    return bool(meta.get("metadata", {}).get(METADATA, {}).get("is_labels"))


def sources_at(volume: Volume, layers: Iterable[Layer]) -> dict[str, Volume]:
    """The volume with the source of each layer that lies where it lies, by layer name.

    Layers whose files say the same about their place count once.
    """
    found: dict[bytes, tuple[str, Volume]] = {}
    for layer in layers:
        if not isinstance(layer, Image | Labels):
            continue
        data, meta, _ = layer.as_layer_data_tuple()
        try:
            other = place_of(data, meta)
        except ValueError:
            continue
        if other.source is not None and same_voxels(other, volume):
            same = replace(volume, grid=other.grid, source=other.source)
            found.setdefault(_geometry(other.source), (layer.name, same))
    return dict(found.values())


def same_voxels(volume: Volume, other: Volume) -> bool:
    """Whether layers show two volumes at the same voxels, to a thousandth of one."""
    place = other.grid.layer_transform()
    near = 1e-3 * min(place[0])
    same = np.allclose(volume.grid.layer_transform(), place, atol=near)
    return volume.grid.shape == other.grid.shape and bool(same)


def open_files(layers: Iterable[Layer]) -> dict[str, str]:
    """Names of the layers that were read from NIfTI files, by file."""
    files: dict[str, str] = {}
    for layer in layers:
        source = source_of({"metadata": layer.metadata})
        # a mask drawn on an image has the image's source, but is not in its file
        if source is not None and source.path and _is_in_its_file(layer):
            files.setdefault(source.path, layer.name)
    return files


def _is_in_its_file(layer: Layer) -> bool:
    return isinstance(layer, Image) or came_as_labels({"metadata": layer.metadata})


def _geometry(source: NiftiSource) -> bytes:
    """What a header says about the place of its voxels."""
    header = source.header.as_byteswapped("<")
    parts = [np.asarray(header[name]).tobytes() for name in _GEOMETRY]
    return b"".join([repr(source.stored_shape).encode(), *parts])


def _last_three(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a layer for the last three of its axes alone."""
    part = dict(meta)
    for key, size in (("scale", 3), ("translate", 3), ("units", 3), ("affine", 4)):
        if part.get(key) is not None:
            value = part[key] if key == "units" else np.asarray(part[key], float)
            part[key] = value[-size:, -size:] if key == "affine" else value[-size:]
    for key in ("rotate", "shear"):
        value = part.get(key)
        if value is not None:
            value = np.asarray(value, float)
            part[key] = (shear_matrix(value) if key == "shear" else value)[-3:, -3:]
    return part
