"""Where the objects of each class lie in the training cases, and what they are like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np

from napari_sam3d.engine.brightness import Ranks
from napari_sam3d.engine.class_prior import ClassPrior
from napari_sam3d.engine.training.cases import LabelledObject, objects_of
from napari_sam3d.labelled import Labelled
from napari_sam3d.volume import Point3

_MOST_UNNAMED = 20  # classes without a name from which on they are taken for single objects
_PART = 0.1  # of the voxels of the largest part, below which a part does not count


@dataclass(frozen=True, eq=False)
class _Seen:
    """One object: its middle across the volume, its edges, brightness and parts."""

    extent_mm: np.ndarray
    centre: np.ndarray
    size_mm: np.ndarray
    brightness: float
    parts: int


def priors_of(cases: Sequence[Labelled]) -> tuple[ClassPrior, ...]:
    """What to expect of each class, by ascending label.

    There are none where labels tell objects of a kind apart, such as nuclei: label 5 is then
    something else in each case.
    """
    seen: dict[int, list[_Seen]] = defaultdict(list)
    names: dict[int, str] = {}
    for case in cases:
        ranks = Ranks(case.volume)
        for it in objects_of(case):
            seen[it.label].append(_look(it, ranks))
            names.setdefault(it.label, case.names.get(it.label, ""))
    if len(seen) > _MOST_UNNAMED and not any(names.values()):
        return ()
    return tuple(
        _prior(label, names[label] or f"label {label}", seen[label], len(cases))
        for label in sorted(seen)
    )


def _look(it: LabelledObject, ranks: Ranks) -> _Seen:
    grid = it.volume.grid
    middle = np.argwhere(it.mask).mean(0) + it.start
    values = np.asarray(it.volume.data[it.window])[it.mask]
    counts = cc3d.statistics(cc3d.connected_components(it.mask, connectivity=26))["voxel_counts"]
    sizes = counts[1:]
    return _Seen(
        grid.extent_mm,
        (middle + 0.5) / np.asarray(grid.shape),
        np.array(it.mask.shape) * np.asarray(grid.spacing),
        float(ranks.of(values.astype(np.float32)).mean()),
        int((sizes >= _PART * sizes.max()).sum()),
    )


def _prior(label: int, name: str, seen: list[_Seen], of: int) -> ClassPrior:
    centre, centre_spread = _spread([it.centre for it in seen])
    size, size_spread = _spread([it.size_mm for it in seen])
    brightness = np.array([it.brightness for it in seen])
    return ClassPrior(
        label=label,
        name=name,
        cases=len(seen),
        of=of,
        parts=round(float(np.mean([it.parts for it in seen])), 4),
        centre=centre,
        centre_spread=centre_spread,
        size_mm=size,
        size_spread_mm=size_spread,
        brightness=round(float(brightness.mean()), 4),
        brightness_spread=round(float(_deviation(brightness)), 4),
        extent_mm=_spread([it.extent_mm for it in seen])[0],
    )


def _spread(values: list[np.ndarray]) -> tuple[Point3, Point3]:
    """Mean and standard deviation along each axis."""
    (z, y, x), (dz, dy, dx) = (
        it.round(4).tolist() for it in (np.mean(values, 0), _deviation(np.array(values)))
    )
    return (z, y, x), (dz, dy, dx)


def _deviation(values: np.ndarray) -> np.ndarray:
    """Of a sample; 0 of a single value."""
    return values.std(0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])
