"""Encoded patches, kept for later clicks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import ref

from torch import Tensor

from napari_sam3d.volume import Grid, Volume


class EmbeddingCache:
    """The embeddings used last, by volume and patch; volumes that nobody else holds may go.

    Parameters
    ----------
    limit_bytes
        How much they may take; the newest stays in any case.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[int, Grid], tuple[ref, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, volume: Volume, patch: Grid, encode: Callable[[], Any]) -> Any:
        """The embedding of a patch, by `encode` when it is not known."""
        for gone in [key for key, (data, _) in self._kept.items() if data() is None]:
            del self._kept[gone]  # else its id may be that of another volume
        key = (id(volume.data), patch)
        if key not in self._kept:
            self._kept[key] = (ref(volume.data), encode())
            held = sum(_nbytes(embedding) for _, embedding in self._kept.values())
            while held > self.limit_bytes and len(self._kept) > 1:
                _, (_, oldest) = self._kept.popitem(last=False)
                held -= _nbytes(oldest)
        self._kept.move_to_end(key)
        return self._kept[key][1]


def _nbytes(embedding: Any) -> int:
    """Bytes of the tensors that an embedding holds."""
    if isinstance(embedding, Tensor):
        return embedding.nbytes
    return sum(value.nbytes for value in vars(embedding).values() if isinstance(value, Tensor))
