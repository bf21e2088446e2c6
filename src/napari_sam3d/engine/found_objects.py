"""What there is to say of an object in a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
