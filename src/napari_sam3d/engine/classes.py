"""Networks that find all they know in a whole volume, without a prompt."""

from __future__ import annotations

from collections.abc import Callable, Generator
from weakref import ref

import numpy as np
import torch

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.devices import autocast
from napari_sam3d.engine.fixed import working_grid
from napari_sam3d.engine.intensity import apply_intensity
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.models.ma_sam import segment_volume
from napari_sam3d.engine.models.ma_sam.intensity import Intensity as SliceIntensity
from napari_sam3d.engine.models.ma_sam.intensity import prostate_intensity
from napari_sam3d.engine.models.ma_sam.volume import GroupCache
from napari_sam3d.engine.models.sam3d_adapter.automatic import (
    AutomaticSam3DAdapter,
    segment_automatically,
    window_count,
)
from napari_sam3d.engine.orientation import Orientation
from napari_sam3d.engine.prediction import Cancelled, Prediction, Predictor, paste, run_steps
from napari_sam3d.engine.resample import inside, resample
from napari_sam3d.prompts import Box, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Volume
from napari_sam3d.windows import between

Told = Callable[[float], None]


class ClassPredictor(Predictor):
    """Runs one loaded model on whole volumes. Not thread-safe.

    Parameters
    ----------
    model, spec, settings
        A row whose way is "classes".
    """

    def __init__(
        self, model: PromptableModel, spec: ModelSpec, settings: InferenceSettings
    ) -> None:
        super().__init__(model, spec, settings)
        self._orientation = Orientation(spec.axes)
        self._cache: tuple[ref, GroupCache] | None = None

    def segment_all(
        self,
        volume: Volume,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Told = lambda share: None,
    ) -> np.ndarray:
        """Label map (z, y, x) uint8; label n is `spec.classes[n - 1]`.

        Parameters
        ----------
        volume
            The image.
        cancelled
            Asked now and then whether to stop.
        progress
            Told the share that is done.

        Raises
        ------
        Cancelled
            When `cancelled()` became true on the way.
        """
        if self.spec.family == "ma_sam":
            return self._slices(volume, None, cancelled, progress)
        return self._windows(volume, cancelled, progress)

    def _predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None,
        cancelled: Callable[[], bool],
    ) -> Prediction:
        """Mask of what is in a box; `previous` is not used."""
        if prompts.points or prompts.box is None or "box" not in self.spec.prompts:
            known = "a box, or no prompt" if "box" in self.spec.prompts else "no prompt"
            raise ValueError(f"{self.spec.name} takes {known}; it cannot use points.")
        found = self._slices(volume, prompts.box, cancelled, lambda share: None) > 0
        low, high = prompts.box.voxels()
        window = between(low, np.add(high, 1))
        mask = found[window]
        logits = mask.astype(np.float32) * 2 - 1
        patch = volume.grid.window(window)
        return Prediction(mask, window, patch, logits, 1.0, graded=False)

    def _slices(
        self, volume: Volume, box: Box | None, cancelled: Callable[[], bool], progress: Told
    ) -> np.ndarray:
        """Labels by groups of slices (MA-SAM)."""
        return run_steps(self._slice_steps(volume, box), cancelled, progress)

    def segment_steps(self, volume: Volume) -> Generator[float, None, np.ndarray]:
        """As `segment_all`, for networks of slices; yields the share that is done, slice by slice.

        Closing it cancels.
        """
        return self._slice_steps(volume, None)

    def _slice_steps(self, volume: Volume, box: Box | None) -> Generator[float, None, np.ndarray]:
        slices = self._orientation.turn_array(volume.data)
        if self._cache is None or self._cache[0]() is not volume.data:
            self._cache = ref(volume.data), GroupCache()
        boxes = None if box is None else self._boxes(box, volume.grid.shape, slices.shape)
        labels = yield from segment_volume(
            self.model,
            slices,
            intensity=slice_intensity(self.spec, slices),
            boxes=boxes,
            cache=self._cache[1],
            device=self.device,
            precision=self.precision,
        )
        return self._orientation.turn_array_back(labels)

    def _boxes(self, box: Box, shape: tuple[int, ...], turned: tuple[int, ...]) -> np.ndarray:
        """A box per slice (n, 4) as (x0, y0, x1, y1); not-a-number where there is none."""
        corners = np.sort(self._orientation.turn_points(box.array(), shape), axis=0)
        (first, top, left), (last, bottom, right) = corners
        boxes = np.full((turned[0], 4), np.nan)
        boxes[round(first) : round(last) + 1] = (left, top, right, bottom)
        return boxes

    @torch.inference_mode()
    def _windows(self, volume: Volume, cancelled: Callable[[], bool], progress: Told) -> np.ndarray:
        """Labels by a sliding window over the resampled volume (3DSAM-adapter)."""
        grid = working_grid(volume, self.spec)
        image = resample(volume.data, volume.grid, grid, average=False)
        image = apply_intensity(self.spec.intensity, image, inside(volume.grid, grid))
        turned = self._orientation.turn(image).contiguous().to(self.device)

        assert isinstance(self.model, AutomaticSam3DAdapter)
        shares = iter(np.linspace(0, 1, window_count(self.model, turned.shape), endpoint=False))

        def on_window() -> None:
            if cancelled():
                raise Cancelled
            progress(float(next(shares, 1.0)))

        with autocast(self.device, self.precision):
            found = segment_automatically(self.model, turned, on_window)
        probability = self._orientation.turn_back(found.float()).cpu()
        labels = np.zeros(volume.grid.shape, np.uint8)
        mask, window = paste(probability, grid, volume.grid, self.settings.threshold, outside=0.0)
        labels[window] = mask
        return labels


def slice_intensity(spec: ModelSpec, slices: np.ndarray) -> SliceIntensity:
    """What a network of slices is shown of the intensities of a volume.

    Parameters
    ----------
    spec
        Its row in the catalog.
    slices
        All of the volume.
    """
    if spec.intensity.kind == "window":
        return SliceIntensity(spec.intensity.low, spec.intensity.high)
    return prostate_intensity(slices)
