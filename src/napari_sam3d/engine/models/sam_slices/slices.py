"""The slices of a volume as a 2D network wants them: 8 bits, encoded once and kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
import torch

from napari_sam3d.engine.models.sam_slices.model import SliceMask, SlicePrompts
from napari_sam3d.engine.pieces import sampled

_PERCENTILES = (0.5, 99.5)  # of the volume, black and white
_SAMPLE = 1_000_000  # voxels that the percentiles are taken from, at most
_KEPT_SLICES = 64  # embeddings; 4 MB each at SAM's size
_WHITE = 255


class SliceModel(Protocol):
    """What is asked of the network; `SliceSam` has it."""

    @property
    def boxes_only(self) -> bool: ...
    def encode_slice(self, image: np.ndarray, pixel_size: tuple[float, float]) -> Any: ...
    def decode_slice(self, embedding: Any, prompts: SlicePrompts) -> SliceMask: ...


class VolumeSlices:
    """The slices of one volume along any axis, with the embeddings used last.

    Parameters
    ----------
    model
        The network that encodes them.
    volume
        (z, y, x), any real dtype; only single slices of it are read.
    spacing
        Size of the voxels; only its proportions matter. SAM then sees slices with square pixels.
    precision
        Number format of the encoder.
    device
        Where the network is.
    window
        Intensities that become black and white; None for percentiles of the volume.
    kept
        How many embeddings stay in memory.
    """

    def __init__(
        self,
        model: SliceModel,
        volume: np.ndarray,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        *,
        precision: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        window: tuple[float, float] | None = None,
        kept: int = _KEPT_SLICES,
    ) -> None:
        if volume.ndim != 3 or 0 in volume.shape:
            raise ValueError(f"Slices need a volume (z, y, x), not shape {volume.shape}.")
        self.model, self.volume, self.spacing = model, volume, spacing
        self.precision, self.device = precision, torch.device(device)
        self.window = percentile_window(volume) if window is None else window
        self.kept = kept
        self._embeddings: OrderedDict[tuple[int, int], Any] = OrderedDict()

    def image(self, axis: int, index: int) -> np.ndarray:
        """A slice across `axis` as (h, w) uint8."""
        return to_bytes(np.asarray(np.take(self.volume, index, axis)), self.window)

    def pixel_size(self, axis: int) -> tuple[float, float]:
        """Size of the pixels of slices across `axis`, (rows, columns)."""
        rows, columns = (size for i, size in enumerate(self.spacing) if i != axis)
        return rows, columns

    def decode(self, axis: int, index: int, prompts: SlicePrompts) -> SliceMask:
        """The mask of the prompts on a slice across `axis`."""
        return self.model.decode_slice(self.embedding(axis, index), prompts)

    def embedding(self, axis: int, index: int) -> Any:
        """The encoded slice, from memory when it was used lately."""
        key = (axis, index)
        if key not in self._embeddings:
            half = self.precision != torch.float32
            precision = self.precision if half else None
            with torch.autocast(self.device.type, precision, enabled=half):
                self._embeddings[key] = self.model.encode_slice(
                    self.image(axis, index), self.pixel_size(axis)
                )
            if len(self._embeddings) > self.kept:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(key)
        return self._embeddings[key]


def percentile_window(volume: np.ndarray) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of what is finite, from at most a million voxels."""
    sample = sampled(volume, _SAMPLE).astype(np.float32)
    sample = sample[np.isfinite(sample)]
    if len(sample) == 0:
        return 0.0, 1.0
    low, high = np.percentile(sample, _PERCENTILES)
    return float(low), float(high)


def to_bytes(image: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Intensities between the ends of the window as 0 to 255, uint8; not-a-number is black."""
    low, high = window
    share = (np.asarray(image, np.float32) - low) / max(high - low, 1e-6 * max(1.0, abs(high)))
    share = np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return np.ascontiguousarray((share * _WHITE + 0.5).astype(np.uint8))
