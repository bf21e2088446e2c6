"""Between the axes of a volume and those a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from napari_sam3d.volume import Shape3

_AXES = {"I": (0, False), "S": (0, True), "P": (1, False), "A": (1, True)}
_AXES |= {"L": (2, False), "R": (2, True)}


@dataclass(frozen=True)
class Orientation:
    """Where the axes of a network point.

    Parameters
    ----------
    axes
        One letter for each of the last three axes of the network's input: toward I(nferior) or
        S(uperior), P(osterior) or A(nterior), L(eft) or R(ight). Ours are "IPL".
    """

    axes: str

    def __post_init__(self) -> None:
        if sorted(_AXES.get(letter, (-1, False))[0] for letter in self.axes) != [0, 1, 2]:
            raise ValueError(f"{self.axes!r} does not name three axes, as IPL does.")

    @property
    def order(self) -> list[int]:
        """Our axis behind each of the network's."""
        return [_AXES[letter][0] for letter in self.axes]

    @property
    def _flipped(self) -> list[bool]:
        """Whether it runs backwards, for each of the network's axes."""
        return [_AXES[letter][1] for letter in self.axes]

    def turn(self, image: Tensor) -> Tensor:
        """(..., z, y, x) -> (..., D, H, W), without a copy where nothing is flipped."""
        lead = list(range(image.ndim - 3))
        turned = image.permute(*lead, *(len(lead) + axis for axis in self.order))
        flips = [len(lead) + i for i, flipped in enumerate(self._flipped) if flipped]
        return turned.flip(flips) if flips else turned

    def turn_back(self, image: Tensor) -> Tensor:
        """(..., D, H, W) -> (..., z, y, x)."""
        lead = list(range(image.ndim - 3))
        flips = [len(lead) + i for i, flipped in enumerate(self._flipped) if flipped]
        turned = image.flip(flips) if flips else image
        return turned.permute(*lead, *(len(lead) + int(i) for i in np.argsort(self.order)))

    def turn_array(self, image: np.ndarray) -> np.ndarray:
        """View (D, H, W) of an array (z, y, x)."""
        return np.flip(image.transpose(self.order), tuple(np.flatnonzero(self._flipped)))

    def turn_array_back(self, image: np.ndarray) -> np.ndarray:
        """View (z, y, x) of an array (D, H, W)."""
        return np.flip(image, tuple(np.flatnonzero(self._flipped))).transpose(
            np.argsort(self.order)
        )

    def turn_start_back(
        self, start: np.ndarray, patch: tuple[int, ...], shape: tuple[int, ...]
    ) -> Shape3:
        """First voxel (z, y, x) of a patch (z, y, x) that begins at voxel (D, H, W) of a grid."""
        out = [0, 0, 0]
        for first, axis, flipped in zip(start, self.order, self._flipped, strict=True):
            out[axis] = int(shape[axis] - first - patch[axis] if flipped else first)
        z, y, x = out
        return z, y, x

    def turn_points(self, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """(n, 3) voxels (z, y, x) of a patch of `shape` (z, y, x) -> (n, 3) voxels (D, H, W)."""
        order = self.order
        turned = np.asarray(points, float)[:, order]
        lengths = np.asarray(shape)[order]
        return np.where(self._flipped, lengths - 1 - turned, turned)

    def turn_points_back(self, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """(n, 3) voxels (D, H, W) -> (n, 3) voxels (z, y, x) of a patch of `shape` (z, y, x)."""
        lengths = np.asarray(shape)[self.order]
        out = np.empty(np.shape(points))
        out[:, self.order] = np.where(self._flipped, lengths - 1 - points, points)
        return out
