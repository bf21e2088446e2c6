"""How well a model segments held-out volumes click by click, by the predictor itself."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from napari_sam3d.engine.clicks import next_click
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.prediction import Prediction, Predictor
from napari_sam3d.engine.training.cases import LabelledObject, objects_of
from napari_sam3d.engine.training.events import COUNTED, Looking, Preview, Scores
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Prompts


def chosen_objects(case: Labelled, most: int, seed: int) -> list[LabelledObject]:
    """The objects of a case, at most so many of them, drawn once and for all."""
    objects = objects_of(case)
    order = np.random.default_rng(seed).permutation(len(objects))
    return [objects[i] for i in sorted(order[:most].tolist())]


def validate(
    predictor: Predictor, cases: list[list[LabelledObject]], step: int
) -> Generator[Looking, None, Scores]:
    """Mean Dice after 1, 3 and 5 clicks: over the objects of a volume, then over volumes.

    Parameters
    ----------
    predictor
        With the model as it is now.
    cases
        The objects of each volume.
    step
        After how many steps that is.

    Yields
    ------
    Looking
        After each object, so that others get a turn.
    """
    done, total = 0, sum(map(len, cases))
    means = []
    for objects in cases:
        scores = []
        for it in objects:
            dices, last = clicks_on(predictor, it)
            scores.append(dices)
            done += 1
            yield Looking(step, done, total, _preview(it, dices[-1], last))
        means.append(np.mean(scores, 0))
    return tuple(round(float(mean), 4) for mean in np.mean(means, 0))


def clicks_on(predictor: Predictor, it: LabelledObject) -> tuple[list[float], Prediction | None]:
    """Dice of one object after each count of clicks, and the last answer.

    A perfect mask keeps its score. The answer is None when the model was never asked.
    """
    reference = it.full()
    prompts, previous = Prompts(), None
    mask = np.zeros_like(reference)
    scores = []
    for count in range(1, max(COUNTED) + 1):
        click = next_click(mask, reference)
        if click is not None and (click.positive or "background" in predictor.spec.prompts):
            prompts = prompts.add(click)
            previous = predictor.predict(it.volume, prompts, previous)
            mask = previous.full(reference.shape)
        if count in COUNTED:
            scores.append(dice(mask, reference))
    return scores, previous


def _preview(it: LabelledObject, score: float, found: Prediction | None) -> Preview | None:
    if found is None:
        return None
    z, y, x = found.window
    whole = slice(z.start + it.first_slice, z.stop + it.first_slice), y, x
    return Preview(it.case, it.label, found.mask, whole, score)
