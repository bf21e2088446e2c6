"""Objects and clicks on them, for networks that are asked by clicks."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, final

import numpy as np
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.clicks import deepest
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.engine.training.cases import Split, objects_of
from napari_sam3d.engine.training.events import Looking, Scores
from napari_sam3d.engine.training.lessons import Lessons
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.engine.training.rounds import mask_loss, play
from napari_sam3d.engine.training.samples import Sample, draw, left_right, mirrored, varied
from napari_sam3d.engine.training.validation import chosen_objects, validate
from napari_sam3d.engine.training.warping import warped
from napari_sam3d.settings import TrainSettings

_WARPED = 0.8  # share of patches
_MOST_FIXED = 32  # patches that are kept, with their embeddings


@final
class ClickLessons(Lessons):
    """Patches about objects, and simulated clicks.

    Parameters
    ----------
    model, spec
        The network, and its row in the catalog.
    parts
        What is learned from, and what is held out.
    settings
        What the user wants.
    """

    def __init__(
        self,
        model: PromptableModel,
        spec: ModelSpec,
        parts: Split,
        settings: TrainSettings,
    ) -> None:
        self._model, self._spec, self._settings = model, spec, settings
        self._recipe = recipe_of(spec)
        self._objects = [it for case in parts.train for it in objects_of(case)]
        self._held_out = [
            chosen_objects(case, settings.objects, settings.seed) for case in parts.held_out
        ]
        self._device = next(model.parameters()).device
        self._loss = mask_loss()
        if not settings.encoder_rank:  # which would have each patch encoded at every step
            self.fixed = min(_MOST_FIXED, self._recipe.fixed * len(self._objects))
        self._samples: dict[int, Sample] = {}
        self._embeddings: dict[int, Any] = {}

    def loss(self, rng: np.random.Generator) -> Tensor:
        sample, number = self._sample(rng)
        embedding = self._embeddings.get(number)
        if embedding is None:
            embedding = self._model.encode_image(sample.image[None, None].to(self._device))
            if number >= 0 and not _has_gradient(embedding):
                self._embeddings[number] = embedding
        return play(
            self._model,
            embedding,
            sample,
            self._spec,
            self._settings.clicks,
            self._recipe.noisy,
            self._loss,
            rng,
        )

    def look(self, predictor: Predictor, step: int) -> Generator[Looking, None, Scores]:
        return validate(predictor, self._held_out, step)

    def _sample(self, rng: np.random.Generator) -> tuple[Sample, int]:
        """A patch, and its number among those that are used again and again, or -1."""
        asked = self._settings.background
        background = self._recipe.background if asked < 0 else asked
        if not self.fixed:
            sample = draw(self._objects, self._spec, background, rng)
            if self._settings.augment:
                if rng.random() < 0.5:
                    sample = mirrored(sample, left_right(self._spec))
                if rng.random() < _WARPED:
                    sample = warped(sample, rng)
                sample = varied(sample, rng)
            return sample, -1
        number = int(rng.integers(self.fixed))
        if number not in self._samples:
            own = np.random.default_rng([self._settings.seed, 0, number])
            self._samples[number] = draw(self._objects, self._spec, background, own)
        sample = self._samples[number]
        if not sample.target.any():
            return sample, number
        point = deepest(sample.target, rng)
        assert point is not None
        return replace(sample, point=point), number


def _has_gradient(embedding: Any) -> bool:
    """Whether tuning changes what an embedding is."""
    if isinstance(embedding, Tensor):
        return embedding.requires_grad
    if isinstance(embedding, list | tuple):
        return any(_has_gradient(it) for it in embedding)
    return any(_has_gradient(it) for it in getattr(embedding, "__dict__", {}).values())
