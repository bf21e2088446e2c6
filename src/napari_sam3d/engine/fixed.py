"""Networks that see voxels of one size: a patch about the clicks, and on to where the mask goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.clicks import deepest
from napari_sam3d.engine.devices import autocast
from napari_sam3d.engine.embeddings import EmbeddingCache
from napari_sam3d.engine.growth import agrees, next_patch, seed_in
from napari_sam3d.engine.intensity import apply_intensity
from napari_sam3d.engine.logits import GIVEN
from napari_sam3d.engine.models.base import PatchPrompts, PromptableModel
from napari_sam3d.engine.orientation import Orientation
from napari_sam3d.engine.prediction import Cancelled, Prediction, Predictor, paste
from napari_sam3d.engine.resample import inside, resample
from napari_sam3d.engine.union import Union, View
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Shape3, Volume, Window
from napari_sam3d.windows import between

_NEARLY = 1e-6  # of a voxel, which rounding errors make of whole ones
_CACHED_BYTES = 1 << 30  # of embeddings kept
_MOST_VIEWS = 27  # patches of one object
_ROOM = 8  # voxels between a click and the face of the patch it belongs to


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is asked about a patch, in voxels of the working grid.

    Parameters
    ----------
    points, labels, box
        What the user said: (n, 3), (n,) and (2, 3) or None.
    seed
        A point on the patch that stands in for missing clicks.
    known
        Logits that the network gave there before.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None
    seed: np.ndarray | None
    known: Tensor | None


class FixedPredictor(Predictor):
    """Runs one loaded model on patches of fixed voxel size. Not thread-safe.

    The first patch is centred on the clicks. Where the mask runs out of it, overlapping patches
    follow, prompted from the mask already found, until nothing is added (SAM-Med3D's paper does so
    with an overlap of a half).

    Parameters
    ----------
    model, spec, settings
        A model of a row with a `spacing_mm`.
    """

    def __init__(
        self, model: PromptableModel, spec: ModelSpec, settings: InferenceSettings
    ) -> None:
        assert spec.spacing_mm is not None
        super().__init__(model, spec, settings)
        self._orientation = Orientation(spec.axes)
        self._embeddings = EmbeddingCache(_CACHED_BYTES)

    def _predict(
        self,
        volume: Volume,
        prompts: Prompts,
        previous: Prediction | None,
        cancelled: Callable[[], bool],
    ) -> Prediction:
        """Mask of the object that the prompts mean."""
        positions, labels = prompts.arrays()
        grid = working_grid(volume, self.spec)
        points = grid.to_voxel(volume.grid.to_world(positions))
        box = None
        if prompts.box is not None:
            if "box" not in self.spec.prompts:
                raise ValueError(f"{self.spec.name} takes no box; use points.")
            box = grid.to_voxel(volume.grid.to_world(prompts.box.array()))

        def look(start: Shape3, seed: np.ndarray | None, known: Tensor | None) -> View:
            if cancelled():
                raise Cancelled
            if known is None and seed is None and previous is not None:
                known, seed = self._given(previous, grid, start)
            return self._look(volume, grid, start, _Asked(points, labels, box, seed, known))

        views = previous.views if previous is not None else ()
        union = Union(look(*self._start(grid, points, labels, box, previous)))
        for point in points[labels == 1][::-1]:  # far ones that no patch shows yet
            if not any(_room(view, point) >= 0 for view in union.views):
                start, logits = self._start_at(grid, point, views)
                union.add(look(start, None, logits))
        tried = {view.start for view in union.views}
        while len(union.views) < _MOST_VIEWS:
            following = next_patch(
                union, self.spec.patch_shape, grid.shape, self.settings.threshold, tried
            )
            if following is None:
                break
            tried.add(following)
            seed = seed_in(union, following, self.spec.patch_shape)
            if seed is None:
                continue
            view = look(following, seed, None)
            if agrees(union, view, self.settings.threshold):
                union.add(view)
        patch, probability = union.grid(grid), union.probability
        mask, window = paste(probability, patch, volume.grid, self.settings.threshold, outside=0.0)
        score = float(np.mean([view.score for view in union.views]))
        on_patch = torch.logit(probability, 1e-6).numpy()
        return Prediction(mask, window, patch, on_patch, score, views=tuple(union.views))

    def _given(
        self, previous: Prediction, grid: Grid, start: Shape3
    ) -> tuple[Tensor | None, np.ndarray | None]:
        """A mask that the network did not make, as if it had, and a point inside, on a patch."""
        if previous.views and all(view.logits is not None for view in previous.views):
            return None, None
        shape = self.spec.patch_shape
        patch = grid.window(patch_window(start, shape))
        on_patch = resample(torch.from_numpy(previous.logits), previous.patch, patch, fill=-GIVEN)
        turned = self._orientation.turn(on_patch)[None, None]
        shown = self.spec.mask_shape or tuple(turned.shape[2:])
        known = F.interpolate(turned, shown, mode="trilinear").to(self.device)
        return known, deepest((on_patch > 0).numpy())

    def _start(
        self,
        grid: Grid,
        points: np.ndarray,
        labels: np.ndarray,
        box: np.ndarray | None,
        previous: Prediction | None,
    ) -> tuple[Shape3, np.ndarray | None, Tensor | None]:
        """The first patch to look at, and a seed and logits on it as far as they are known.

        A later click goes to the patch that shows it best. A positive one that none shows well,
        and a first one, gets a patch of its own.
        """
        views = previous.views if previous is not None else ()
        if box is not None and (not views or not len(points)):
            return centred(grid, self.spec, box), None, None
        if not views and previous is not None and len(points):
            newest = centred(grid, self.spec, points[-1:])
            known, seed = self._given(previous, grid, newest)
            if labels[-1] == 1 or seed is not None:
                return newest, seed, known
        if not views:
            positives = points[labels == 1]
            together = (np.ptp(positives, axis=0) < self.spec.patch_shape).all()
            return centred(grid, self.spec, positives if together else positives[-1:]), None, None
        if labels[-1] == 1:
            start, logits = self._start_at(grid, points[-1], views)
            return start, None, logits
        best = max(views, key=lambda view: _room(view, points[-1]))
        return best.start, None, best.logits

    def _start_at(
        self, grid: Grid, point: np.ndarray, views: tuple[View, ...]
    ) -> tuple[Shape3, Tensor | None]:
        """The known patch that shows a point well, else a new one about it."""
        best = max(views, key=lambda view: _room(view, point), default=None)
        if best is not None and _room(best, point) >= _ROOM:
            return best.start, best.logits
        return centred(grid, self.spec, point[None]), None

    def _look(
        self,
        volume: Volume,
        grid: Grid,
        start: Shape3,
        asked: _Asked,
    ) -> View:
        """Ask the network about one patch."""
        shape = self.spec.patch_shape
        patch = grid.window(patch_window(start, shape))
        embedding = self._embedding(volume, grid, patch)
        on_patch, known = asked.points - start, asked.known
        seen = ((on_patch > -0.5) & (on_patch < np.array(shape) - 0.5)).all(1)
        on_patch, on_labels = on_patch[seen], asked.labels[seen]
        if asked.seed is not None and not (on_labels == 1).any():
            on_patch = np.concatenate([on_patch, asked.seed[None]])
            on_labels = np.concatenate([on_labels, [1]])
        turned = self._orientation.turn_points(on_patch, shape)
        boxes = None
        if asked.box is not None and asked.seed is None:
            corners = np.clip(asked.box - start, 0, np.array(shape) - 1)
            corners = np.sort(self._orientation.turn_points(corners, shape), axis=0)
            boxes = torch.tensor(corners[None], dtype=torch.float32, device=self.device)
        turned_shape = tuple(shape[axis] for axis in self._orientation.order)
        if known is None:
            known = torch.zeros(1, 1, *(self.spec.mask_shape or turned_shape), device=self.device)
        on_network = PatchPrompts(
            torch.tensor(turned[None], dtype=torch.float32, device=self.device),
            torch.tensor(on_labels[None], device=self.device),
            known,
            boxes,
        )
        with autocast(self.device, self.precision):
            masks = self.model.decode_masks(embedding, on_network)
        logits = masks.logits.float()
        on_voxels = F.interpolate(logits, turned_shape, mode="trilinear")
        probability = self._orientation.turn_back(torch.sigmoid(on_voxels[0, 0])).cpu()
        return View(start, probability.contiguous(), logits, float(masks.iou[0]))

    def _embedding(self, volume: Volume, grid: Grid, patch: Grid) -> Any:
        """The encoded patch, from the cache when this volume was seen there before."""

        def encode() -> Any:
            image = patch_image(volume, grid, patch, self.spec)
            turned = self._orientation.turn(image)[None, None].contiguous()
            with autocast(self.device, self.precision):
                return self.model.encode_image(turned.to(self.device))

        return self._embeddings.get(volume, patch, encode)


def working_grid(volume: Volume, spec: ModelSpec) -> Grid:
    """Grid of voxels of one size that begins at the first stored voxel, as released code has it."""
    assert spec.spacing_mm is not None
    grid = volume.grid
    step = spec.spacing_mm / np.asarray(grid.spacing)
    lengths = np.asarray(grid.shape) / step
    whole = np.ceil(lengths - _NEARLY) if spec.partial_voxels else np.floor(lengths + _NEARLY)
    z, y, x = np.maximum(whole, 1).astype(int).tolist()
    extent = np.array([z, y, x]) * step
    centre = (extent - 1) / 2
    if volume.source is not None:
        backwards = volume.source.display_to_stored[:3, :3].sum(0) < 0
        centre = np.where(backwards, np.asarray(grid.shape) - 1 - centre, centre)
    return grid.patch(centre.tolist(), (z, y, x), extent.tolist())


def patch_image(volume: Volume, grid: Grid, patch: Grid, spec: ModelSpec) -> Tensor:
    """What a network is shown of a patch of the working grid, (d, h, w) in the volume's axes."""
    image = resample(volume.data, volume.grid, patch, average=False)
    known = inside(volume.grid, patch) & inside(grid, patch)
    return apply_intensity(spec.intensity, image, known)


def centred(grid: Grid, spec: ModelSpec, points: np.ndarray) -> Shape3:
    """First voxel of a patch about points, in whole voxels along the axes of the network."""
    orientation, shape = Orientation(spec.axes), spec.patch_shape
    turned = np.floor(orientation.turn_points(points, grid.shape) + 0.5).astype(int)
    # the released code of 3DSAM-adapter: the middle of the outermost clicks, rounded down
    centre = (turned.max(0) + turned.min(0)) // 2
    first = centre - np.asarray(shape)[orientation.order] // 2
    return orientation.turn_start_back(first, shape, grid.shape)


def patch_window(start: Shape3, shape: Shape3) -> Window:
    """The part of the working grid that a patch covers."""
    return between(start, np.add(start, shape))


def _room(view: View, point: np.ndarray) -> float:
    """Voxels between a point and the closest face of a view; negative outside of it."""
    to_faces = np.minimum(point - view.start, np.array(view.stop) - 1 - point)
    return float(to_faces.min())
