"""How bright a voxel is among those of its volume, which scanners and units do not change."""

from __future__ import annotations

import numpy as np

from napari_sam3d.engine.pieces import sampled
from napari_sam3d.volume import Volume

_MOST = 1 << 17  # voxels that stand for a volume


class Ranks:
    """Ranks of intensities in a volume.

    Parameters
    ----------
    volume
        Of which some voxels from all over are looked at.
    """

    def __init__(self, volume: Volume) -> None:
        values = np.asarray(sampled(volume.data, _MOST), np.float32)
        self._sorted = np.sort(values[np.isfinite(values)])

    def of(self, values: np.ndarray) -> np.ndarray:
        """Share of the volume that is darker, 0 to 1; voxels of the same value count half."""
        if not len(self._sorted):
            return np.full(np.shape(values), 0.5)
        low = np.searchsorted(self._sorted, values, "left")
        high = np.searchsorted(self._sorted, values, "right")
        return (low + high) / (2 * len(self._sorted))
