"""Which objects of a labelled volume are looked at, and what they are called."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import cc3d
import numpy as np
from scipy.ndimage import find_objects, maximum_filter1d

from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Window
from napari_sam3d.windows import between

_SHELL = 3  # voxels about an object, against which its contrast is told


@dataclass(frozen=True, eq=False)
class Target:
    """An object to find.

    Parameters
    ----------
    label
        Its value in the labels that are played.
    name
        What it is called, with its number where instances are told apart.
    class_label, class_name
        Its value in the file, and what that is called.
    window
        The block of the volume that holds it.
    """

    label: int
    name: str
    class_label: int
    class_name: str
    window: Window


def choose(case: Labelled, settings: EvaluationSettings) -> tuple[Labelled, tuple[Target, ...]]:
    """The case with the objects to find and nothing else, and these by ascending label.

    Where instances are told apart, each part of a class whose voxels touch (26 neighbours) gets a
    label of its own.

    Parameters
    ----------
    case
        As it was read.
    settings
        Which classes, what counts as an object, how large it must be, and how many at most.

    Raises
    ------
    ValueError
        With one sentence, when nothing is left.
    """
    kept = case.labels if not settings.labels else _only(case.labels, settings.labels)
    classes: dict[int, int] = {}
    if settings.each == "instance":
        kept, classes = _instances(np.ascontiguousarray(kept))
    found = [
        (label, window)
        for label, window in enumerate(find_objects(kept), 1)
        if window is not None and (kept[window] == label).sum() >= settings.smallest
    ]
    if not found:
        raise ValueError(f"{case.name} holds no object to look at.")
    if 0 < settings.objects < len(found):
        order = np.random.RandomState(zlib.crc32(case.name.encode()) % 2**31)
        drawn = order.permutation(len(found))[: settings.objects]
        found = [found[i] for i in sorted(drawn.tolist())]
    targets: list[Target] = []
    for label, window in found:
        of = classes.get(label, label)
        name = case.names.get(of) or f"label {of}"
        number = 1 + sum(it.class_label == of for it in targets)
        shown = f"{name} {number}" if classes else name
        targets.append(Target(label, shown, of, name, window))
    labels = _only(kept, [it.label for it in targets])
    return replace(case, labels=labels), tuple(targets)


def contrast(image: np.ndarray, labels: np.ndarray, target: Target) -> float:
    """How much brighter an object is than what is about it, in standard deviations.

    The mean intensity inside, less that in a shell of three voxels, over the root of the mean of
    both variances; not a number where there is no shell or no variation.

    Parameters
    ----------
    image, labels
        (z, y, x) of the case.
    target
        The object.
    """
    start = [max(s.start - _SHELL, 0) for s in target.window]
    stop = [min(s.stop + _SHELL, n) for s, n in zip(target.window, labels.shape, strict=True)]
    window = between(start, stop)
    own = labels[window] == target.label
    grown = own.astype(np.uint8)
    for axis in range(3):
        grown = maximum_filter1d(grown, 2 * _SHELL + 1, axis)
    values = np.asarray(image[window], np.float64)
    inside, about = values[own], values[(grown > 0) & ~own]
    if not about.size:
        return float("nan")
    spread = float(np.sqrt((inside.var() + about.var()) / 2))
    return float(inside.mean() - about.mean()) / spread if spread > 0 else float("nan")


def _only(labels: np.ndarray, wanted: list[int] | tuple[int, ...]) -> np.ndarray:
    """The labels with all others made background."""
    return np.where(np.isin(labels, wanted), labels, 0).astype(labels.dtype)


def _instances(labels: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
    """Parts numbered class by class, and the class of each."""
    out = np.zeros(labels.shape, np.int32)
    classes: dict[int, int] = {}
    for label, window in enumerate(find_objects(labels), 1):
        if window is None:
            continue
        parts, count = cc3d.connected_components(
            np.ascontiguousarray(labels[window] == label), connectivity=26, return_N=True
        )
        out[window][parts > 0] = (parts[parts > 0] + len(classes)).astype(np.int32)
        classes.update({len(classes) + n: label for n in range(1, count + 1)})
    return out, classes
