"""Whether the values of images are numbers, and of one kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.training.checking.check import (
    FILL,
    GOOD,
    LEAVE_OUT,
    PROBLEM,
    WARNING,
    Check,
)
from napari_sam3d.labelled import Pair

_SAMPLE = 30_000  # voxels of a volume that tell its range
_SLAB = 16  # slices at a time
_AIR = -200  # lower values are those of CT, where air has -1000
_FAR = 10  # times as wide a range as that of the others


@dataclass(frozen=True)
class Values:
    """The values of an image.

    Parameters
    ----------
    low, high
        Their 0.5 and 99.5 percentiles.
    least, most
        The smallest and the largest.
    odd
        Voxels that are no numbers, or infinite.
    """

    low: float
    high: float
    least: float
    most: float
    odd: int

    @property
    def is_ct(self) -> bool:
        """Whether they look like Hounsfield units."""
        return self.low < _AIR


def values_of(pair: Pair) -> Values:
    """Look through an image, a slab at a time."""
    every = max(1, pair.volume.data.size // _SAMPLE)
    least, most, odd, sample = np.inf, -np.inf, 0, []
    for slab in _slabs(pair.volume.data):
        known = slab.ravel()
        if slab.dtype.kind == "f":
            finite = np.isfinite(known)
            odd += int(finite.size - np.count_nonzero(finite))
            known = known[finite]
        if known.size:
            least, most = min(least, float(known.min())), max(most, float(known.max()))
            sample.append(known[::every])
    if not sample:
        return Values(0.0, 0.0, 0.0, 0.0, odd)
    low, high = np.percentile(np.concatenate(sample).astype(np.float64), (0.5, 99.5))
    return Values(float(low), float(high), least, most, odd)


def intensity_check(
    pair: Pair, values: Values, others: Sequence[Values], spec: ModelSpec | None
) -> Check:
    """Whether a model can learn from the values of an image.

    Parameters
    ----------
    pair, values
        The image.
    others
        The values of the other images.
    spec
        The model; None when it is not known.
    """
    name = pair.name
    if values.least == values.most:
        said = f"{name} has the same value everywhere, so there is nothing to see; leave it out."
        return Check(name, "intensity", PROBLEM, said, LEAVE_OUT)
    if values.odd:
        count = (
            "a voxel that is no number"
            if values.odd == 1
            else (f"{values.odd:,} voxels that are no numbers")
        )
        said = f"{name} has {count}; replace them by its lowest value."
        return Check(name, "intensity", PROBLEM, said, FILL)
    span = f"{_number(values.least)} to {_number(values.most)}"
    window = spec.intensity if spec is not None and spec.intensity.kind == "window" else None
    if spec is not None and window is not None and not _fits(values, window.low, window.high):
        said = (
            f"{name} has values from {span}; {spec.name} was made for CT in Hounsfield units and "
            f"sees {window.low:g} to {window.high:g} only. compact takes images of any kind."
        )
        return Check(name, "intensity", WARNING, said)
    if others:
        ct = sum(it.is_ct for it in others) > len(others) / 2
        if values.is_ct != ct and (values.is_ct or values.least >= 0):
            kinds = ("CT", "no CT") if values.is_ct else ("no CT", "CT")
            said = f"{name} looks like {kinds[0]} ({span}), the others like {kinds[1]}"
            return Check(name, "intensity", WARNING, f"{said}; is it meant to be here?", LEAVE_OUT)
        usual = float(np.median([it.high - it.low for it in others]))
        own = values.high - values.low
        if not ct and usual > 0 and not usual / _FAR <= own <= usual * _FAR:
            rest = (min(it.least for it in others), max(it.most for it in others))
            said = (
                f"{name} has values from {span}, the others from {_number(rest[0])} to "
                f"{_number(rest[1])}; is it an image of the same kind?"
            )
            return Check(name, "intensity", WARNING, said, LEAVE_OUT)
    kind = ", as in CT" if values.is_ct else ""
    return Check(name, "intensity", GOOD, f"Values from {span}{kind}.")


def filled(pair: Pair) -> Pair:
    """The image with its lowest value where it has no number."""
    data = np.array(pair.volume.data)
    finite = np.isfinite(data)
    data[~finite] = data[finite].min()
    return replace(pair, volume=replace(pair.volume, data=data, coarser=()))


def _fits(values: Values, low: float, high: float) -> bool:
    """Whether values are such that this window of Hounsfield units shows them."""
    seen = min(values.high, high) - max(values.low, low)
    return values.least < 0 and seen > 0.2 * min(high - low, values.high - values.low)


def _slabs(data: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, data.shape[0], _SLAB):
        yield np.asarray(data[start : start + _SLAB])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.2g}"
