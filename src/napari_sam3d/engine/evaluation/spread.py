"""How numbers are spread: mean and quartiles of those that are numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Of some numbers; nothing but `count` is a number when there are none.

    Parameters
    ----------
    count
        How many there are.
    mean
        Of all of them.
    low, median, high
        The quartiles.
    late
        95th percentile.
    """

    count: int
    mean: float
    low: float
    median: float
    high: float
    late: float


def spread(values: Iterable[float]) -> Spread:
    """The spread of the finite ones among these."""
    known = np.array(list(values), float)
    known = known[np.isfinite(known)]
    if not known.size:
        return Spread(0, *[nan] * 5)
    low, median, high, late = np.percentile(known, (25, 50, 75, 95)).tolist()
    return Spread(known.size, float(known.mean()), low, median, high, late)


def mean(values: Iterable[float]) -> float:
    """The mean of the finite ones among these; not a number when there is none."""
    known = [value for value in values if isfinite(value)]
    return sum(known) / len(known) if known else nan
