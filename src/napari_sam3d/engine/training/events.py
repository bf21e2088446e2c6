"""What a training tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam3d.volume import Window

COUNTED = (1, 3, 5)
"""Clicks after which the Dice is told; (0,) takes its place for networks that take none."""
Scores = tuple[float, ...]
"""A mean Dice for each count of clicks."""


@dataclass(frozen=True)
class Started:
    """The first event: all that was checked is in order.

    Parameters
    ----------
    name
        Of the run, and of the adapter to be.
    step, steps
        Steps that an earlier part of the run has done, and steps in all.
    tuned
        Numbers that tuning may change.
    cases, held_out
        What it learns from, and what it is judged on.
    optimistic
        Whether that are parts of the same volumes.
    counted
        Clicks after which the Dice is told, or 0 alone.
    past
        What an earlier part of the run told.
    """

    name: str
    step: int
    steps: int
    tuned: int
    cases: tuple[str, ...]
    held_out: tuple[str, ...]
    optimistic: bool
    counted: tuple[int, ...] = COUNTED
    past: tuple[Step | Validated, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of the optimiser: its number from 1 on, mean loss, learning rate and seconds."""

    step: int
    loss: float
    rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Preview:
    """What the model makes of a held-out object after all clicks.

    Parameters
    ----------
    volume
        Name of the volume, also where some of its slices are held out.
    label
        Of the object.
    mask, window
        bool (z, y, x), and where it sits in the volume.
    dice
        How well it matches.
    """

    volume: str
    label: int
    mask: np.ndarray
    window: Window
    dice: float


@dataclass(frozen=True, eq=False)
class Looking:
    """How far a look at the held-out volumes is.

    Parameters
    ----------
    step
        After how many steps.
    done, total
        Objects done, of how many; or slices, for networks that take no clicks.
    found
        The newest object.
    """

    step: int
    done: int
    total: int
    found: Preview | None = None


@dataclass(frozen=True)
class Validated:
    """A look at the held-out volumes.

    Parameters
    ----------
    step
        After how many steps; 0 is the model as it was.
    dice, base
        Now, and before tuning.
    best
        Whether nothing before was as good.
    """

    step: int
    dice: Scores
    base: Scores
    best: bool


@dataclass(frozen=True)
class Saved:
    """A file was written, after so many steps."""

    step: int
    path: Path


@dataclass(frozen=True)
class Warned:
    """Something to know, in a sentence."""

    sentence: str


@dataclass(frozen=True)
class Finished:
    """The last event of a training that ran to its end.

    Parameters
    ----------
    step
        Steps done.
    verdict
        What came of it, in a sentence.
    adapter
        The adapter among those that can be chosen by name; None when it was not better.
    before, after
        Dice of the model as it was, and with the best adapter.
    """

    step: int
    verdict: str
    adapter: Path | None
    before: Scores
    after: Scores


@dataclass(frozen=True)
class Failed:
    """The last event of a training that could not go on.

    Parameters
    ----------
    step
        Steps done.
    sentence
        Why.
    adapter
        The best adapter so far; None when there is none on disk.
    """

    step: int
    sentence: str
    adapter: Path | None


Event = Started | Step | Looking | Validated | Saved | Warned | Finished | Failed
