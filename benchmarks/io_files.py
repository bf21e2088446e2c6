"""Files as large as those in a clinic: a CT, its label map, a time series."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

AFFINE = np.array([[-0.8, 0, 0, 200], [0, -0.8, 0, 210], [0, 0, 1.5, -300], [0, 0, 0, 1.0]])
CT = (512, 512, 300)
SERIES = (128, 128, 60, 100)


def make_files(folder: Path, ct: tuple[int, ...] = CT, series: tuple[int, ...] = SERIES) -> None:
    """Write image, scaled, labels and series, each as .nii and .nii.gz."""
    image, labels = body(ct)
    stored_ct = nib.Nifti1Image(image + np.int16(1024), AFFINE)
    stored_ct.header.set_slope_inter(1, -1024)
    label_map = nib.Nifti1Image(labels, AFFINE)
    label_map.header.set_intent("label")
    frames = np.random.default_rng(1).integers(0, 200, series, np.int16)
    frames += np.linspace(0, 800, series[0], dtype=np.int16)[:, None, None, None]
    images = {
        "image": nib.Nifti1Image(image, AFFINE),
        "scaled": stored_ct,
        "labels": label_map,
        "series": nib.Nifti1Image(frames, AFFINE),
    }
    for suffix in (".nii", ".nii.gz"):
        for kind, one in images.items():
            path = place(folder, kind, suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            one.to_filename(path)


def place(folder: Path, kind: str, suffix: str) -> Path:
    """Path of one of the files; a folder per suffix, since ITK asked for x.nii.gz reads x.nii."""
    return folder / suffix[1:] / f"{kind}{suffix}"


def body(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An ellipse of tissue with noise as a scanner makes it in air, and 40 organs in it.

    gzip packs it 2.2 to 1, as it does a CT.
    """
    rng = np.random.default_rng(0)
    x, y, z = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    x, y = x[:, None], y[None]
    centers, radii = rng.uniform(-0.5, 0.5, (40, 3)), rng.uniform(0.1, 0.3, (40, 3))
    image = np.empty(shape, np.int16, order="F")
    labels = np.zeros(shape, np.uint8, order="F")
    for k in range(shape[2]):
        inside = (x / 0.85) ** 2 + (y / 0.65) ** 2 < 1
        slab = np.where(inside, np.float32(20), np.float32(-1024))
        for organ, (c, r) in enumerate(zip(centers, radii, strict=True), start=1):
            gone = 1 - ((z[k] - c[2]) / r[2]) ** 2
            if gone > 0:
                here = ((x - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 < gone
                slab[here] = 8 * organ - 100
                labels[..., k][here] = organ
        noise = rng.standard_normal(slab.shape, np.float32)
        image[..., k] = slab + noise * np.where(inside, np.float32(18), np.float32(4))
    return image, labels
