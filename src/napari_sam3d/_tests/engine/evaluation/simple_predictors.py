"""Predictors whose masks can be told by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.prediction import Prediction, Predictor
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Volume

SETTINGS = InferenceSettings(
    device="cpu", precision="fp32", keep_clicked=False, fill_holes=False, smooth_mm=0.0
)
POINTS = frozenset({"foreground", "background"})


class ByRule(Predictor):
    """Its masks follow from the image and the prompts; it remembers what it was asked.

    Parameters
    ----------
    rule
        From the volume and the prompts to the mask (z, y, x).
    prompts
        What it takes.
    """

    def __init__(
        self, rule: Callable[[Volume, Prompts], np.ndarray], prompts: frozenset[str] = POINTS
    ) -> None:
        spec = replace(model_spec("compact"), name="by rule", prompts=prompts)
        super().__init__(torch.nn.Linear(1, 1), spec, SETTINGS)
        self.rule = rule
        self.asked: list[tuple[Volume, Prompts, Prediction | None]] = []

    def _predict(self, volume, prompts, previous, cancelled):
        self.asked.append((volume, prompts, previous))
        mask = self.rule(volume, prompts)
        whole = tuple(slice(0, n) for n in mask.shape)
        logits = np.where(mask, 1, -1).astype(np.float32)
        return Prediction(mask, whole, volume.grid, logits, 1.0, graded=False)


def bright(volume: Volume, prompts: Prompts) -> np.ndarray:
    """All that is brighter than one half."""
    return np.asarray(volume.data) > 0.5
