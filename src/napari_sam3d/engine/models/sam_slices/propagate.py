"""From prompts on one slice to a mask of the volume: the mask is carried to the next slices.

The baseline of the papers prompts every slice by hand. Here a slice is prompted by the mask just
found beside it, as a box with a margin, a point deep inside and SAM's own mask prompt.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from napari_sam3d.engine.models.sam_slices.model import SliceMask, SlicePrompts
from napari_sam3d.engine.models.sam_slices.slices import VolumeSlices
from napari_sam3d.volume import Window

_MARGIN = 0.1  # that the box is larger than the mask before, in edges
_LEAST_MARGIN = 1.0  # and at least, in pixels
LEAST_SCORE = 0.5  # expected IoU below which a slice is taken not to hold the object
LEAST_OVERLAP = 0.3  # IoU with the mask beside it; the ends of a ball stay above
MOST_GROWTH = 3.0  # area over that of the mask beside it: more is a leak
_DIAGONALS = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class VolumePrompts:
    """What the user said of one object.

    Parameters
    ----------
    axis
        The slices are across this axis, 0 to 2 for z, y, x.
    points
        (n, 3) voxels (z, y, x), whole numbers at voxel centres; each acts on its own slice.
    labels
        (n,) 1 positive, 0 negative.
    box
        (2, 3) lowest and highest corner in voxels, or None. Where it is thicker than a slice along
        `axis`, the mask stays between its ends.
    """

    axis: int
    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None

    def check(self, shape: tuple[int, ...]) -> None:
        """ValueError with a sentence when nothing says where the object is."""
        if self.axis not in (0, 1, 2):
            raise ValueError(f"Slices are across axis 0, 1 or 2, not {self.axis}.")
        places = self.points if self.box is None else np.concatenate([self.points, self.box])
        if ((places < -0.5) | (places >= np.array(shape) - 0.5)).any():
            raise ValueError(f"A prompt is outside the volume, which has shape {shape} (z, y, x).")
        if self.box is None and not (self.labels == 1).any():
            raise ValueError("A positive point or a box is needed to say where the object is.")

    def starts(self) -> list[int]:
        """Slices that the user says hold the object: that of the box, then those of points."""
        places = [] if self.box is None else [self.box[:, self.axis].mean()]
        places += list(self.points[self.labels == 1][:, self.axis])
        return list(dict.fromkeys(int(np.rint(place)) for place in places))

    def range(self, size: int) -> range:
        """Slices that the mask may reach, of an axis with `size` of them."""
        if self.box is None:
            return range(size)
        low, high = (int(np.rint(place)) for place in np.sort(self.box[:, self.axis]))
        return range(size) if low == high else range(low, high + 1)

    def on_slice(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (n, 2) in rows and columns, and labels, of one slice."""
        here = np.rint(self.points[:, self.axis]) == index
        return np.delete(self.points[here], self.axis, 1), self.labels[here]

    def flat_box(self) -> np.ndarray | None:
        """The box on its slices, (row, column, row, column)."""
        if self.box is None:
            return None
        return np.delete(np.sort(self.box, axis=0), self.axis, 1).ravel()


@dataclass(frozen=True)
class SliceStep:
    """A slice is done: its number, the pixels found and how many slices are done by now."""

    index: int
    pixels: int
    done: int


@dataclass(frozen=True, eq=False)
class VolumeMask:
    """A mask: bool block, its window in the volume, and the mean score by pixels.

    Everything outside the window is background; both are empty when nothing was found.
    """

    mask: np.ndarray
    window: Window
    score: float


@dataclass(frozen=True, eq=False)
class _Found:
    """A slice with the object: its mask (h, w), bool, and what SAM gave."""

    mask: np.ndarray
    raw: SliceMask


def segment_steps(
    slices: VolumeSlices, prompts: VolumePrompts, cut: float = 0.0
) -> Generator[SliceStep, None, VolumeMask]:
    """Mask of the object; yields after every slice, and closing the generator cancels.

    From each slice that the user prompted the mask is carried both ways until it vanishes: until
    it is empty, SAM no longer trusts it, or it jumps (`LEAST_SCORE`, `LEAST_OVERLAP`,
    `MOST_GROWTH`). Slices with a positive point are never given up.

    Parameters
    ----------
    slices
        Of the volume, with the network.
    prompts
        In voxels of the volume.
    cut
        Logit above which a pixel belongs to the object.

    Raises
    ------
    ValueError
        When a prompt is outside the volume, or nothing says where the object is.
    """
    prompts.check(slices.volume.shape)
    reach = prompts.range(slices.volume.shape[prompts.axis])
    found: dict[int, _Found | None] = {}
    for start in prompts.starts():
        if start in found or start not in reach:
            continue
        first = _first(slices, prompts, start, cut)
        found[start] = first
        yield _step(start, found)
        if first is None:
            continue
        for direction in (1, -1):
            index, beside = start + direction, first
            while index in reach and index not in found:
                following = _next(slices, prompts, index, beside, cut)
                found[index] = following
                yield _step(index, found)
                if following is None:
                    break
                index, beside = index + direction, following
    return _stack({i: one for i, one in found.items() if one is not None}, prompts.axis)


def _first(slices: VolumeSlices, prompts: VolumePrompts, index: int, cut: float) -> _Found | None:
    """The object on a slice that the user prompted."""
    points, labels = prompts.on_slice(index)
    box = prompts.flat_box()
    raw = slices.decode(prompts.axis, index, SlicePrompts(points, labels, box))
    mask = raw.logits > cut
    seeds = np.zeros_like(mask)
    seeds[tuple(_pixels(points[labels == 1], mask.shape).T)] = True
    mask = _touching(mask, seeds) if (mask & seeds).any() else mask
    return _Found(mask, raw) if mask.any() else None


def _next(
    slices: VolumeSlices, prompts: VolumePrompts, index: int, beside: _Found, cut: float
) -> _Found | None:
    """The object on the slice after the one it was found on; None where it has vanished."""
    points, labels = prompts.on_slice(index)
    wanted = bool((labels == 1).any())
    centre = deepest(beside.mask)[None]
    asked = SlicePrompts(
        np.concatenate([points, centre]),
        np.append(labels, 1),
        box_around(beside.mask),
        beside.raw.coarse,
    )
    raw = slices.decode(prompts.axis, index, asked)
    # MedSAM's tuning left out the head that judges masks
    judged = not slices.model.boxes_only
    if judged and raw.score < LEAST_SCORE and not wanted:
        return None
    seeds = beside.mask.copy()
    seeds[tuple(_pixels(points[labels == 1], seeds.shape).T)] = True
    mask = _touching(raw.logits > cut, seeds)
    if not mask.any():
        return None
    union = (mask | beside.mask).sum()
    overlap = (mask & beside.mask).sum() / union
    leaked = mask.sum() > MOST_GROWTH * beside.mask.sum()
    if (overlap < LEAST_OVERLAP or leaked) and not wanted:
        return None
    return _Found(mask, raw)


def box_around(mask: np.ndarray) -> np.ndarray:
    """(row, column, row, column) about a mask (h, w), with a margin, within the slice."""
    inside = np.argwhere(mask)
    low, high = inside.min(0), inside.max(0)
    margin = np.maximum(_MARGIN * (high - low + 1), _LEAST_MARGIN)
    last = np.array(mask.shape) - 1
    return np.concatenate([np.maximum(low - margin, 0), np.minimum(high + margin, last)])


def deepest(mask: np.ndarray) -> np.ndarray:
    """(row, column) of the pixel of a mask that is farthest from its edge."""
    padded = np.pad(mask, 1)  # the edge of the slice is an edge
    place = np.unravel_index(distance_transform_edt(padded).argmax(), padded.shape)
    return np.array(place, float) - 1


def _touching(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that hold a seed."""
    parts, _ = label(mask, _DIAGONALS)
    chosen = np.unique(parts[seeds & mask])
    return np.isin(parts, chosen[chosen > 0])


def _pixels(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.clip(np.rint(points).astype(int), 0, np.array(shape) - 1)


def _step(index: int, found: dict[int, _Found | None]) -> SliceStep:
    one = found[index]
    return SliceStep(index, 0 if one is None else int(one.mask.sum()), len(found))


def _stack(found: dict[int, _Found], axis: int) -> VolumeMask:
    """The masks of slices as one block."""
    if not found:
        return VolumeMask(np.zeros((0, 0, 0), bool), (slice(0, 0),) * 3, 0.0)
    flat = np.logical_or.reduce([one.mask for one in found.values()])
    rows, columns = (np.flatnonzero(flat.any(1 - i)) for i in range(2))
    across = [slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)]
    first, last = min(found), max(found)
    block = np.zeros((last + 1 - first, *(s.stop - s.start for s in across)), bool)
    for index, one in found.items():
        block[index - first] = one.mask[across[0], across[1]]
    pixels = [one.mask.sum() for one in found.values()]
    score = np.average([one.raw.score for one in found.values()], weights=pixels)
    across.insert(axis, slice(first, last + 1))
    z, y, x = across
    return VolumeMask(np.moveaxis(block, 0, axis), (z, y, x), float(np.clip(score, 0, 1)))
