"""Keeps the unsaved work of a session in a file, after every change and off the window's thread."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3d.io.atomic import replacing
from napari_sam3d.plugin.hand_edits import Stroke
from napari_sam3d.plugin.kept_file import TILE, Kept, Tile, pack, read_kept, window_of, write_kept
from napari_sam3d.plugin.kept_folder import (
    LIVE,
    key_of,
    left_work,
    new_path,
    put_aside,
    sweep,
    this_process,
    work_folder,
)
from napari_sam3d.plugin.mask_layer import make_room
from napari_sam3d.plugin.objects import Object
from napari_sam3d.plugin.voxels import slabs
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam3d.plugin.session import Session
    from napari_sam3d.volume import Volume, Window

_FILE = "napari_sam3d_unsaved_work"
"""Key in the metadata of a Labels layer: the file that its objects are kept in."""


@dataclass
class _Job:
    """What is to be written; blocks of labels are None where no label is left."""

    path: Path
    kept: Kept | None
    blocks: dict[Tile, np.ndarray | None] = field(default_factory=dict)


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
        self._dtype = np.dtype(np.uint8)
        self._before: tuple[Any, ...] = ()
        self._shown: dict[int, Window] = {}
        self._dirty: set[Tile] = set()
        self._known: dict[Tile, int] = {}
        self._writer = _Writer()
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
        self._dirty |= set(kept.tiles)
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
        self._note_shown()
        blocks = self._copy_dirty()
        if now == self._before and not blocks:
            return
        self._before = now
        job = _Job(self._path, self._kept(*now), blocks)
        if not self._known and not session.used():
            job.kept = None  # nothing to lose
        self._writer.put(job)
        self._complain()

    def forget(self) -> None:
        """The masks were saved elsewhere: nothing has to be kept until the next change."""
        self.save()
        if self._path is not None:
            self._writer.put(_Job(self._path, None))

    def close(self) -> None:
        """Finish writing, and let go of the session."""
        self._writer.close()
        self._end()
        self._image = self._volume = None

    def _attach(self) -> None:
        """Begin with another image, or none."""
        session = self._session
        other = session.image is not self._image
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
        if session.objects:
            self._scan()
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
        self._shown, self._dirty, self._known = {}, set(), {}
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
            self._dirty |= self._known.keys()
        self._labels = labels

    # what may have changed

    def _on_paint(self, event: Any) -> None:
        for atom in event.value:
            box = getattr(atom, "slice_key", None)
            if box is None:
                box = [slice(int(np.min(i)), int(np.max(i)) + 1) for i in atom[0] if np.size(i)]
            self._touch(tuple(box))
        self.painted.emit()

    def _on_redrawn(self) -> None:
        self.redrawn.emit()

    def _on_data(self) -> None:
        self._scan()
        self.painted.emit()

    def look_again(self) -> None:
        """Save although nobody said which voxels changed: the undo of the mask layer does not."""
        self._dirty |= self._known.keys()
        self.save()

    def _note_shown(self) -> None:
        """Mark where masks were and are that are not what they were."""
        objects = self._session.objects
        windows = {n: it.shown.window for n, it in objects.items() if it.shown is not None}
        seen = self._before[2] if self._before else {}
        for number in objects.keys() | seen.keys():
            if getattr(objects.get(number), "shown", None) is not getattr(
                seen.get(number), "shown", None
            ):
                for window in (windows.get(number), self._shown.get(number)):
                    if window is not None:
                        self._touch(window)
        self._shown = windows

    def _touch(self, window: tuple[slice, ...]) -> None:
        if len(window) == len(TILE) and all(s.start < s.stop for s in window):
            ranges = [
                range(s.start // n, (s.stop - 1) // n + 1)
                for s, n in zip(window, TILE, strict=True)
            ]
            self._dirty |= {(z, y, x) for z in ranges[0] for y in ranges[1] for x in ranges[2]}

    def _scan(self) -> None:
        """Mark every tile that may hold a label."""
        self._dirty |= self._known.keys()
        if self._session.labels is not None:
            for first, slab in slabs(self._session.labels.data, TILE[0]):
                if slab.max() > 0:
                    whole = (slice(0, n) for n in slab.shape[1:])
                    self._touch((slice(first, first + len(slab)), *whole))

    def _copy_dirty(self) -> dict[Tile, np.ndarray | None]:
        """The marked tiles that are not what they were."""
        labels, volume = self._session.labels, self._volume
        blocks: dict[Tile, np.ndarray | None] = {}
        if labels is None or volume is None or tuple(labels.data.shape) != volume.grid.shape:
            return blocks  # what was kept stays until there is a layer again
        self._dtype = labels.data.dtype
        for tile in self._dirty:
            block = np.array(labels.data[window_of(tile, volume.grid.shape)], order="C")
            check = zlib.crc32(block.data) if block.any() else None
            if check != self._known.pop(tile, None):
                blocks[tile] = None if check is None else block
            if check is not None:
                self._known[tile] = check
        self._dirty = set()
        return blocks

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
            dtype=self._dtype,
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


class _Writer:
    """One thread that writes; of jobs for the same file only the newest waits."""

    def __init__(self) -> None:
        self.error = ""
        self._jobs: list[_Job] = []
        self._packed: dict[Path, dict[Tile, bytes]] = {}
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._run, name="unsaved work", daemon=True)

    def put(self, job: _Job) -> None:
        """Write this next."""
        with self._changed:
            if self._jobs and self._jobs[-1].path == job.path:
                job.blocks = {**self._jobs.pop().blocks, **job.blocks}
            self._jobs.append(job)
            if self._thread.ident is None:
                self._thread.start()
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Whether all is written by then."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._busy, timeout_s)

    def close(self) -> None:
        """End when all is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(10)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                job = self._jobs.pop(0)
                self._busy = True
            try:
                self._write(job)
                self.error = ""
            except OSError as error:
                why = error.strerror or str(error).rstrip(".")
                self.error = f"{job.path.parent} cannot be written ({why})."

    def _write(self, job: _Job) -> None:
        if job.path not in self._packed:
            self._packed = {job.path: {}}
            sweep(job.path.parent)
        packed = self._packed[job.path]
        for tile, block in job.blocks.items():
            if block is None:
                packed.pop(tile, None)
            else:
                packed[tile] = pack(block)
        if job.kept is None:
            with suppress(OSError):
                job.path.unlink()
            return
        job.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(job.path) as file:
            write_kept(file, replace(job.kept, tiles=packed))


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
