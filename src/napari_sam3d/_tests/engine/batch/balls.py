"""Small images with a bright ball each, files of prompts that say where, and who finds it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_sam3d.catalog import MODELS
from napari_sam3d.engine import predictor as engine
from napari_sam3d.engine.batch import segmenting
from napari_sam3d.engine.prediction import Prediction
from napari_sam3d.io import read_nifti
from napari_sam3d.io.prompt_file import write_prompts
from napari_sam3d.io.prompt_rows import ObjectPrompts
from napari_sam3d.prompts import Point
from napari_sam3d.volume import Grid

SHAPE = (20, 24, 16)  # stored, (i, j, k)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 0, 3.0, -20], [0, 1.5, 0, -10], [0, 0, 0, 1]])


def center(number: int) -> tuple[int, int, int]:
    """Where the ball of an image is, (i, j, k)."""
    return 8 + number % 5, 12, 7


def make(folder: Path, count: int, prompts: bool = True) -> Path:
    """A folder with x0.nii.gz, x1.nii.gz and so on, and their prompts beside them."""
    folder.mkdir(exist_ok=True)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    for number in range(count):
        inside = ((index - center(number)) ** 2).sum(-1) < 25
        noise = np.random.default_rng(number).normal(0, 20, SHAPE)
        path = folder / f"x{number}.nii.gz"
        nib.save(nib.Nifti1Image((400 * inside + noise).astype(np.int16), AFFINE), path)
        if prompts:
            click(path, center(number))
    return folder


def click(image: Path, ijk: tuple[float, ...], name: str = "ball") -> Path:
    """Say beside an image where its object is."""
    volume = read_nifti(image)
    z, y, x = (float(c) for c in volume.source.to_display(np.array(ijk, float)))
    said = [ObjectPrompts(1, (Point((z, y, x)),), name)]
    path = image.with_name(image.name.replace(".nii.gz", "_prompts.json"))
    return write_prompts(path, said, volume, overwrite=True)


def stored(path: Path) -> tuple[bytes, bytes]:
    """The labels and the affine of a mask, to the byte."""
    image = nib.load(path)
    return np.asarray(image.dataobj).tobytes(), image.affine.tobytes()


class CubePredictor:
    """Stands in for a network: a cube of 3 voxels about the point."""

    spec = MODELS["compact"]

    def __init__(self) -> None:
        self.asked: list[str] = []

    def predict(self, volume, prompts):
        self.asked.append(volume.name)
        (point,) = prompts.points
        window = tuple(slice(round(c) - 1, round(c) + 2) for c in point.position_voxel)
        mask = np.ones((3, 3, 3), bool)
        patch = Grid.from_spacing((3, 3, 3), (1, 1, 1))
        return Prediction(mask, window, patch, mask.astype(np.float32), 0.9, 0.25)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> CubePredictor:
    """Have it asked in place of a network."""
    cube = CubePredictor()
    monkeypatch.setattr(segmenting, "_loaded", {})
    monkeypatch.setattr(engine, "load_predictor", lambda settings, progress: cube)
    return cube
