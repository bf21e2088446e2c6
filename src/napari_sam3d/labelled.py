"""An image with the labels of its voxels: what training learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_sam3d.volume import Grid, Volume


@dataclass(frozen=True)
class PairFiles:
    """A NIfTI image and its label map.

    Parameters
    ----------
    image, labels
        The files.
    """

    image: Path
    labels: Path


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and labels as they were given, before it is known whether they go together.

    Parameters
    ----------
    volume
        The image. Its name is that of the pair.
    labels
        (z, y, x) of any real dtype; 0 is background, each other value should be an object.
    labels_grid
        Where the labels say that their voxels are.
    names
        What the values mean, where that is known.
    files
        Where it came from, when from files.
    """

    volume: Volume
    labels: np.ndarray
    labels_grid: Grid
    names: Mapping[int, str] = field(default_factory=dict)
    files: PairFiles | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.volume.name


@dataclass(frozen=True, eq=False)
class Labelled:
    """A volume, and the object each of its voxels belongs to.

    Parameters
    ----------
    volume
        The image.
    labels
        Whole numbers (z, y, x) on its grid; 0 is background, each other value an object.
    names
        What the values mean, where that is known.
    files
        Where it came from, when from files.
    whole, first_slice
        Of what volume it is a part, and from which slice on; empty and 0 for a whole one.
    """

    volume: Volume
    labels: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)
    files: PairFiles | None = None
    whole: str = ""
    first_slice: int = 0

    def __post_init__(self) -> None:
        if tuple(self.labels.shape) != self.volume.grid.shape:
            raise ValueError(
                f"{self.name}: the labels have shape {tuple(self.labels.shape)}, the image "
                f"{self.volume.grid.shape}."
            )

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.volume.name
