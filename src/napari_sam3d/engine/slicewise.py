"""2D networks on the slices of a volume, the mask carried from slice to slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.logits import log_odds
from napari_sam3d.engine.models.sam_slices import (
    SliceSam,
    VolumePrompts,
    VolumeSlices,
    segment_steps,
)
from napari_sam3d.engine.prediction import Prediction, Predictor, run_steps
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

_ISOTROPIC = 1.2  # longest over shortest voxel edge below which slices are cut axially


class SlicePredictor(Predictor):
    """Runs one loaded SAM on slices. Not thread-safe.

    Slices are cut across the longest edge of the voxels, as they were scanned, else across z.

    Parameters
    ----------
    model, spec, settings
        A row whose way is "slices".
    """

    def __init__(self, model: SliceSam, spec: ModelSpec, settings: InferenceSettings) -> None:
        super().__init__(model, spec, settings)
        self._slices: tuple[Volume, VolumeSlices] | None = None

    def _predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None,
        cancelled: Callable[[], bool],
    ) -> Prediction:
        """Mask of the object that the prompts mean; `previous` is not used."""
        if prompts.box is None and self.model.boxes_only:
            raise ValueError(f"{self.spec.name} takes a box, not points.")
        if self._slices is None or self._slices[0].data is not volume.data:
            slices = VolumeSlices(
                self.model,
                volume.data,
                volume.grid.spacing,
                precision=self.precision,
                device=self.device,
            )
            self._slices = volume, slices
        points, labels = prompts.arrays()
        box = None if prompts.box is None else prompts.box.array()
        asked = VolumePrompts(slice_axis(volume.grid, self.settings.slices), points, labels, box)
        steps = segment_steps(self._slices[1], asked, log_odds(self.settings.threshold))
        found = run_steps(steps, cancelled)
        patch = volume.grid.window(found.window) if found.mask.size else volume.grid
        logits = found.mask.astype(np.float32) * 2 - 1
        return Prediction(found.mask, found.window, patch, logits, found.score, graded=False)


def slice_axis(grid: Grid, slices: str = "auto") -> int:
    """The axis across which a volume is cut into slices, as `InferenceSettings.slices` says."""
    if slices != "auto":
        return ("axial", "coronal", "sagittal").index(slices)
    spacing = np.asarray(grid.spacing)
    return int(spacing.argmax()) if spacing.max() > _ISOTROPIC * spacing.min() else 0
