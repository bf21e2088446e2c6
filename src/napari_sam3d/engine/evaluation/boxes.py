"""Boxes about a reference: the one that holds it, and the challenge's, which may not."""

from __future__ import annotations

import zlib

import numpy as np

from napari_sam3d.prompts import Box
from napari_sam3d.volume import Window
from napari_sam3d.windows import bounding_box

_SEED = 2025
_MOST_SHIFT = 5  # voxels of a slice of 256


def true_box(reference: np.ndarray) -> Box:
    """The smallest box that holds all voxels of a reference (bool, z, y, x)."""
    z, y, x = _window(reference)
    return Box((z.start, y.start, x.start), (z.stop - 1, y.stop - 1, x.stop - 1))


def challenge_box(reference: np.ndarray, generator: np.random.RandomState) -> Box:
    """The box of the CVPR 2025 challenge, which may cut off parts of the object.

    From the first to the last slice; in the plane as large as the object is in the middle one of
    the slices that it occupies, enlarged on all sides by 0 to 5 voxels of a slice of 256, drawn
    once for the object (JunMa11/CVPR-MedSegFMCompetition, get_boxes.py since b53b654).

    The boxes of the challenge's own files cannot be drawn again: there, a generator with seed 2025
    in each of 16 processes goes on from object to object and from file to file, with other draws
    in between, and which files a process gets is chance. `generator_of` gives each object a draw of
    its own from the same distribution. Slices are those of the first axis: the axial ones of NIfTI
    files here, and as a file has them in the challenge.

    Parameters
    ----------
    reference
        bool (z, y, x), on the whole volume.
    generator
        Draws one number.
    """
    window = _window(reference)
    occupied = np.flatnonzero(reference[window].any(axis=(1, 2))) + window[0].start
    middle = reference[int(occupied[len(occupied) // 2])]
    shift = generator.randint(0, _MOST_SHIFT + 1)
    low, high = [float(window[0].start)], [float(window[0].stop - 1)]
    for axis, length in enumerate(middle.shape):
        there = np.flatnonzero(middle.any(axis=1 - axis))
        wider = int(shift * length / 256)
        low.append(float(max(0, int(there[0]) - wider)))
        high.append(float(min(length - 1, int(there[-1]) + wider)))
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def generator_of(case: str, label: int) -> np.random.RandomState:
    """What draws for one object: the same whichever other objects and cases are evaluated."""
    return np.random.RandomState([_SEED, zlib.crc32(case.encode()), label])


def _window(reference: np.ndarray) -> Window:
    window = bounding_box(reference)
    if window is None:
        raise ValueError("There is no box about a reference without a voxel; choose another label.")
    return window
