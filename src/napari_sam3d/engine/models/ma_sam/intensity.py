"""What MA-SAM's checkpoints expect of the intensities and the size of slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import zoom
from torch import Tensor

from napari_sam3d.engine.pieces import sampled

_PROSTATE_QUANTILE = 0.99
_RANGE = 1e-8  # added to the range of the intensities, as released
_CUBIC = 3  # order of splines
_SAMPLE = 1 << 26  # voxels; so many are read without a thought


@dataclass(frozen=True)
class Intensity:
    """How intensities become what the network was tuned on.

    Parameters
    ----------
    low, high
        Values are clipped here.
    per_group
        Scale to 0 to 1 by the range of the group of slices, so that the same slice looks different
        in different groups; else from `low` to `high`, which must be finite then. For the
        multi-organ CT checkpoint, the range of the group undoes the released scaling after the clip
        (times 255, minus a mean, over a deviation).
    """

    low: float = -math.inf
    high: float = math.inf
    per_group: bool = True

    def clip(self, slices: np.ndarray) -> np.ndarray:
        """Slices as float32 within the limits, not-a-number at zero; before they are resized."""
        values = np.nan_to_num(np.asarray(slices, np.float32), posinf=0.0, neginf=0.0)
        return values.clip(self.low, self.high)

    def scale(self, group: Tensor) -> Tensor:
        """Clipped intensities of one group of slices, scaled."""
        low = group.min() if self.per_group else group.new_tensor(self.low)
        high = group.max() if self.per_group else group.new_tensor(self.high)
        return (group - low) / (high - low + _RANGE)


BY_GROUP = Intensity()


def prostate_intensity(volume: np.ndarray) -> Intensity:
    """Of the prostate MR checkpoint: from the least value of the volume to its 99 % quantile.

    Of a large volume that is not in memory, a sample counts.
    """
    values = volume if isinstance(volume, np.ndarray) else sampled(volume, _SAMPLE)
    return Intensity(
        float(values.min()), float(np.quantile(values, _PROSTATE_QUANTILE)), per_group=False
    )


def resized(slices: np.ndarray, size: int) -> np.ndarray:
    """Slices (s, size, size), by cubic splines from corner to corner as the release does it."""
    if slices.shape[1:] == (size, size):
        return slices
    scale = (size / slices.shape[1], size / slices.shape[2])
    return np.stack([zoom(one, scale, order=_CUBIC) for one in slices])
