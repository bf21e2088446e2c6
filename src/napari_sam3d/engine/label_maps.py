"""From one image and what is said about it, or nothing, to the labels of its mask."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import find_objects

from napari_sam3d.engine.adapter_facts import AdapterFacts
from napari_sam3d.engine.found_objects import FoundObject, found_object
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.engine.proposing import propose
from napari_sam3d.io.label_names import LabelName, sidecar_path, write_label_names
from napari_sam3d.prompts import Prompts
from napari_sam3d.volume import Volume

Told = Callable[[float], object]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The labels of a volume (z, y, x), what is in it, and why classes are not."""

    labels: np.ndarray
    objects: tuple[FoundObject, ...]
    missing: tuple[str, ...] = ()


def prompted(
    predictor: Predictor,
    volume: Volume,
    prompts: Mapping[int, Prompts],
    names: Mapping[int, str] | None = None,
    told: Callable[[int], object] = lambda number: None,
) -> LabelMap:
    """What prompts make of a volume.

    Parameters
    ----------
    predictor
        Runs the model.
    volume
        The image.
    prompts
        What was said about each object, by its label; the first to claim a voxel keeps it.
    names
        Of the objects that have one.
    told
        Called with the label of each object before its turn.
    """
    judges = predictor.spec.way != "classes"  # those were never trained to
    labels = np.zeros(volume.grid.shape, np.uint8 if max(prompts) < 256 else np.uint16)
    objects = []
    for number, said in prompts.items():
        told(number)
        prediction = predictor.predict(volume, said)
        block = labels[prediction.window]
        own = prediction.mask & (block == 0)
        block[own] = number
        found = found_object(number, own, prediction.window, volume, prediction.seconds)
        score = round(float(prediction.score), 4) if judges else None
        objects.append(replace(found, score=score, name=(names or {}).get(number, "")))
    return LabelMap(labels, tuple(objects))


def classified(predictor: Any, volume: Volume, progress: Told = lambda share: None) -> LabelMap:
    """All classes that a model finds without a prompt.

    Parameters
    ----------
    predictor, volume
        As for `prompted`; a model of the way "classes".
    progress
        Told the share that is done.
    """
    started = time.perf_counter()
    labels = predictor.segment_all(volume, progress=progress)
    seconds = time.perf_counter() - started
    names = predictor.spec.classes
    nowhere = (slice(0, 0),) * 3
    # a file may have been tuned for more classes than the row has names
    windows = find_objects(labels, max(len(names), int(labels.max())))
    objects = []
    for number, place in enumerate(windows, 1):
        window = place or nowhere
        found = found_object(number, labels[window] == number, window, volume, seconds)
        name = names[number - 1] if number <= len(names) else f"class {number}"
        objects.append(replace(found, name=name))
    return LabelMap(labels, tuple(objects))


def proposed(
    predictor: Predictor,
    volume: Volume,
    facts: AdapterFacts,
    progress: Told = lambda share: None,
) -> LabelMap:
    """What an adapter proposes without a click; ValueError when it finds none of its classes.

    Parameters
    ----------
    predictor, volume, progress
        As for `classified`; the model with the adapter in it.
    facts
        What is told of the adapter.
    """
    started = time.perf_counter()
    proposals = propose(predictor, volume, facts, progress=progress)
    seconds = time.perf_counter() - started
    reasons = tuple(it.reason for it in proposals if it.reason)
    if len(reasons) == len(proposals):
        raise ValueError(" ".join(reasons))
    labels = np.zeros(volume.grid.shape, np.min_scalar_type(max(it.label for it in proposals)))
    objects = []
    for it in proposals:
        if it.found is None:
            continue
        block = labels[it.found.window]
        own = it.found.mask & (block == 0)
        block[own] = it.label
        found = found_object(it.label, own, it.found.window, volume, seconds)
        objects.append(replace(found, name=it.name, score=round(float(it.score), 4)))
    return LabelMap(labels, tuple(objects), reasons)


def write_names(mask: Path, objects: Sequence[FoundObject]) -> str:
    """Write the names of the objects beside the mask, when they have any or older ones are there.

    A mask that was replaced would else be described by what its forerunner held. Returns a
    sentence when a file of somebody else's is in the way, else nothing.
    """
    if not any(it.name for it in objects) and not sidecar_path(mask).exists():
        return ""
    try:
        write_label_names(mask, [LabelName(it.id, it.name, None, it.volume_ml) for it in objects])
    except ValueError as error:  # the mask itself is written
        return str(error)
    return ""
