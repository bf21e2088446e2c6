"""Small pictures of objects with their masks, to be kept and shown: a slice of each."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3d.io.atomic import real_target, replacing
from napari_sam3d.volume import Volume
from napari_sam3d.windows import bounding_box

_MARGIN = 0.3
"""Of the longer side of the object, on each side of it."""
_LARGEST = 160
"""Pixels of a side."""
_PERCENTILES = (0.5, 99.5)
"""Of the values in view, shown as black and white."""
_DAMAGED = (
    *(ValueError, KeyError, TypeError, AttributeError, EOFError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy raises for a file that is not what it should be."""


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """An object in the slice where it is largest.

    Parameters
    ----------
    case, name
        Where it is from, and what it is called.
    image
        uint8 (rows, columns), as the slice is displayed: rows downward, columns to the right.
    reference, mask
        bool (rows, columns), what was to be found and what was.
    dice
        Of the whole objects, not of this slice.
    aspect
        Height of a pixel over its width.
    """

    case: str
    name: str
    image: np.ndarray
    reference: np.ndarray
    mask: np.ndarray
    dice: float
    aspect: float


def thumbnail(
    volume: Volume, reference: np.ndarray, mask: np.ndarray, *, case: str, name: str, dice: float
) -> Thumbnail:
    """Cut a square about an object out of the slice where it is largest.

    The slice lies across the longest edge of a voxel, where details are finest. What is outside of
    the volume is black.

    Parameters
    ----------
    volume
        The image.
    reference, mask
        bool (z, y, x) on its voxels; without a reference the mask is shown, and without both the
        middle of the volume.
    case, name, dice
        As in `Thumbnail`.
    """
    spacing = volume.grid.spacing
    axis = int(np.argmax(np.round(spacing, 3)))
    down, across = (other for other in range(3) if other != axis)
    shown = reference if reference.any() else mask
    box = bounding_box(shown) or tuple(slice(0, n) for n in shown.shape)
    areas = np.count_nonzero(shown[box], axis=(down, across))
    cut = box[axis].start + (int(areas.argmax()) if areas.any() else areas.size // 2)

    plane = shown.take(cut, axis)
    if not plane.any():
        plane = np.ones_like(plane)
    edges = np.array([spacing[down], spacing[across]])
    low, high = np.array(
        [(it[0], it[-1] + 1) for it in (np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0)))]
    ).T
    side = ((high - low) * edges).max() * (1 + 2 * _MARGIN)  # mm
    count = np.maximum(np.ceil(side / edges).astype(int), 3)
    first = np.round((low + high - count) / 2).astype(int)

    rows, columns = (_evenly(start, n) for start, n in zip(first, count, strict=True))
    at = [slice(None)] * 3
    at[axis] = slice(cut, cut + 1)
    image = np.asarray(volume.data[tuple(at)]).take(0, axis)
    step = count / np.array([rows.size, columns.size])  # voxels a pixel
    height, width = (edges * step).tolist()
    return Thumbnail(
        case,
        name,
        _windowed(*_cropped(image, rows, columns)),
        _cropped(reference.take(cut, axis), rows, columns)[0],
        _cropped(mask.take(cut, axis), rows, columns)[0],
        dice,
        height / width,
    )


def extremes(found: Sequence[Thumbnail], most: int) -> tuple[list[Thumbnail], list[Thumbnail]]:
    """The worst and the best by Dice, worst first and best first; none is among both."""
    ordered = sorted((it for it in found if not np.isnan(it.dice)), key=lambda it: it.dice)
    few = min(most, (len(ordered) + 1) // 2)
    best = ordered[few:][-most:]
    return ordered[:few], best[::-1]


def save(path: Path, found: Sequence[Thumbnail]) -> Path:
    """Write thumbnails to one npz file, in one step.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    arrays: dict[str, Any] = {
        "case": np.array([it.case for it in found], np.str_),
        "name": np.array([it.name for it in found], np.str_),
        "dice": np.array([it.dice for it in found], float),
        "aspect": np.array([it.aspect for it in found], float),
    }
    for number, it in enumerate(found):
        # two bits of one byte: what was to be found, and what was
        both = it.reference.astype(np.uint8) + 2 * it.mask.astype(np.uint8)
        arrays[f"image {number}"], arrays[f"both {number}"] = it.image, both
    target = real_target(path)
    with replacing(target) as file:
        np.savez_compressed(file, **arrays)
    return target


def load(path: Path) -> list[Thumbnail]:
    """Read what `save` has written.

    Raises
    ------
    ValueError
        With one sentence, when the file cannot be read as such.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            facts = [arrays[key].tolist() for key in ("case", "name", "dice", "aspect")]
            planes = [(arrays[f"image {n}"], arrays[f"both {n}"]) for n in range(len(facts[0]))]
            return [
                _checked(case, name, image, both, dice, aspect)
                for (image, both), case, name, dice, aspect in zip(planes, *facts, strict=True)
            ]
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise ValueError(f"{path.name} is damaged; it holds no thumbnails.") from error


def _checked(
    case: str, name: str, image: np.ndarray, both: np.ndarray, dice: float, aspect: float
) -> Thumbnail:
    sound = image.ndim == 2 and image.shape == both.shape and min(image.shape) > 1
    if not (sound and image.dtype == both.dtype == np.uint8 and 0 < aspect < np.inf):
        raise ValueError("no thumbnail")
    return Thumbnail(case, name, image, both & 1 > 0, both & 2 > 0, float(dice), float(aspect))


def _evenly(first: int, count: int) -> np.ndarray:
    """Indices from the first on, all of them or as many as a side may have, evenly."""
    kept = min(count, _LARGEST)
    return first + ((np.arange(kept) + 0.5) * count / kept).astype(int)


def _cropped(
    plane: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The plane at rows and columns, zero outside of it, and where it is not outside."""
    inside = np.ix_(
        (rows >= 0) & (rows < plane.shape[0]), (columns >= 0) & (columns < plane.shape[1])
    )
    there = np.zeros((rows.size, columns.size), bool)
    there[inside] = True
    out = np.zeros(there.shape, plane.dtype)
    out[inside] = plane[np.ix_(rows[inside[0].ravel()], columns[inside[1].ravel()])]
    return out, there


def _windowed(plane: np.ndarray, there: np.ndarray) -> np.ndarray:
    """uint8 of a crop, by its own values."""
    values = np.where(there, plane, np.nan).astype(np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(plane.shape, np.uint8)
    low, high = np.percentile(known, _PERCENTILES)
    with np.errstate(all="ignore"):  # values without end, or all but
        grey = (values - low) / max(high - low, 1e-12) * 255
    return np.nan_to_num(grey, nan=0.0).clip(0, 255).round().astype(np.uint8)
