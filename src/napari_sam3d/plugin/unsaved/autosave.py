"""Keeps the unsaved work of a session in a file, after every change and off the window's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3d.plugin.session.hand_edits import Stroke
from napari_sam3d.plugin.session.mask_layer import make_room
from napari_sam3d.plugin.session.objects import Object
from napari_sam3d.plugin.unsaved.changed_tiles import ChangedTiles
from napari_sam3d.plugin.unsaved.kept_file import Kept, read_kept, window_of
from napari_sam3d.plugin.unsaved.kept_folder import (
    LIVE,
    key_of,
    left_work,
    new_path,
    put_aside,
    this_process,
    work_folder,
)
from napari_sam3d.plugin.unsaved.kept_writer import Job, Writer
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam3d.plugin.session.session import Session
    from napari_sam3d.volume import Volume

_FILE = "napari_sam3d_unsaved_work"
"""Key in the metadata of a Labels layer: the file that its objects are kept in."""


class Autosave:
    """Writes what changed since the last time; only that is copied, and compressed by a thread.

    Call `save` between two operations, never in the middle of one: what it sees is what comes back.

    Parameters
    ----------
    session
        Whose work is kept.
    settings
        Gives those of the dock.
    folder
        Where; among the user's data by default.
    patience_s
        How long `save` waits for the one before to be on disk. So what is kept is one operation
        old at most, unless the disk takes longer; then the newest state wins.
    """

    painted = Signal()
    """Somebody changed voxels of the mask layer."""
    redrawn = Signal()
    """The mask layer is drawn anew: perhaps other voxels, perhaps another slice."""
    image_changed = Signal()
    """Work on another image begins, or on none; there may be some to resume: see `offer`."""
    failed = Signal(str)
    """A sentence: the work cannot be kept."""

    def __init__(
        self,
        session: Session,
        settings: Callable[[], InferenceSettings] = InferenceSettings,
        folder: Path | None = None,
        patience_s: float = 0.05,
    ) -> None:
        self._session, self._settings = session, settings
        self._folder = folder or work_folder()
        self._patience_s = patience_s
        self._image: Image | None = None
        self._volume: Volume | None = None
        self._labels: Labels | None = None
        self._path: Path | None = None
        self._before: tuple[Any, ...] = ()
        self._tiles = ChangedTiles()
        self._writer = Writer()
        self._complained = ""

    # what there is to resume

    def offer(self) -> tuple[Kept | None, str]:
        """Work on this image that was left, and a sentence when some cannot be read."""
        if self._session.used():
            return None, ""
        _, kept, sentence = self._find()
        return kept, sentence

    def resume(self, before: Callable[[Kept], object] = lambda kept: None) -> Kept:
        """Put what is on offer in place of an untouched session; ValueError with a sentence.

        Parameters
        ----------
        before
            Told when nothing can go wrong any more, before the objects are there: new settings
            would have a model asked for them again.
        """
        path, _, _ = self._find()
        image, volume = self._session.require_image()
        if path is None:
            raise ValueError(f"There is no earlier work on {image.name} any more.")
        labels, _ = self._session.ensure_layers()
        if self._session.used() or labels.data.max() > 0:
            raise ValueError("Take back with Undo what you have begun, then press Resume.")
        try:
            kept = read_kept(path)
        except ValueError:
            put_aside(path, ".damaged")
            raise
        if kept.shape != tuple(volume.grid.shape):
            raise ValueError(f"The earlier work belongs to another image than {image.name}.")
        before(kept)
        _put_back(self._session, labels, kept)
        self._begin(path)
        self._tiles.mark(kept.tiles)
        self.save()
        return kept

    def decline(self) -> None:
        """Never offer it again."""
        path, _, _ = self._find()
        if path is not None:
            put_aside(path, ".declined")

    def _find(self) -> tuple[Path | None, Kept | None, str]:
        image, volume = self._session.image, self._session.volume
        if image is None or volume is None:
            return None, None, ""
        return left_work(self._folder, key_of(volume, image.name))

    # keeping

    def save(self) -> None:
        """Have the session kept as it is now; nothing is written when nothing changed."""
        session = self._session
        if session.image is not self._image or session.volume is not self._volume:
            self._attach()
        if self._path is None:
            return
        if session.labels is not self._labels:
            self._follow(session.labels)
        self._writer.wait(self._patience_s)
        strokes = tuple(session.hand.edits.done)
        now = (session.current, asdict(self._settings()), dict(session.objects), strokes)
        self._tiles.note_shown(session.objects)
        _, volume = session.require_image()
        labels, blocks = session.labels, {}
        # what was kept stays until there is a layer again
        if labels is not None and tuple(labels.data.shape) == volume.grid.shape:
            blocks = self._tiles.changed(labels.data)
        if now == self._before and not blocks:
            return
        self._before = now
        job = Job(self._path, self._kept(*now), blocks)
        if not self._tiles.known and not session.used():
            job.kept = None  # nothing to lose
        self._writer.put(job)
        self._complain()

    def forget(self) -> None:
        """The masks were saved elsewhere: nothing has to be kept until the next change."""
        self.save()
        if self._path is not None:
            self._writer.put(Job(self._path, None))

    def close(self) -> None:
        """Finish writing, and let go of the session."""
        self._writer.close()
        self._end()
        self._image = self._volume = None

    def _attach(self) -> None:
        """Begin with another image, or none."""
        session = self._session
        steps = [it and it.step for it in (session.volume, self._volume)]
        other = session.image is not self._image or steps[0] != steps[1]
        self._image, self._volume = session.image, session.volume
        self._end()
        if session.image is None or session.volume is None:
            self.image_changed.emit()
            return
        left = None if session.labels is None else session.labels.metadata.get(_FILE)
        key = key_of(session.volume, session.image.name)
        # an earlier dock kept these objects there
        go_on = isinstance(left, str) and left.startswith(f"{key}-") and left not in LIVE
        self._begin(self._folder / str(left) if go_on else new_path(self._folder, key))
        if session.objects and session.labels is not None:
            self._tiles.look_through(session.labels.data)
        if other:
            self.image_changed.emit()

    def _end(self) -> None:
        self._follow(None)
        if self._path is not None:
            LIVE.discard(self._path.name)
        self._path = None

    def _begin(self, path: Path) -> None:
        self._end()
        LIVE.add(path.name)
        self._path, self._before = path, ()
        self._tiles = ChangedTiles()
        self._follow(self._session.labels)

    def _follow(self, labels: Labels | None) -> None:
        if self._labels is not None:
            self._labels.events.paint.disconnect(self._on_paint)
            self._labels.events.set_data.disconnect(self._on_redrawn)
            self._labels.events.data.disconnect(self._on_data)
        if labels is not None:
            labels.events.paint.connect(self._on_paint)
            labels.events.set_data.connect(self._on_redrawn)
            labels.events.data.connect(self._on_data)
            if self._path is not None:
                labels.metadata[_FILE] = self._path.name
            # of a layer that came in place of another one, what the other one had counts, too
            self._tiles.mark(self._tiles.known)
        self._labels = labels

    # what may have changed

    def _on_paint(self, event: Any) -> None:
        for atom in event.value:
            box = getattr(atom, "slice_key", None)
            if box is None:
                box = [slice(int(np.min(i)), int(np.max(i)) + 1) for i in atom[0] if np.size(i)]
            self._tiles.touch(tuple(box))
        self.painted.emit()

    def _on_redrawn(self) -> None:
        self.redrawn.emit()

    def _on_data(self) -> None:
        if self._session.labels is not None:
            self._tiles.look_through(self._session.labels.data)
        self.painted.emit()

    def look_again(self) -> None:
        """Save although nobody said which voxels changed: the undo of the mask layer does not."""
        self._tiles.mark(self._tiles.known)
        self.save()

    def _kept(
        self,
        current: int,
        settings: dict[str, Any],
        objects: dict[int, Object],
        strokes: tuple[Stroke, ...],
    ) -> Kept:
        image, volume = self._session.require_image()
        return Kept(
            title=image.name,
            saved_s=time.time(),
            owner=this_process(),
            shape=volume.grid.shape,
            dtype=self._tiles.dtype,
            current=current,
            objects=objects,
            settings=settings,
            strokes=strokes,
        )

    def _complain(self) -> None:
        """Say once what hinders the thread."""
        if self._writer.error != self._complained:
            self._complained = self._writer.error
            if self._complained:
                self.failed.emit(f"Unsaved work is not kept: {self._complained}")


def _put_back(session: Session, labels: Labels, kept: Kept) -> None:
    """Make a session what it was."""
    blocks = {tile: kept.labels(tile) for tile in kept.tiles}
    make_room(labels, max([kept.current, *kept.objects, *(int(b.max()) for b in blocks.values())]))
    for tile, block in blocks.items():
        labels.data[window_of(tile, kept.shape)] = block
    session.hand.edits.done[:] = kept.strokes
    labels.refresh(extent=False)
    session.hand.changed.emit()
    session.objects.clear()  # the layer's metadata hold the same dict
    session.objects.update(kept.objects)
    session.select(kept.current)
    session.prompts_changed.emit()
