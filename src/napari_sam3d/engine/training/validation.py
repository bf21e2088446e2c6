"""How well a model segments held-out volumes click by click, by the predictor itself."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from napari_sam3d.engine.clicks import next_click
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.engine.training.cases import LabelledObject, objects_of
from napari_sam3d.engine.training.events import COUNTED, Scores
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Prompts


def chosen_objects(case: Labelled, most: int, seed: int) -> list[LabelledObject]:
    """The objects of a case, at most so many of them, drawn once and for all."""
    objects = objects_of(case)
    order = np.random.default_rng(seed).permutation(len(objects))
    return [objects[i] for i in sorted(order[:most].tolist())]


def validate(
    predictor: Predictor, cases: list[list[LabelledObject]]
) -> Generator[int, None, Scores]:
    """Mean Dice after 1, 3 and 5 clicks: over the objects of a volume, then over volumes.

    Yields
    ------
    int
        Objects done, so that others get a turn.
    """
    done = 0
    means = []
    for objects in cases:
        scores = []
        for it in objects:
            scores.append(clicks_on(predictor, it))
            done += 1
            yield done
        means.append(np.mean(scores, 0))
    return tuple(round(float(mean), 4) for mean in np.mean(means, 0))


def clicks_on(predictor: Predictor, it: LabelledObject) -> list[float]:
    """Dice of one object after each count of clicks; a perfect mask keeps its score."""
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
    return scores
