"""What a network said about several patches of one object, put together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_sam3d.volume import Grid, Shape3, Window
from napari_sam3d.windows import between

_EDGE = 0.02  # weight of the outermost voxels of a patch beside its middle


@dataclass(frozen=True, eq=False)
class View:
    """What the network said about one patch.

    Parameters
    ----------
    start
        First voxel of the patch on the working grid (z, y, x); may lie outside of it.
    probability
        (d, h, w) on the patch, 0 to 1.
    logits
        (1, 1, d, h, w) in the axes and the resolution of the network, to be shown to it again
        with the next click on this patch; None when the mask was changed since.
    score
        Expected IoU of the mask.
    """

    start: Shape3
    probability: Tensor
    logits: Tensor | None
    score: float

    @property
    def stop(self) -> Shape3:
        z, y, x = (a + n for a, n in zip(self.start, self.probability.shape, strict=True))
        return z, y, x


class Union:
    """The weighted mean of overlapping views on a grid that grows with them.

    A view counts less toward its faces, where it sees less around it.

    Parameters
    ----------
    first
        The view to begin with.
    """

    def __init__(self, first: View) -> None:
        self.start = np.array(first.start)
        shape = tuple(first.probability.shape)
        self._sum, self._weight = torch.zeros(shape), torch.zeros(shape)
        self._mean: Tensor | None = None
        self.views: list[View] = []
        self.add(first)

    @property
    def stop(self) -> np.ndarray:
        return self.start + np.array(self._sum.shape)

    @property
    def probability(self) -> Tensor:
        """(d, h, w) from `start` to `stop`; 0 where no view is. Not to be written to."""
        if self._mean is None:
            mean = self._sum / self._weight.clamp(min=1e-9)
            self._mean = torch.where(self._weight > 0, mean, 0.0)
        return self._mean

    def add(self, view: View) -> None:
        """Put one more view in."""
        low = np.minimum(self.start, view.start)
        high = np.maximum(self.stop, view.stop)
        if (low != self.start).any() or (high != self.stop).any():
            old = between(self.start - low, self.stop - low)
            wider = [torch.zeros(tuple(high - low)) for _ in range(2)]
            wider[0][old], wider[1][old] = self._sum, self._weight
            self.start, (self._sum, self._weight) = low, wider
        window = self.window(view.start, view.stop)
        weight = _importance(tuple(view.probability.shape))
        self._sum[window] += view.probability * weight
        self._weight[window] += weight
        self._mean = None
        self.views.append(view)

    def window(self, start: Any, stop: Any) -> Window:
        """Part of the union between two voxels of the working grid, cut to where there is one."""
        low = np.clip(np.asarray(start) - self.start, 0, None)
        high = np.clip(np.asarray(stop) - self.start, low, self._sum.shape)
        return between(low, high)

    def covered(self) -> Tensor:
        """bool (d, h, w): where a view is."""
        return self._weight > 0

    def grid(self, working: Grid) -> Grid:
        """The grid of `probability`."""
        return working.window(between(self.start, self.stop))


@lru_cache(maxsize=4)
def _importance(shape: tuple[int, ...]) -> Tensor:
    """Weights (d, h, w) that fall linearly from the middle of a patch to its faces."""
    out = torch.ones(shape)
    for axis, n in enumerate(shape):
        to_face = torch.minimum(torch.arange(n), torch.arange(n).flip(0)).float() / max(n / 2, 1)
        ramp = to_face.clamp(min=_EDGE).view([-1 if i == axis else 1 for i in range(3)])
        out = torch.minimum(out, ramp.expand_as(out))
    return out
