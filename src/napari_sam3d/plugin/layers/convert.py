"""Volumes as napari layers, and layers as volumes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3d.io import NiftiSource, is_labels, nifti_stem
from napari_sam3d.io.checks import is_large
from napari_sam3d.io.write import label_dtype
from napari_sam3d.plugin.layers.arrays import as_array, level_of
from napari_sam3d.plugin.layers.placing import transform
from napari_sam3d.volume import Grid, Volume

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from napari.types import LayerDataTuple

    from napari_sam3d.io import NiftiImage
    from napari_sam3d.io.label_names import LabelName

METADATA = "napari_sam3d"
"""Key of `layer.metadata` under which the NIfTI source is kept, as `NiftiSource.as_dict`."""

AXIS_LABELS = ("I", "P", "L")
_MANY = 256
_LARGE = 10_000_000  # voxels
_MM_PER_UNIT = {
    "nanometer": 1e-6,
    "micrometer": 1e-3,
    "micron": 1e-3,
    "centimeter": 10.0,
    "meter": 1e3,
    "nm": 1e-6,
    "um": 1e-3,
    "µm": 1e-3,
    "cm": 10.0,
    "m": 1e3,
}


def layer_data(
    image: NiftiImage | Volume, as_labels: bool | None = None, names: Sequence[LabelName] = ()
) -> LayerDataTuple:
    """What napari needs to show an image: array, layer settings, layer type.

    Parameters
    ----------
    image
        A file or a volume; its array is not copied for an image, and is for labels, to be painted
        on, unless memory does not hold it.
    as_labels
        Whether it is a label map; None decides by its header, name and values.
    names
        Names and colours of the labels, for a label map.
    """
    said_labels = as_labels is not False and is_labels(image)
    if as_labels is None:
        as_labels = said_labels
    axes, rgb, step = "", False, None
    if isinstance(image, Volume):
        grid, source = image.grid, image.source
    else:
        grid, source = image.source.grid, image.source
        axes, rgb, step = image.axes, image.rgb, image.time_step
    scale, translate = grid.layer_transform()
    kept: dict[str, Any] = {}
    if source is not None:
        kept[METADATA] = {
            **source.as_dict(),
            "tilt_deg": grid.tilt_deg,
            "is_labels": said_labels,
        }
    meta = {
        "name": nifti_stem(image.name),
        "scale": (*((step or 1.0) if axis == "T" else 1.0 for axis in axes), *scale),
        "translate": (*(0.0 for _ in axes), *translate),
        "units": (*("s" if axis == "T" else "pixel" for axis in axes), *("mm",) * 3),
        "axis_labels": (*axes, *AXIS_LABELS),
        "metadata": kept,
    }
    if not as_labels:
        return image.data, {**meta, **_looks(image.data, rgb)}, "image"
    return _to_paint_on(image.data), {**meta, **names_meta(names)}, "labels"


def _looks(data: Any, rgb: bool) -> dict[str, Any]:
    """Layer settings by which napari need not look through a large image, for half a second."""
    if rgb:
        return {"rgb": True}
    if not isinstance(data, np.ndarray) or data.size < _LARGE:
        return {}
    slices = data[np.linspace(0, len(data) - 1, 9).astype(int)]
    finite = slices[np.isfinite(slices)] if data.dtype.kind == "f" else slices
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return {"contrast_limits": (low, high)} if low < high else {}


def names_meta(names: Sequence[LabelName]) -> dict[str, Any]:
    """Layer settings of a Labels layer whose labels have these names and colours."""
    meta: dict[str, Any] = {}
    if names:
        texts = {0: "background", **{it.id: it.name for it in names if it.name}}
        meta["features"] = {"index": list(texts), "name": list(texts.values())}
    colors = {it.id: it.color for it in names if it.color is not None}
    if colors:
        from napari.utils.colormaps import DirectLabelColormap, label_colormap

        # the others keep the colours that napari gives them; beyond a byte they share one
        usual = label_colormap(49, 0.5)
        ids = {*range(1, 256), *(it.id for it in names)} - {0}
        rest = {label: usual.map(label) for label in ids}
        chosen = {**rest, **colors, 0: "transparent", None: usual.map(_MANY)}
        meta["colormap"] = DirectLabelColormap(color_dict=chosen)
    return meta


def _to_paint_on(data: Any) -> Any:
    """A copy of a label map in a type that napari draws fast, where memory holds it."""
    dtype = data.dtype
    if dtype.kind == "f" or dtype.itemsize > 2:  # napari converts the whole of such at each stroke
        ends = np.array([np.asarray(data.min()), np.asarray(data.max())])
        with suppress(ValueError):  # ids that fit into unsigned 64 bits alone stay there
            dtype = label_dtype(ends.astype(np.int64) if dtype.kind == "f" else ends)
    if not isinstance(data, np.ndarray) or is_large(data.size * dtype.itemsize):
        return data.astype(dtype, copy=False)
    return np.array(data, dtype, order="C")


def volume_from_layer(layer: Image | Labels, step: tuple[int, ...] = ()) -> Volume:
    """The volume that a layer shows; its array is not copied, and not read.

    A layer that was read from NIfTI and not moved since has the true grid of its file, rotation
    included. Others have the grid that their scale and translation say. Of several levels the
    finest is the volume.

    Parameters
    ----------
    layer
        An image; colours are refused.
    step
        Which volume of a series: an index along each axis before the last three.

    Raises
    ------
    ValueError
        With one sentence, when the layer is not a three-dimensional scalar image whose axes run
        along those of the world.
    """
    if getattr(layer, "rgb", False):
        raise ValueError(f"{layer.name} is a colour image; convert it to grey values first.")
    if _mixes(layer, len(step)):
        raise ValueError(
            f"{layer.name} is rotated or sheared along {layer.axis_labels[0]}; only its last three "
            "axes may depend on each other."
        )
    meta = {"name": layer.name, "metadata": layer.metadata, **transform(layer)}
    levels = [as_array(it, step) for it in (layer.data if layer.multiscale else [layer.data])]
    volume = volume_from_layer_data(levels[0], meta)
    coarser = tuple(_coarser(volume, level) for level in levels[1:])
    return replace(volume, coarser=coarser, step=step)


def _mixes(layer: Image | Labels, leading: int) -> bool:
    """Whether a place in space depends on the first axes."""
    inner, outer = slice(leading, layer.ndim), slice(0, leading)
    matrices = (
        layer.rotate,
        shear_matrix(np.asarray(layer.shear, float)),
        layer.affine.affine_matrix,
    )
    return any(np.any(it[outer, inner]) or np.any(it[inner, outer]) for it in matrices)


def _coarser(volume: Volume, level: Any) -> Volume:
    """A level of a volume; it fills the same box with fewer voxels."""
    grid = volume.grid.patch(volume.grid.center_voxel.tolist(), level.shape, volume.grid.shape)
    return Volume(level, grid, volume.name)


def volume_from_layer_data(data: Any, meta: Mapping[str, Any]) -> Volume:
    """The volume of layer data as napari hands it to a writer.

    Parameters
    ----------
    data
        Array (z, y, x).
    meta
        Settings of the layer; scale, translate, rotate, shear, affine, units and metadata count.

    Raises
    ------
    ValueError
        As for `volume_from_layer`.
    """
    name = str(meta.get("name", "the layer"))
    shape = tuple(int(n) for n in np.shape(data))
    if len(shape) != 3:
        raise ValueError(
            f"{name} has {len(shape)} dimensions; a three-dimensional layer is needed."
        )
    grid, source = _grid(shape, meta, name), source_of(meta)
    if source is not None and source.grid.shape == shape and _same_place(grid, source.grid):
        grid = source.grid
    else:
        source = None
    return Volume(as_array(data), grid, name, source)


def layer_grid(layer: Image | Labels) -> Grid:
    """Grid of the last three axes of a layer by its scale and translation.

    Raises
    ------
    ValueError
        When it has fewer axes, or is rotated or sheared.
    """
    shape = np.shape(level_of(layer))[: layer.ndim]
    if len(shape) < 3:
        raise ValueError(f"{layer.name} has {len(shape)} dimensions; three are needed.")
    return _grid(shape[-3:], transform(layer), layer.name)


def source_of(meta: Mapping[str, Any]) -> NiftiSource | None:
    """The NIfTI source that layer settings carry, when there is one."""
    try:
        return NiftiSource.from_dict(meta["metadata"][METADATA])
    except (KeyError, TypeError, ValueError):
        return None


def _grid(shape: Sequence[int], meta: Mapping[str, Any], name: str) -> Grid:
    """Grid by scale and translation; ValueError when the layer is turned or sheared."""
    scale, shift = _of(meta, "scale", np.ones(3)), _of(meta, "translate", np.zeros(3))
    inner = _of(meta, "rotate", np.eye(3)) @ shear_matrix(_of(meta, "shear", np.zeros(3)))
    outer = _of(meta, "affine", np.eye(4))
    affine = np.eye(4)
    affine[:3, :3] = outer[:3, :3] @ inner @ np.diag(scale)
    affine[:3, 3] = outer[:3, :3] @ shift + outer[:3, 3]
    affine[:3] *= np.array([_mm(unit) for unit in meta.get("units") or (None,) * 3])[:, None]
    along = affine[:3, :3]
    if np.abs(along - np.diag(np.diag(along))).max() > 1e-6 * np.abs(along).max():
        raise ValueError(
            f"{name} is rotated or sheared; resample it along the axes of the viewer first."
        )
    z, y, x = shape
    return Grid((z, y, x), affine)


def _of(meta: Mapping[str, Any], key: str, default: np.ndarray) -> np.ndarray:
    value = meta.get(key)
    return default if value is None else np.asarray(value, float)


def shear_matrix(values: np.ndarray) -> np.ndarray:
    """napari's shear: a matrix, or its upper triangle row by row."""
    if values.ndim == 2:
        return values
    axes = round((1 + math.sqrt(1 + 8 * len(values))) / 2)
    matrix = np.eye(axes)
    matrix[np.triu_indices(axes, 1)] = values
    return matrix


def _mm(unit: object) -> float:
    """Millimetres per unit of a layer; a pixel counts as one."""
    return _MM_PER_UNIT.get(str(unit), 1.0)


def _same_place(grid: Grid, true: Grid) -> bool:
    """Whether a layer still lies where its file put it, to a thousandth of a voxel."""
    scale, translate = true.layer_transform()
    near = 1e-3 * min(scale)
    return bool(
        np.allclose(np.diag(grid.affine)[:3], scale, rtol=1e-5, atol=0)
        and np.allclose(grid.affine[:3, 3], translate, rtol=0, atol=near)
    )
