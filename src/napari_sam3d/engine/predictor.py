"""From a volume and prompts to a mask: the one place where a click becomes voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume, Window


class Cancelled(Exception):
    """Raised inside `predict` when the caller no longer wants the answer."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The mask of one object.

    Parameters
    ----------
    mask
        Boolean block (z, y, x); everything outside the window is background.
    window
        Where the block sits in the volume: `labels[prediction.window]` has its shape.
    patch
        Grid of the network's last patch, and `logits` on it, float32.
    score
        Expected IoU of the mask by the model's own judgement, 0 to 1.
    seconds
        Time the prediction took.
    """

    mask: np.ndarray
    window: Window
    patch: Grid
    logits: np.ndarray
    score: float
    seconds: float

    def full(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The mask on the whole volume, bool (z, y, x)."""
        out = np.zeros(shape, bool)
        out[self.window] = self.mask
        return out


class Predictor:
    """Runs one loaded model. Not thread-safe: use it from one thread."""

    def predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Prediction:
        """Mask of the object that the prompts mean.

        Raises
        ------
        ValueError
            When a point is outside the volume or none is positive.
        Cancelled
            When `cancelled()` became true on the way.
        """
        raise NotImplementedError


def load_predictor(settings: InferenceSettings) -> Predictor:
    """Load the model that `settings` names; ValueError for an unknown model or device."""
    raise NotImplementedError
