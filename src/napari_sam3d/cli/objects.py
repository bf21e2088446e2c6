"""From prompts to the labels of one mask, and what is to be said of each."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli.progress import DownloadBar
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Point3, Volume


@dataclass(frozen=True)
class FoundObject:
    """One object of the mask.

    Parameters
    ----------
    id
        Its label in the mask.
    voxels, volume_ml
        Its size.
    seconds
        Time of the prediction, without loading the model; of all classes where there are several.
    centroid
        Centre of mass in stored voxel indices (i, j, k); None when there is no voxel, or the image
        came from no file.
    score
        Overlap with the truth (IoU) that the model expects, 0 to 1; None when it expects nothing.
    name
        Empty when it has none.
    """

    id: int
    voxels: int
    volume_ml: float
    seconds: float
    centroid: Point3 | None
    score: float | None = None
    name: str = ""

    def sentence(self, timed: bool = True) -> str:
        """All of it on one line, without the seconds when they are of many objects."""
        size = f"{self.voxels} voxels, {self.volume_ml:.2f} ml" if self.voxels else "nothing found"
        if self.centroid is not None:
            size += " around " + ",".join(f"{c:.1f}" for c in self.centroid)
        score = "" if self.score is None else f", expected overlap {self.score:.2f}"
        seconds = f", {self.seconds:.1f} s" if timed else ""
        name = f" ({' '.join(self.name.split())})" if self.name else ""
        return f"Object {self.id}{name}: {size}{score}{seconds}"


def segment_objects(
    volume: Volume, prompts: Mapping[int, Prompts], settings: InferenceSettings, quiet: bool
) -> tuple[np.ndarray, list[FoundObject]]:
    """Label map of the whole volume, and what is in it.

    Parameters
    ----------
    volume
        The image.
    prompts
        What was said about each object, by its label; the first to claim a voxel keeps it.
    settings
        Model, device, precision and threshold.
    quiet
        Without a progress bar, which is otherwise drawn on stderr when that is a terminal.
    """
    from tqdm import tqdm

    from napari_sam3d.engine.predictor import load_predictor

    judges = model_spec(settings.model).way != "classes"  # those were never trained to
    labels = np.zeros(volume.grid.shape, np.uint8 if max(prompts) < 256 else np.uint16)
    objects = []
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=1 + len(prompts), leave=False, disable=hidden, file=sys.stderr) as progress:
        progress.set_description(f"Loading {settings.model}")
        with DownloadBar(settings.model, quiet) as bar:
            predictor = load_predictor(settings, bar)
        progress.update()
        for number, said in prompts.items():
            progress.set_description(f"Object {number}")
            prediction = predictor.predict(volume, said)
            block = labels[prediction.window]
            own = prediction.mask & (block == 0)
            block[own] = number
            found = found_object(number, own, prediction.window, volume, prediction.seconds)
            score = round(float(prediction.score), 4) if judges else None
            objects.append(replace(found, score=score))
            progress.update()
    return labels, objects


def segment_classes(
    volume: Volume, settings: InferenceSettings, quiet: bool
) -> tuple[np.ndarray, list[FoundObject]]:
    """Label map of all classes that a model finds without a prompt, and what is in it.

    Parameters
    ----------
    volume, settings, quiet
        As for `segment_objects`.
    """
    from scipy.ndimage import find_objects
    from tqdm import tqdm

    from napari_sam3d.engine.predictor import load_predictor

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=100, leave=False, disable=hidden, file=sys.stderr, unit="%") as progress:
        progress.set_description(f"Loading {settings.model}")
        with DownloadBar(settings.model, quiet) as bar:
            predictor: Any = load_predictor(settings, bar)
        progress.set_description("Segmenting")
        started = time.perf_counter()
        labels = predictor.segment_all(
            volume, progress=lambda share: progress.update(round(100 * share) - progress.n)
        )
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
    return labels, objects


def found_object(
    number: int, own: np.ndarray, window: Sequence[slice], volume: Volume, seconds: float
) -> FoundObject:
    """What there is to say of the voxels (bool, in a window) of an object."""
    voxels = int(np.count_nonzero(own))
    centroid = None
    if voxels and volume.source is not None:
        start = [s.start for s in window]
        per_axis = [own.sum(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
        center = np.array([np.average(np.arange(len(n)), weights=n) for n in per_axis]) + start
        i, j, k = (round(float(c), 2) for c in volume.source.to_stored(center))
        centroid = (i, j, k)
    return FoundObject(
        id=number,
        voxels=voxels,
        volume_ml=round(voxels * volume.grid.voxel_ml, 4),
        seconds=round(float(seconds), 3),
        centroid=centroid,
    )


def write_names(mask: Path, objects: Sequence[FoundObject]) -> None:
    """Write the names of the objects beside the mask, when they have any or older ones are there.

    A mask that was replaced would else be described by what its forerunner held.
    """
    from napari_sam3d.io.label_names import LabelName, sidecar_path, write_label_names

    if not any(it.name for it in objects) and not sidecar_path(mask).exists():
        return
    try:
        write_label_names(mask, [LabelName(it.id, it.name, None, it.volume_ml) for it in objects])
    except ValueError as error:  # the mask itself is written
        print(error, file=sys.stderr)
