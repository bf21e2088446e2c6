"""Groups of slices with all their classes, for networks that are asked nothing (MA-SAM)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.classes import ClassPredictor
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.models.ma_sam import MaSam
from napari_sam3d.engine.orientation import Orientation
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.engine.training.cases import Split, no_class, regions
from napari_sam3d.engine.training.events import Looking, Preview, Scores
from napari_sam3d.engine.training.groups import LabelledSlices, draw_group, varied_group
from napari_sam3d.engine.training.lessons import Lessons
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import TrainSettings

_CE, _DICE = 0.2, 0.8  # weights of the paper, section 3.4
_SMOOTH = 1e-5


@final
class ClassLessons(Lessons):
    """Groups of slices, judged by the Dice of whole held-out volumes.

    Parameters
    ----------
    model, spec
        The network, and its row in the catalog.
    parts
        What is learned from, and what is held out. Labels are the numbers of the classes; what has
        none is background.
    settings
        What the user wants.

    Raises
    ------
    ValueError
        When there is a label that is no class of the network.
    """

    counted = (0,)

    def __init__(
        self, model: PromptableModel, spec: ModelSpec, parts: Split, settings: TrainSettings
    ) -> None:
        assert isinstance(model, MaSam)
        cases = (*parts.train, *parts.held_out)
        check_classes(cases, model.classes, spec)
        self._model, self._settings, self._held_out = model, settings, parts.held_out
        self._labels = sorted({int(n) for case in cases for n in np.unique(case.labels)} - {0})
        self._slices = [LabelledSlices.of(case, spec) for case in parts.train]
        asked = settings.background
        self._anywhere = recipe_of(spec).background if asked < 0 else asked
        self._loss = class_loss()
        turn = Orientation(spec.axes).turn_array
        self._turns = sum(len(turn(case.labels)) for case in self._held_out)

    def loss(self, rng: np.random.Generator) -> Tensor:
        image, labels = draw_group(self._slices, self._model.image_size, self._anywhere, rng)
        if self._settings.augment:
            image, labels = varied_group(image, labels, rng)
        device = next(self._model.parameters()).device
        embedding = self._model.encode_image(image[None, None].to(device))
        logits = self._model.decode_classes(embedding).logits.float()
        target = labels[None].float().to(device)
        if target.shape[2:] != logits.shape[3:]:  # never so in the released networks
            target = F.interpolate(target, tuple(logits.shape[3:]))
        return self._loss(logits, target[None])

    def look(self, predictor: Predictor, step: int) -> Generator[Looking, None, Scores]:
        assert isinstance(predictor, ClassPredictor)
        done, means = 0, []
        for case in self._held_out:
            steps = predictor.segment_steps(case.volume)
            while True:
                try:
                    next(steps)
                except StopIteration as stop:
                    found = stop.value
                    break
                done += 1
                yield Looking(step, done, self._turns)
            dices = class_dices(found, case.labels, self._labels)
            means.append(sum(dices.values()) / len(dices) if dices else 1.0)
            for preview in _previews(case, found, dices):
                yield Looking(step, done, self._turns, preview)
        return (round(float(np.mean(means)), 4),)


def class_loss() -> torch.nn.Module:
    """Cross entropy and soft Dice over all classes, of logits (b, c, s, h, w), as in the paper."""
    from monai.losses import DiceCELoss  # takes seconds to import

    return DiceCELoss(
        softmax=True,
        to_onehot_y=True,
        squared_pred=True,
        batch=True,
        smooth_nr=_SMOOTH,
        smooth_dr=_SMOOTH,
        lambda_ce=_CE,
        lambda_dice=_DICE,
    )


def class_dices(
    found: np.ndarray, reference: np.ndarray, labels: Sequence[int]
) -> dict[int, float]:
    """Dice of each class that one of two label maps shows; 0 where the other does not.

    Parameters
    ----------
    found, reference
        Label maps of one shape.
    labels
        Classes that count.
    """
    scores = {n: dice(found == n, reference == n) for n in labels}
    return {n: score for n, score in scores.items() if not np.isnan(score)}


def _previews(case: Labelled, found: np.ndarray, dices: Mapping[int, float]) -> Iterator[Preview]:
    """What was found of each class, on the whole volume of which the case may be some slices."""
    for label, (z, y, x), mask in regions(found):
        if label in dices:
            window = slice(z.start + case.first_slice, z.stop + case.first_slice), y, x
            yield Preview(case.whole or case.name, label, mask, window, dices[label])


def check_classes(cases: Sequence[Labelled], count: int, spec: ModelSpec) -> None:
    """ValueError naming the first label that is no class of the network.

    Parameters
    ----------
    cases
        To be learned from.
    count
        Classes that the network knows, without the background.
    spec
        Its row in the catalog.
    """
    for case in cases:
        most = int(case.labels.max(initial=0))
        if most > count:
            raise ValueError(no_class(case.name, most, count, spec))
