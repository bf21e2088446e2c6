"""What an evaluation finds: plain frozen values, which need no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_sam3d.prompts import Box, Point


@dataclass(frozen=True, eq=False)
class Played:
    """The mask of one object after one round of a protocol, before it is scored.

    Parameters
    ----------
    label
        Of the object in the labels of its case.
    round
        Which of the protocol's rounds, such as "box", "3" or "tight".
    mask
        bool (z, y, x) on all voxels of the case.
    said
        What was said to the model in this round that it had not heard before, in voxels (z, y, x)
        of the case.
    seconds
        Time of the prediction, without loading, drawing of clicks and scoring; 0 when the model was
        not asked.
    """

    label: int
    round: str
    mask: np.ndarray
    said: tuple[Point | Box, ...]
    seconds: float


@dataclass(frozen=True)
class Round:
    """How good a mask was after one round.

    Parameters
    ----------
    name
        As in `Played`.
    dice, nsd
        0 to 1; not a number where both masks are empty.
    hd95_mm
        95th percentile of the distances between the surfaces; infinite when one mask is empty.
    seconds
        As in `Played`.
    said
        As in `Played`; rows (z, y, x, 1 or 0) of points, and (z, y, x, z, y, x) of boxes.
    """

    name: str
    dice: float
    nsd: float
    hd95_mm: float
    seconds: float
    said: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class ObjectScores:
    """One object of a case: a class, or one instance of it.

    Parameters
    ----------
    label
        Its value in the labels that were played.
    name
        What it is called; its class where instances are told apart.
    class_label
        The label in the file.
    voxels, volume_ml
        Size of the reference.
    contrast
        Difference of the mean intensity inside and in a shell about it, in standard deviations of
        both; not a number where there is none.
    rounds
        In the order of the protocol.
    """

    label: int
    name: str
    class_label: int
    voxels: int
    volume_ml: float
    contrast: float
    rounds: tuple[Round, ...]


@dataclass(frozen=True)
class CaseScores:
    """All of one case, or why it failed.

    Parameters
    ----------
    case
        Its name.
    objects
        By ascending label; empty when it failed.
    seconds
        Wall time, of reading, predicting and scoring.
    peak_bytes
        Most memory that the process, or on CUDA the model on the device, had in use meanwhile.
    error
        One sentence when it failed.
    """

    case: str
    objects: tuple[ObjectScores, ...]
    seconds: float
    peak_bytes: int
    error: str = ""
