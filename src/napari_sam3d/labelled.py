"""An image with the labels of its voxels: what training learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from napari_sam3d.volume import Volume


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
    """

    volume: Volume
    labels: np.ndarray
    names: Mapping[int, str] = field(default_factory=dict)

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
