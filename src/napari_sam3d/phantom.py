"""A torso drawn from a seed: a CT-like image whose true labels are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_sam3d.volume import Point3, Shape3

SHAPE: Shape3 = (96, 160, 192)
_STEP_MM = (3.0, 2.0, 2.0)
_WARP_MM = 4.0


@dataclass(frozen=True)
class Blob:
    """A warped ellipsoid; blobs are painted one over the other.

    Positions are (z, y, x) millimetres from the centre of the torso, toward inferior, posterior
    and left.
    """

    name: str
    center: Point3
    radii: Point3
    value: float
    """Hounsfield units."""
    roughness: float = 0.0
    """How far the surface goes in and out, as a fraction of the radius."""


_BLOBS = (
    Blob("right lung", (-68, 2, -74), (78, 76, 52), -830),
    Blob("left lung", (-68, 6, 76), (78, 74, 48), -830),
    Blob("heart", (-38, -28, 22), (44, 42, 48), 110, 0.05),
    Blob("liver", (28, 4, -72), (56, 76, 66), 108, 0.04),
    Blob("liver", (18, -34, 4), (34, 40, 62), 108, 0.04),
    Blob("stomach", (32, -26, 74), (42, 36, 36), 22, 0.08),
    Blob("spleen", (22, 44, 104), (42, 30, 20), 118, 0.06),
    Blob("right kidney", (82, 46, -62), (50, 25, 27), 165, 0.04),
    Blob("left kidney", (74, 46, 64), (50, 25, 27), 165, 0.04),
    Blob("bladder", (128, -18, 2), (26, 30, 36), 6, 0.03),
    Blob("liver lesion", (34, -10, -88), (17, 17, 18), 52, 0.12),
    Blob("small liver lesion", (10, 34, -58), (10, 10, 11), 44, 0.12),
    Blob("kidney cyst", (96, 40, 82), (14, 13, 14), 14, 0.08),
    Blob("lung nodule", (-62, 22, 92), (11, 10, 11), 42, 0.15),
    Blob("small lung nodule", (-92, -14, -66), (7, 7, 7), 36, 0.15),
)
_RENAL_PELVES = ((82, 44, -50), (74, 44, 52))
_ORGANS = tuple(dict.fromkeys(("spine", "ribs", "aorta", *(b.name for b in _BLOBS))))


def draw_phantom(seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """A torso of 96 x 160 x 192 voxels of 3 x 2 x 2 mm.

    Parameters
    ----------
    seed
        Decides the shapes of the organs, the texture and the noise; their places stay.

    Returns
    -------
    image
        Int16 (z, y, x), Hounsfield-like units.
    labels
        Uint8 (z, y, x), 0 where there is no organ.
    names
        What the labels mean.
    """
    rng = np.random.default_rng(seed)
    names = dict(enumerate(_ORGANS, start=1))
    number = {name: value for value, name in names.items()}
    z, y, x = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    axes = [(a - (n - 1) / 2) * step for a, n, step in zip((z, y, x), SHAPE, _STEP_MM, strict=True)]
    warped = [(axis + _WARP_MM * _smooth_noise(rng, (7, 8, 9))).astype(np.float32) for axis in axes]
    z, y, x = warped

    image = np.full(SHAPE, -1000, np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    waist = 1 - 0.08 * np.exp(-(((z - 70) / 45) ** 2))
    body = np.sqrt((y / 112) ** 2 + (x / (158 * waist)) ** 2)
    trunk = np.hypot((y - 6) / 90, x / (136 * waist))
    image[body < 1] = -98  # fat under the skin
    image[(body < 1) & (body > 0.978)] = 35
    image[trunk < 1] = 54
    image[np.hypot(y / 72, x / 112) + np.maximum(z - 150, 0) / 40 < 0.92] = -62  # inner fat

    texture = _smooth_noise(rng, (24, 40, 48))
    for blob in _BLOBS[:2]:
        _paint(image, labels, warped, blob, number, texture)
    _bones(image, labels, z, y, x, number)
    for blob in _BLOBS[2:]:
        _paint(image, labels, warped, blob, number, texture)
    for center in _RENAL_PELVES:
        pelvis = _distance(warped, center, (22, 9, 12)) < 1
        image[pelvis], labels[pelvis] = -20, 0
    aorta = np.hypot(y - 33, x - 12 - 4 * np.sin(z / 40)) < 11
    image[aorta], labels[aorta] = 190, number["aorta"]

    image += 9 * texture + 14 * _smooth_noise(rng, (3, 3, 3)) * (image > -900)
    image = _blur(image + rng.normal(0, 34, SHAPE).astype(np.float32))
    return image.round().astype(np.int16), labels, names


def _paint(
    image: np.ndarray,
    labels: np.ndarray,
    warped: list[np.ndarray],
    blob: Blob,
    number: dict[str, int],
    texture: np.ndarray,
) -> None:
    inside = _distance(warped, blob.center, blob.radii) + blob.roughness * texture < 1
    image[inside], labels[inside] = blob.value, number[blob.name]


def _bones(
    image: np.ndarray,
    labels: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    number: dict[str, int],
) -> None:
    """Spine with discs and canal, and ribs that slope down toward the front."""
    radius = np.hypot(y - 64, x)
    body, disc = radius < 21, np.sin(z * (2 * np.pi / 34)) > 0.86
    arch = (np.hypot((y - 89) / 14, x / 19) < 1) | ((np.abs(x) < 5) & (np.abs(y - 98) < 11))
    wings = (np.abs(x) < 38) & (np.abs(y - 86) < 6) & ~disc
    for part, value in ((body, 210), (body & (radius > 18), 420), (arch | wings, 380)):
        image[part], labels[part] = value, number["spine"]
    image[body & disc] = 85
    canal = np.hypot(y - 88, x) < 9
    image[canal], labels[canal] = 25, 0
    cage = np.hypot((y - 6) / 90, x / 136)
    slope = np.sin((z + 0.35 * y) * (2 * np.pi / 27)) > 0.45
    ribs = (cage > 0.885) & (cage < 0.965) & slope & (z < 45 + 0.3 * y) & (labels == 0)
    image[ribs], labels[ribs] = 360, number["ribs"]


def _distance(warped: list[np.ndarray], center: Point3, radii: Point3) -> np.ndarray:
    """Distance from the centre as a fraction of the radius, (z, y, x)."""
    squares = ((a - c) / r for a, c, r in zip(warped, center, radii, strict=True))
    return np.sqrt(sum(s * s for s in squares))


def _smooth_noise(rng: np.random.Generator, cells: Shape3) -> np.ndarray:
    """Noise of unit size on the whole torso, smooth over a cell, (z, y, x) float32."""
    noise = rng.normal(size=cells)
    for axis, (voxels, count) in enumerate(zip(SHAPE, cells, strict=True)):
        at = np.linspace(0, count - 1, voxels)[:, None]
        weights = np.exp(-((at - np.arange(count)) ** 2))
        weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
        noise = np.moveaxis(np.tensordot(weights, noise, (1, axis)), 0, axis)
    return noise.astype(np.float32)


def _blur(image: np.ndarray) -> np.ndarray:
    """Each voxel with its neighbours, weighted 1 : 2 : 1 along every axis."""
    for axis in range(3):
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        first, middle, last = (
            padded.take(range(start, start + image.shape[axis]), axis) for start in (0, 1, 2)
        )
        image = (first + 2 * middle + last) / 4
    return image
