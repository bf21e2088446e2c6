"""Which parts of a mask layer are not what was kept of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.plugin.layers.voxels import slabs
from napari_sam3d.plugin.unsaved.kept_file import TILE, Tile, window_of
from napari_sam3d.volume import Shape3, Window

if TYPE_CHECKING:
    from napari_sam3d.engine.predictor import Prediction
    from napari_sam3d.plugin.session.objects import Found, Object


class ChangedTiles:
    """Marks tiles where something may have changed, and tells in which of them something did.

    Attributes
    ----------
    dtype
        Of the labels, when they were looked at last.
    """

    def __init__(self) -> None:
        self.dtype = np.dtype(np.uint8)
        self._marked: set[Tile] = set()
        self._known: dict[Tile, int] = {}
        self._shown: dict[int, Prediction | Found | None] = {}

    @property
    def known(self) -> frozenset[Tile]:
        """Tiles that are kept, since they have labels."""
        return frozenset(self._known)

    def mark(self, tiles: Iterable[Tile]) -> None:
        """Something may have changed in these."""
        self._marked |= set(tiles)

    def touch(self, window: tuple[slice, ...]) -> None:
        """Something may have changed in a window (z, y, x)."""
        if len(window) == len(TILE) and all(s.start < s.stop for s in window):
            z, y, x = (
                range(s.start // n, (s.stop - 1) // n + 1)
                for s, n in zip(window, TILE, strict=True)
            )
            self._marked |= {(i, j, k) for i in z for j in y for k in x}

    def look_through(self, labels: np.ndarray) -> None:
        """Anything may have changed: mark what is kept, and where there are labels."""
        self.mark(self._known)
        for first, slab in slabs(labels, TILE[0]):
            if slab.max() > 0:
                whole = (slice(0, n) for n in slab.shape[1:])
                self.touch((slice(first, first + len(slab)), *whole))

    def note_shown(self, objects: Mapping[int, Object]) -> None:
        """Mark where masks are, and were, that are not what they were."""
        shown = {number: it.shown for number, it in objects.items()}
        for number in shown.keys() | self._shown.keys():
            now, before = shown.get(number), self._shown.get(number)
            if now is not before:
                for it in (now, before):
                    if it is not None:
                        self.touch(it.window)
        self._shown = shown

    def changed(self, labels: np.ndarray) -> dict[Tile, np.ndarray | None]:
        """Copies of the marked tiles that are not what they were; None where no label is left."""
        z, y, x = labels.shape
        shape: Shape3 = (z, y, x)
        self.dtype = labels.dtype
        blocks: dict[Tile, np.ndarray | None] = {}
        for tile in self._marked:
            window: Window = window_of(tile, shape)
            block = np.array(labels[window], order="C")
            check = zlib.crc32(block.data) if block.any() else None
            if check != self._known.pop(tile, None):
                blocks[tile] = None if check is None else block
            if check is not None:
                self._known[tile] = check
        self._marked = set()
        return blocks
