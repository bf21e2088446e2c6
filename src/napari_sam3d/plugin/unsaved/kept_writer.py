"""The thread that writes unsaved work to its file."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from napari_sam3d.io.atomic import replacing
from napari_sam3d.plugin.unsaved.kept_file import Kept, Tile, pack, write_kept
from napari_sam3d.plugin.unsaved.kept_folder import sweep


@dataclass
class Job:
    """What is to be written; blocks of labels are None where no label is left."""

    path: Path
    kept: Kept | None
    blocks: dict[Tile, np.ndarray | None] = field(default_factory=dict)


class Writer:
    """One thread that writes; of jobs for the same file only the newest waits."""

    def __init__(self) -> None:
        self.error = ""
        self._jobs: list[Job] = []
        self._packed: dict[Path, dict[Tile, bytes]] = {}
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._run, name="unsaved work", daemon=True)

    def put(self, job: Job) -> None:
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

    def _write(self, job: Job) -> None:
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
