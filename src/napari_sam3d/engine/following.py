"""The default model: patches of any voxel size that follow the object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cc3d
import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.boxes import box_about, ellipsoid, held
from napari_sam3d.engine.devices import autocast
from napari_sam3d.engine.embeddings import EmbeddingCache
from napari_sam3d.engine.logits import FAR, GIVEN, LIKELY, log_odds
from napari_sam3d.engine.models.base import PatchPrompts, PromptableModel
from napari_sam3d.engine.patches import box_patch, fit_patch, holding, zoom_patches
from napari_sam3d.engine.pieces import affordable
from napari_sam3d.engine.prediction import Cancelled, Prediction, Predictor, paste
from napari_sam3d.engine.resample import normalise, resample
from napari_sam3d.prompts import Prompts, Said
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

_REFITS = 3  # times the patch may follow the mask in one prediction
_CACHED_BYTES = 64 << 20  # of embeddings kept
_CUT_OFF = 0.5  # share of a face of its patch from which a mask is taken to go on beyond


@dataclass(frozen=True, eq=False)
class _View:
    """What the network said about one patch."""

    patch: Grid
    logits: Tensor  # (d, h, w)
    score: float


class FollowingPredictor(Predictor):
    """Runs one loaded model on patches that fit the object. Not thread-safe."""

    def __init__(
        self, model: PromptableModel, spec: ModelSpec, settings: InferenceSettings
    ) -> None:
        super().__init__(model, spec, settings)
        self._embeddings = EmbeddingCache(_CACHED_BYTES)

    def _predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None,
        cancelled: Callable[[], bool],
    ) -> Prediction:
        """Mask of the object that the prompts mean.

        At first the mean over patches of several sizes counts. Later clicks start from the patch
        and the mask of `previous`, and the patch follows the new mask. A box holds the mask, and
        says the size at once; clicks then change its mask about themselves only.
        """
        positions, labels = prompts.arrays()
        positives = positions[labels == 1]
        box = None if prompts.box is None else box_about(prompts.box, positives)
        if box is not None and not len(positives):
            positions = np.concatenate([box.mean(0, keepdims=True), positions])
            labels = np.concatenate([[1], labels])

        def look(patch: Grid, earlier: _View | None) -> _View:
            if cancelled():
                raise Cancelled
            view = self._look(volume, patch, positions, labels, earlier)
            if box is None:
                return view
            return replace(view, logits=held(view.logits, patch, volume.grid, box))

        if box is not None:
            about = box_patch(volume.grid, box, self.spec.patch_shape)
            if previous is None or previous.patch != about:
                logits = ellipsoid(box, volume.grid, about)
            else:
                logits = torch.from_numpy(previous.logits)
            view = look(about, _View(about, logits, 1.0))
        elif previous is None:
            patches = affordable(
                volume,
                zoom_patches(volume.grid, positives, self.spec.patch_shape, self.spec.object_mm),
            )
            view = consensus([look(patch, None) for patch in patches], volume.grid, positives)
        else:
            view = _View(previous.patch, torch.from_numpy(previous.logits), previous.score)
            patch, refits = previous.patch, _REFITS
            if previous.trusted:  # it follows what was given, not what the network makes of that
                patch, refits = holding(volume.grid, patch, previous.window, positions), 0
            view = look(patch, view)
            for _ in range(refits):
                fitted = fit_patch(volume.grid, view.patch, (view.logits > 0).numpy(), positives)
                if fitted is None:
                    break
                view = look(fitted, view)
        cut = log_odds(self.settings.threshold)
        mask, window = paste(view.logits, view.patch, volume.grid, cut, outside=-FAR)
        on_patch = view.logits.cpu().numpy()
        return Prediction(mask, window, view.patch, on_patch, view.score, trusted=box is not None)

    def _begin(
        self, volume: Volume, prompts: Prompts, cancelled: Callable[[], bool]
    ) -> Prediction | None:
        """What the box alone gives, for clicks to change."""
        if prompts.box is None or not prompts.clicks:
            return None
        return self._predict(volume, prompts.become(Said(box=prompts.box)), None, cancelled)

    def _look(
        self,
        volume: Volume,
        patch: Grid,
        positions: np.ndarray,
        labels: np.ndarray,
        earlier: _View | None,
    ) -> _View:
        embedding = self._embedding(volume, patch)
        points = patch.to_voxel(volume.grid.to_world(positions))
        seen = np.array([patch.contains(point) for point in points])
        mask = torch.zeros(patch.shape)
        if earlier is not None:
            mask = resample(earlier.logits, earlier.patch, patch, fill=-GIVEN)
        on_patch = PatchPrompts(
            torch.tensor(points[None], dtype=torch.float32, device=self.device),
            torch.tensor(np.where(seen, labels, -1)[None], device=self.device),
            mask[None, None].to(self.device),
        )
        with autocast(self.device, self.precision):
            masks = self.model.decode_masks(embedding, on_patch)
        return _View(patch, masks.logits[0, 0].float().cpu(), float(masks.iou[0]))

    def _embedding(self, volume: Volume, patch: Grid) -> Any:
        """The encoded patch, from the cache when this volume was seen there before."""

        def encode() -> Any:
            image = patch_image(volume, patch)
            with autocast(self.device, self.precision):
                return self.model.encode_image(image[None, None].to(self.device))

        return self._embeddings.get(volume, patch, encode)


def patch_image(volume: Volume, patch: Grid) -> Tensor:
    """What the network sees of a patch, (d, h, w)."""
    seen = volume.at(patch.spacing)
    return normalise(resample(seen.data, seen.grid, patch))


def consensus(views: list[_View], grid: Grid, positives: np.ndarray) -> _View:
    """The mean of what patches of several sizes say, on a patch that fits it.

    One click says little of the extent of its object. On training volumes the mean, with background
    outside a patch, was worth 0.1 of Dice over the single view with the best score.
    """
    widest = max(views, key=lambda view: view.patch.extent_mm.max())
    points_mm = grid.to_world(positives)

    def mean_on(patch: Grid) -> Tensor:
        return _clicked_part(_mean_logits(views, patch), patch.to_voxel(points_mm))

    patch, logits = widest.patch, mean_on(widest.patch)
    for _ in range(2):  # from coarse to fine
        fitted = fit_patch(grid, patch, (logits > 0).numpy(), positives)
        if fitted is None:
            break
        patch, logits = fitted, mean_on(fitted)
    mask = logits > 0
    overlaps = [_overlap(resample(v.logits, v.patch, patch, fill=-GIVEN) > 0, mask) for v in views]
    score = float(np.average([v.score for v in views], weights=np.array(overlaps) + 1e-6))
    return _View(patch, logits, score if bool(mask.any()) else 0.0)


def _clicked_part(logits: Tensor, points: np.ndarray) -> Tensor:
    """Logits with the components of the mask that hold no point (n, 3, voxels) turned off."""
    mask = (logits > 0).numpy()
    labels = cc3d.connected_components(mask, connectivity=26)
    places = np.clip(np.rint(points).astype(int), 0, np.array(mask.shape) - 1)
    chosen = np.unique(labels[tuple(places.T)])
    chosen = chosen[chosen > 0]
    if len(chosen) == 0:
        return logits
    # a rim keeps its values, for the surface is interpolated between inside and outside
    near = binary_dilation(np.isin(labels, chosen), iterations=2)
    return torch.where(torch.from_numpy(near), logits, logits.clamp(max=-LIKELY))


def _mean_logits(views: list[_View], patch: Grid) -> Tensor:
    """The mean chance as logits on `patch`; a view whose mask runs out of it says nothing there."""
    votes, weights = torch.zeros(patch.shape), torch.full(patch.shape, 1e-6)
    for view in views:
        mask = (view.logits > 0).float()
        faces = [mask.select(axis, at).mean() for axis in range(3) for at in (0, -1)]
        votes += resample(torch.sigmoid(view.logits), view.patch, patch, fill=0.0)
        cut_off = float(max(faces)) > _CUT_OFF
        weights += resample(torch.ones_like(mask), view.patch, patch, fill=0.0) if cut_off else 1.0
    return torch.logit((votes / weights).clamp(1e-4, 1 - 1e-4))


def _overlap(one: Tensor, other: Tensor) -> float:
    union = float((one | other).sum())
    return float((one & other).sum()) / union if union else 0.0
