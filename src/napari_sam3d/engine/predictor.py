"""From a volume and prompts to a mask: the one place where a click becomes voxels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.adapters import load_tuned
from napari_sam3d.engine.fetch import Progress
from napari_sam3d.engine.fixed import FixedPredictor
from napari_sam3d.engine.following import FollowingPredictor
from napari_sam3d.engine.prediction import Cancelled, Prediction, Predictor
from napari_sam3d.settings import InferenceSettings

__all__ = ["Cancelled", "Prediction", "Predictor", "load_predictor", "predictor_of"]


def load_predictor(
    settings: InferenceSettings, progress: Progress = lambda done, total: None
) -> Predictor:
    """Load the model that `settings` names.

    Parameters
    ----------
    settings
        Model, adapter, device and so on.
    progress
        Told how far a download is, when there is one.

    Raises
    ------
    ValueError
        For an unknown model or device, for weights that are not here, and for an adapter that
        does not belong to the model.
    OSError
        When weights cannot be fetched.
    """
    return predictor_of(*load_tuned(settings, progress), settings)


def predictor_of(model: Any, spec: ModelSpec, settings: InferenceSettings) -> Predictor:
    """What runs a loaded model.

    Parameters
    ----------
    model, spec, settings
        As for `Predictor`.
    """
    return _WAYS[spec.way](model, spec, settings)


def _slices(model: Any, spec: ModelSpec, settings: InferenceSettings) -> Predictor:
    from napari_sam3d.engine.slicewise import SlicePredictor

    return SlicePredictor(model, spec, settings)


def _classes(model: Any, spec: ModelSpec, settings: InferenceSettings) -> Predictor:
    from napari_sam3d.engine.classes import ClassPredictor

    return ClassPredictor(model, spec, settings)


# the last two bring large libraries, which the others do without
_WAYS: dict[str, Callable[[Any, ModelSpec, InferenceSettings], Predictor]] = {
    "following": FollowingPredictor,
    "fixed": FixedPredictor,
    "slices": _slices,
    "classes": _classes,
}
