"""Volumes to measure with, built in no time: noise with balls in it."""

from __future__ import annotations

import numpy as np

TILE = 64
"""Edge of the block of noise that is repeated, in voxels."""


def body(side: int, per_axis: int = 2) -> tuple[np.ndarray, list[tuple[float, ...]], float]:
    """An int16 cube of noise with a lattice of balls; their centres and their radius in voxels."""
    tile = np.random.default_rng(0).integers(-60, 60, (TILE,) * 3, np.int16)
    image = np.empty((side,) * 3, np.int16)
    for corner in np.ndindex(*(-(-side // TILE),) * 3):
        window = tuple(slice(TILE * c, min(TILE * (c + 1), side)) for c in corner)
        image[window] = tile[tuple(slice(0, w.stop - w.start) for w in window)]
    radius = side / per_axis / 4
    along = [round((n + 0.5) * side / per_axis) for n in range(per_axis)]
    centers = [(float(z), float(y), float(x)) for z in along for y in along for x in along]
    for center in centers:
        window, inside = near(center, radius, image.shape)
        image[window][inside] += 200
    return image, centers, radius


def ball(shape: tuple[int, ...], center: tuple[float, ...], radius: float) -> np.ndarray:
    """The mask of one ball on the whole volume."""
    out = np.zeros(shape, bool)
    window, inside = near(center, radius, shape)
    out[window] = inside
    return out


def near(
    center: tuple[float, ...], radius: float, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], np.ndarray]:
    """The window about a ball, and its voxels there."""
    reach = int(radius) + 1
    window = tuple(
        slice(max(0, int(c) - reach), min(n, int(c) + reach + 1))
        for c, n in zip(center, shape, strict=True)
    )
    away = sum((i - c) ** 2 for i, c in zip(np.ogrid[window], center, strict=True))
    return window, away < radius**2
