"""Coordinates as they are typed: numbers with commas, `id:` before those of another object."""

from __future__ import annotations

import itertools
import math

import numpy as np

from napari_sam3d.prompts import LARGEST_ID
from napari_sam3d.volume import Volume


def read_numbers(text: str, count: int) -> tuple[int, list[float]] | None:
    """Object and numbers of `a,b,...` or `id:a,b,...`; None when it is not so many of them."""
    object_text, colon, numbers = text.rpartition(":")
    try:
        object_id = int(object_text) if colon else 1
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        return None
    good = len(values) == count and all(map(math.isfinite, values))
    return (object_id, values) if good and 1 <= object_id <= LARGEST_ID else None


def extent(volume: Volume, mm: bool) -> str:
    """Where the corner voxels of the volume are, in the user's coordinates."""
    assert volume.source is not None
    corners = np.array(list(itertools.product(*((0, n - 1) for n in volume.grid.shape))), float)
    typed = (volume.source.to_ras if mm else volume.source.to_stored)(corners)
    first, last = (
        ",".join(f"{round(float(c), 1):g}" for c in ends) for ends in (typed.min(0), typed.max(0))
    )
    name = "whose RAS coordinates in mm" if mm else "whose voxel indices"
    return f"{name} run from {first} to {last}"
