"""The mask of one object, and what gives it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.devices import choose_precision
from napari_sam3d.engine.finishing import finish, unfinished
from napari_sam3d.engine.logits import FAR, log_odds
from napari_sam3d.engine.merging import anchored, merge
from napari_sam3d.engine.resample import resample
from napari_sam3d.engine.union import View
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume, Window
from napari_sam3d.windows import between

_Step = TypeVar("_Step")
_Result = TypeVar("_Result")


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
    views
        What was said about each patch, for networks with patches of fixed voxel size.
    graded
        Whether `logits` grade the voxels, so that another threshold gives another mask.
    bare
        The mask before it was finished, and its window, where the logits do not give it.
    trusted
        Whether later prompts change its mask about themselves only: because it was given, not
        predicted, or because a box said where the object is.
    """

    mask: np.ndarray
    window: Window
    patch: Grid
    logits: np.ndarray
    score: float
    seconds: float = 0.0
    views: tuple[View, ...] = ()
    graded: bool = True
    trusted: bool = False
    bare: tuple[np.ndarray, Window] | None = None

    def full(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The mask on the whole volume, bool (z, y, x)."""
        out = np.zeros(shape, bool)
        out[self.window] = self.mask
        return out


class Predictor(ABC):
    """Runs one loaded model. Not thread-safe: use it from one thread.

    Parameters
    ----------
    model, spec, settings
        The network, its row in the catalog, and what the user wants.
    """

    def __init__(self, model: Any, spec: ModelSpec, settings: InferenceSettings) -> None:
        self.model = model
        self.spec = spec
        self.settings = settings
        self.device = next(model.parameters()).device
        self.precision = choose_precision(settings.precision, self.device)

    def predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Prediction:
        """Mask of the object that the prompts mean.

        Parameters
        ----------
        volume
            The image.
        prompts
            What was said about the object.
        previous
            The answer to its earlier prompts, to go on from.
        cancelled
            Asked now and then whether to stop.

        Raises
        ------
        ValueError
            When a prompt is outside the volume, or nothing says where the object is.
        Cancelled
            When `cancelled()` became true on the way.
        """
        started = time.perf_counter()
        said = prompts
        if previous is not None and previous.trusted:
            prompts = anchored(prompts, previous)
        prompts.check(volume.grid, volume.name)
        with torch.inference_mode():
            if previous is None:
                previous = self._begin(volume, prompts, cancelled)
            prediction = self._predict(volume, prompts, previous, cancelled)
        if previous is not None and previous.trusted:
            prediction = merge(unfinished(previous), prediction, prompts, volume.grid)
        prediction = finish(prediction, volume.grid, said, self.settings)
        return replace(prediction, seconds=time.perf_counter() - started)

    def _begin(
        self, volume: Volume, prompts: Prompts, cancelled: Callable[[], bool]
    ) -> Prediction | None:
        """What the prompts change, for models that do not take them all at once."""
        return None

    @abstractmethod
    def _predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None,
        cancelled: Callable[[], bool],
    ) -> Prediction:
        """As `predict`, whose prompts are inside the volume; its `seconds` are nobody's."""


def run_steps(
    steps: Generator[_Step, None, _Result],
    cancelled: Callable[[], bool],
    progress: Callable[[_Step], object] = lambda step: None,
) -> _Result:
    """What a generator returns at its end; `progress` hears what it yields on the way.

    Raises
    ------
    Cancelled
        When `cancelled()` became true between two steps.
    """
    while True:
        if cancelled():
            steps.close()
            raise Cancelled
        try:
            progress(next(steps))
        except StopIteration as stop:
            return stop.value


def recut(
    prediction: Prediction, grid: Grid, prompts: Prompts, settings: InferenceSettings
) -> Prediction:
    """The same prediction with the mask that other settings make of it; no network runs.

    Parameters
    ----------
    prediction
        Where it is not graded, the threshold has no influence.
    grid
        Of its volume.
    prompts
        What was said about the object.
    settings
        The threshold, and how the mask is finished.
    """
    if not prediction.graded:
        return finish(unfinished(prediction), grid, prompts, settings)
    values, cut, outside = _values(prediction, settings.threshold)
    mask, window = paste(values, prediction.patch, grid, cut, outside)
    return finish(replace(prediction, mask=mask, window=window), grid, prompts, settings)


def probability(prediction: Prediction, grid: Grid) -> tuple[np.ndarray, Window]:
    """How likely voxels belong to the object (float16, 0 to 1), where that is a percent or more.

    Parameters
    ----------
    prediction
        A graded one.
    grid
        Of its volume.

    Returns
    -------
    tuple
        A block, and the window of `grid` that it fills.
    """
    values, cut, outside = _values(prediction, 0.01)
    block, window = _block(values, prediction.patch, grid, cut, outside)
    return (block if prediction.views else torch.sigmoid(block)).half().numpy(), window


def _values(prediction: Prediction, threshold: float) -> tuple[Tensor, float, float]:
    """What is interpolated, the value of a probability, and the one beyond the patch."""
    logits = torch.from_numpy(prediction.logits)
    if prediction.views:  # which were put together as probabilities
        return torch.sigmoid(logits), threshold, 0.0
    return logits, log_odds(threshold), -FAR


def paste(
    values: Tensor, patch: Grid, grid: Grid, cut: float, outside: float
) -> tuple[np.ndarray, Window]:
    """The mask (bool) on the voxels of `grid`, and the window of `grid` it fills.

    Parameters
    ----------
    values
        (d, h, w) on `patch`: logits or probabilities.
    patch, grid
        Grids with the same axes: the network's, and the volume's.
    cut
        Value above which a voxel is foreground.
    outside
        Value beyond the patch.
    """
    block, window = _block(values, patch, grid, cut, outside)
    return (block > cut).numpy(), window


def _block(
    values: Tensor, patch: Grid, grid: Grid, cut: float, outside: float
) -> tuple[Tensor, Window]:
    """The values on the voxels of `grid`, only about those above `cut`; see `paste`."""
    inside = np.argwhere((values > cut).cpu().numpy())
    if len(inside) == 0:
        return torch.zeros(0, 0, 0), (slice(0, 0),) * 3
    reach = np.stack([inside.min(0) - 1.0, inside.max(0) + 1.0])
    corners = grid.to_voxel(patch.to_world(reach))
    start = np.clip(np.floor(corners.min(0)).astype(int), 0, grid.shape)
    stop = np.clip(np.ceil(corners.max(0)).astype(int) + 1, start, grid.shape)
    if min(stop - start) == 0:
        return torch.zeros(0, 0, 0), (slice(0, 0),) * 3
    window = between(start, stop)
    return resample(values, patch, grid.window(window), fill=outside).cpu(), window
