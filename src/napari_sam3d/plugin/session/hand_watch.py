"""Sees what is painted in the Labels layer, and writes masks around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3d.plugin.session.hand_blocks import Block, block_at, listed, together
from napari_sam3d.plugin.session.hand_edits import HandEdits
from napari_sam3d.plugin.session.mask_layer import show_mask, write_mask
from napari_sam3d.plugin.session.objects import Found
from napari_sam3d.volume import Volume, Window
from napari_sam3d.windows import common, moved

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3d.engine.predictor import Prediction
    from napari_sam3d.plugin.session.objects import Object

HAND_EDITS = "napari_sam3d_hand_edits"
"""Key in the metadata of a Labels layer under which its hand edits outlive the dock."""


class HandWatch:
    """Hand edits of one Labels layer at a time, and what masks do where they meet.

    A stroke ends with napari's `paint` event; that one was undone or redone is seen from the
    voxels when napari shows the layer anew, and before each mask.
    """

    changed = Signal()
    """There are other hand edits."""

    def __init__(self) -> None:
        self.keep = True
        """Masks leave voxels that were set by hand as they are; else they replace them."""
        self.overwrite = False
        """A mask takes voxels of other objects; else these stay with their object."""
        self.edits = HandEdits()
        self._labels: Labels | None = None
        self._shape: tuple[int, ...] = ()
        self._locked: list[int] = []
        self._given_up: dict[int, list[Window]] = {}
        self._writing = self._staged = self._heard = False

    def follow(self, labels: Labels | None) -> None:
        """Watch a layer, with the edits that it brings, or none."""
        self._let_go()
        self._labels = labels
        self.edits, self._given_up = HandEdits(), {}
        if labels is not None:
            self._shape = labels.data.shape
            self.edits = labels.metadata.setdefault(HAND_EDITS, self.edits)
            labels.events.paint.connect(self._on_paint)
            labels.events.set_data.connect(self._on_shown)
        self.changed.emit()

    def replace(self, labels: Labels) -> None:
        """Watch a new layer in place of one that is gone, and set again what was set by hand."""
        edits = self.edits
        edits.undone.clear()
        for stroke in edits.done:
            for block in stroke.blocks:
                if int(block.after.max()) <= np.iinfo(labels.data.dtype).max:
                    labels.data[block.window][block.mask] = block.after[block.mask]
        labels.metadata[HAND_EDITS] = edits
        self.follow(labels)

    def forget(self, object_id: int) -> None:
        """Leave what was set of an object to the model from now on."""
        windows = self.edits.forget(object_id)
        self._given_up.setdefault(object_id, []).extend(windows)
        self.changed.emit()

    def delete(self, labels: Labels, object_id: int, window: Window | None) -> None:
        """Remove the voxels of an object in a window, and what was set of it by hand."""
        self.forget(object_id)
        self._writing = True
        try:
            write_mask(labels, object_id, None, None, window)
        finally:
            self._writing = False
        self.edits.undone.clear()
        self._given_up.pop(object_id, None)

    def show(
        self,
        labels: Labels,
        object_id: int,
        shown: Prediction | Found | None,
        before: Prediction | Found | None,
        objects: dict[int, Object],
    ) -> None:
        """Show the mask of an object in place of the one before, around what was set by hand."""
        if not self.keep:
            self.forget(object_id)
        self._sync(labels)
        self._locked = [n for n, it in objects.items() if it.locked]
        self._writing, self._heard = True, False
        try:
            count = show_mask(labels, object_id, shown, before, self._rule)
            for window in self._given_up.pop(object_id, ()):  # it may lie far from both masks
                mask = None if shown is None else moved(shown.mask, shown.window, window)
                count += write_mask(labels, object_id, mask, window, None, self._rule)
            if self.overwrite and before is not None:
                # voxels that it gave back belong to those who had them
                for number, it in objects.items():
                    if number != object_id and not it.locked and _meet(it.shown, before):
                        count += show_mask(labels, number, it.shown, None, self._rule_kept)
        finally:
            self._writing = False
        if count:
            self.edits.undone.clear()  # as napari forgets what it could redo
            # in the middle of a stroke napari keeps our change for the stroke's event
            self._staged = not self._heard

    def previous(
        self, previous: Prediction | Found | None, object_id: int, volume: Volume
    ) -> Prediction | Found | None:
        """What is to be changed, as the user has left it; None when nothing is left."""
        if previous is None or not self.keep or not self.edits.done:
            return previous
        if self._labels is not None:
            self._sync(self._labels)
        if isinstance(previous, Found):
            mask = self.edits.applied(object_id, previous.mask, previous.window)
            if mask is previous.mask:
                return previous
            return replace(previous, mask=mask) if mask.any() else None
        return self.edits.adjusted(previous, object_id, volume.grid)

    def _rule(
        self, object_id: int, wanted: np.ndarray, now: np.ndarray, box: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        """The voxels that an object should have, and those that it may take."""
        wanted, free = self._rule_kept(object_id, wanted, now, box)
        if self.overwrite:
            free = (now != object_id) & ~np.isin(now, self._locked)
            held = self.edits.held(object_id, box) if self.keep else None
            if held is not None:
                free &= ~held
        return wanted, free

    def _rule_kept(
        self, object_id: int, wanted: np.ndarray, now: np.ndarray, box: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.edits.applied(object_id, wanted, box), now == 0

    def _on_paint(self, event: Any) -> None:
        if self._writing:
            self._heard = True
            return
        staged, self._staged = self._staged, False
        stroke = any(len(atom) == 4 for atom in event.value)
        self.edits.add(_blocks(event.value, skip_listed=staged and stroke))
        self.changed.emit()

    def _on_shown(self, event: Any = None) -> None:
        if self._labels is not None and not self._writing:
            count = len(self.edits.done)
            self._sync(self._labels)
            if len(self.edits.done) != count:
                self.changed.emit()

    def _sync(self, labels: Labels) -> None:
        if labels.data.shape == self._shape:  # else somebody gave the layer another array
            self.edits.sync(labels.data)

    def _let_go(self) -> None:
        if self._labels is not None:
            self._labels.events.paint.disconnect(self._on_paint)
            self._labels.events.set_data.disconnect(self._on_shown)


def _meet(one: Prediction | Found | None, other: Prediction | Found) -> bool:
    return one is not None and common(one.window, other.window) is not None


def _blocks(atoms: Sequence[Any], skip_listed: bool = False) -> list[Block]:
    """The voxels of a `paint` event: blocks of the brush, and lists of `data_setitem`."""
    blocks = []
    for atom in atoms:
        if len(atom) == 4:
            window, mask, before, after = atom
            if mask is None:
                mask = np.ones(before.shape, bool)
            else:
                whole = np.zeros(mask.shape, before.dtype)
                whole[mask] = before
                before = whole
            after = np.broadcast_to(before.dtype.type(after), mask.shape)
            blocks += block_at(window, mask, before, after)
        elif not skip_listed:
            indices, before, after = atom
            after = np.broadcast_to(np.asarray(after, before.dtype), before.shape)
            blocks += listed(indices, before, after)
    return together(blocks)
