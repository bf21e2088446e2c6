"""From a volume and prompts to a mask: the one place where a click becomes voxels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.devices import choose_device
from napari_sam3d.engine.fixed import FixedPredictor
from napari_sam3d.engine.following import FollowingPredictor
from napari_sam3d.engine.prediction import Cancelled, Prediction
from napari_sam3d.engine.weights import load_model
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Volume

__all__ = ["Cancelled", "Prediction", "Predictor", "load_predictor"]


class Predictor(Protocol):
    """Runs one loaded model. Not thread-safe: use it from one thread."""

    settings: InferenceSettings

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


def load_predictor(settings: InferenceSettings) -> Predictor:
    """Load the model that `settings` names; ValueError for an unknown model or device."""
    spec = model_spec(settings.model)
    model = load_model(spec, choose_device(settings.device))
    kind = FollowingPredictor if spec.spacing_mm is None else FixedPredictor
    return kind(model, spec, settings)
