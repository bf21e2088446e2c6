"""The protocol of MA-SAM: all classes without a prompt, or one 3D box for each object."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from scipy.ndimage import find_objects

from napari_sam3d.engine.classes import ClassPredictor
from napari_sam3d.engine.evaluation.results import Played
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Box, Prompts
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Shape3, Window

_RELAXED = 0.05


def play_ma_sam(
    predictor: Predictor, case: Labelled, settings: EvaluationSettings
) -> Iterator[Played]:
    """Round "none" of models that need no prompt; rounds "tight" and "relaxed" of those for boxes.

    Without a prompt a model is asked once a case, as the released test does (cchen-cc/MA-SAM,
    MA_SAM/test.py), and its class n is label n; the seconds stand with the first label. With boxes
    the paper is followed (Chen et al., Medical Image Analysis 2024, Table 4), for which no code was
    released: "one tight 3D bounding box per volume", and then "5% relaxation on the tightness". The
    paper does not say of what; here each face moves outward by 5 % of the edge it ends, but not out
    of the image. Each box is a prediction of its own. Nothing is drawn.

    The released test scores a class that is empty in both masks as 1, and one that is empty in one
    of them as 0 (its `calculate_metric_percase`, with medpy's Dice), and averages over cases and
    classes; here only the labels that a case has are played. It makes BTCV's label 13 a 12 before.

    Raises
    ------
    ValueError
        With one sentence, for a model that takes neither, and for a label that the model has no
        class for.
    """
    spec = predictor.spec
    automatic, boxes = isinstance(predictor, ClassPredictor), "box" in spec.prompts
    if not (automatic or boxes):
        raise ValueError(
            f"{spec.name} needs clicks, and the protocol ma-sam gives a box or nothing; "
            "choose another protocol."
        )
    found = [
        (label, window)
        for label, window in enumerate(find_objects(case.labels), 1)
        if window is not None
    ]
    if isinstance(predictor, ClassPredictor):
        yield from _without_prompts(predictor, case, [label for label, _ in found])
    if boxes:
        for label, window in found:
            for name, share in (("tight", 0.0), ("relaxed", _RELAXED)):
                box = reference_box(window, case.volume.grid.shape, share)
                prediction = predictor.predict(case.volume, Prompts(box=box))
                mask = prediction.full(case.volume.grid.shape)
                yield Played(label, name, mask, (box,), prediction.seconds)


def reference_box(window: Window, shape: Shape3, share: float = 0.0) -> Box:
    """The box of an object whose voxels fill a window of a volume, each face moved outward.

    Parameters
    ----------
    window
        From its first to its last voxel along each axis.
    shape
        Of the volume, which the box does not leave.
    share
        By how much of an edge its two faces move.
    """
    low, high = [], []
    for part, n in zip(window, shape, strict=True):
        margin = share * (part.stop - part.start)
        low.append(max(part.start - margin, 0.0))
        high.append(min(part.stop - 1 + margin, n - 1.0))
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _without_prompts(
    predictor: ClassPredictor, case: Labelled, labels: list[int]
) -> Iterator[Played]:
    """Round "none" of all labels."""
    classes = predictor.spec.classes
    if labels and labels[-1] > len(classes):
        known = f"1 ({classes[0]})" if len(classes) == 1 else f"1 to {len(classes)}"
        raise ValueError(
            f"{case.name} has the label {labels[-1]}, but {predictor.spec.name} knows {known} "
            "only; number the labels as its classes are, or leave the others out with --labels."
        )
    started = time.perf_counter()
    found = np.ascontiguousarray(predictor.segment_all(case.volume))
    seconds = time.perf_counter() - started
    for label in labels:
        yield Played(label, "none", found == label, (), seconds)
        seconds = 0.0
