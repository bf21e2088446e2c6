"""Layers that lie where an image lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Image, Layer


def follow(layer: Layer, image: Image) -> None:
    """Give a layer the transform of an image."""
    for key, value in transform(image).items():
        setattr(layer, key, value)


def moves(image: Image) -> tuple:
    """The events of an image that moves."""
    return image.events.scale, image.events.translate, image.events.affine


def transform(layer: Layer) -> dict[str, Any]:
    """What places a layer in the world by its last three axes, as arguments for another layer."""
    leading = max(0, layer.ndim - 3)
    inner = slice(leading, None)
    left_out = sum(layer.ndim - 1 - axis for axis in range(leading))
    return {
        "scale": layer.scale[inner],
        "translate": layer.translate[inner],
        "rotate": layer.rotate[inner, inner],
        "shear": layer.shear[left_out:],  # an upper triangle, row by row
        "affine": layer.affine.affine_matrix[inner, inner],
        "units": layer.units[inner],
        "axis_labels": layer.axis_labels[inner],
    }
