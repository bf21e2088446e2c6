"""What a batch has done, in small files beside its masks, whoever dies on the way.

    OUTPUT/x_seg.nii.gz            the mask of the case x
    OUTPUT/batch/batch.json        what all masks were made with
    OUTPUT/batch/cases/x.json      x is complete; written after the mask
    OUTPUT/batch/cases/x.attempt1  somebody began with x, and x.attempt2: somebody else once more

A mark of an attempt is a file that only one process can make. It goes when the case is complete or
has failed in an orderly way; one that is left says that its process died, or is still at it.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from napari_sam3d.engine.batch.outcome import Outcome, from_json, to_json
from napari_sam3d.engine.batch.task import Task
from napari_sam3d.io.json_file import other_keys, read_json, write_text
from napari_sam3d.io.stamps import stamp_of

KIND, CASE_KIND, VERSION = "napari-sam3d batch", "napari-sam3d batch case", 1
ATTEMPTS = 2
"""Workers that may die of a case."""


class Ledger:
    """The records of one batch.

    Parameters
    ----------
    folder
        Where its masks are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "batch"
        self._batch = self.path / "batch.json"
        self._cases = self.path / "cases"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other batches out; ValueError when one is at work. It ends with the process."""
        from filelock import FileLock, Timeout

        self._cases.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"Another batch is writing into {self.folder}; wait for it, or choose another "
                "folder with --output."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def begin(
        self, config: Mapping[str, Any], tasks: Sequence[Task], overwrite: bool = False
    ) -> str:
        """Begin a batch, or go on with it; its number, by which workers know it.

        Parameters
        ----------
        config
            All that the masks depend on beside images and prompts.
        tasks
            The cases.
        overwrite
            Forget what was done, and replace masks that are there.

        Raises
        ------
        ValueError
            When the folder holds another batch; the sentence names what differs.
        FileExistsError
            When a mask is there that this batch did not write, or that was changed since, though
            its image or prompts were as well.
        """
        value = json.loads(json.dumps(config))
        if overwrite:
            self._clear()
        known = self._read()
        if known is not None and known.get("config") != value:
            other = other_keys(known.get("config"), value)
            raise ValueError(
                f"{self.folder} holds a batch with another {', '.join(other)}; choose another "
                "folder with --output, or replace it with --overwrite."
            )
        there = [task for task in tasks if task.mask.exists()]
        foreign = [] if overwrite else [task.mask for task in there if not self._is_ours(task)]
        if foreign:
            more = f" and {len(foreign) - 1} more are" if len(foreign) > 1 else " is"
            raise FileExistsError(
                f"{foreign[0]}{more} there, and not as this batch would have left it; choose "
                "another folder with --output, or replace what is there with --overwrite."
            )
        if known is not None:
            return str(known["number"])
        number = secrets.token_hex(8)
        replaces = [task.mask.name for task in there]
        self._write(self._batch, KIND, {"number": number, "config": value, "replaces": replaces})
        return number

    def check(self, task: Task) -> None:
        """ValueError when this machine does not see the batch that a task belongs to."""
        known = self._read()
        if known is None or known.get("number") != task.batch:
            raise ValueError(
                f"{platform.node()} does not see the folder {self.folder}; all machines of a "
                "cluster need images and output at the same place of a shared file system."
            )

    def known(self, task: Task) -> Outcome | None:
        """What came of a case that is complete, with its mask there and its files unchanged."""
        record = self._record(task)
        if record is None or not self._is_complete(task, record):
            return None
        try:
            return from_json(record.get("outcome"))
        except ValueError:
            return None  # it is done again

    def attempt(self, task: Task) -> int:
        """Mark that this process begins with a case: 1, or 2 after a death; 0 after two."""
        said = f"process {os.getpid()} on {platform.node()}"
        for number in range(1, ATTEMPTS + 1):
            try:
                with self._mark(task, number).open("x", encoding="utf-8") as file:
                    file.write(said)
            except FileExistsError:
                continue
            return number
        return 0

    def attempts(self, task: Task) -> tuple[str, ...]:
        """Who began with a case that is not complete: processes and their machines."""
        found = []
        for number in range(1, ATTEMPTS + 1):
            try:
                found.append(self._mark(task, number).read_text("utf-8", "replace"))
            except FileNotFoundError:
                continue
        return tuple(found)

    def lost(self) -> dict[str, str]:
        """Of the cases that are done for the second time, whose process died."""
        found = {}
        for path in self._cases.glob("*.attempt2"):
            with suppress(FileNotFoundError):  # it has just been completed
                found[path.stem] = path.with_suffix(".attempt1").read_text("utf-8", "replace")
        return found

    def keep(self, task: Task, outcome: Outcome) -> None:
        """Record that a case is complete; its mask is there."""
        told = {
            "files": list(task.stamp),
            "mask": list(stamp_of(task.mask)),
            "outcome": to_json(outcome),
        }
        self._write(self._of(task), CASE_KIND, told)
        self._unmark(task)

    def release(self, task: Task) -> None:
        """Take the marks of a case away: it failed in an orderly way, or is given up.

        One stays where a mask is that nothing else tells to be ours.
        """
        self._unmark(task, keep=1)
        ours = not task.mask.exists() or self._record(task) is not None or self._replaces(task)
        if ours:
            self._unmark(task)

    def _is_ours(self, task: Task) -> bool:
        """Whether a mask that is there may be left, or replaced where it has to be done again."""
        record = self._record(task)
        if record is None:
            return self._mark(task, 1).exists() or self._replaces(task)
        # that of a complete case stays as it is, also where somebody has corrected it
        untouched = record.get("mask") == list(stamp_of(task.mask))
        return untouched or self._is_complete(task, record)

    def _is_complete(self, task: Task, record: Mapping[str, Any]) -> bool:
        return record.get("files") == list(task.stamp) and task.mask.exists()

    def _replaces(self, task: Task) -> bool:
        """Whether the batch was allowed to replace what was there before it."""
        return task.mask.name in (self._read() or {}).get("replaces", ())

    def _of(self, task: Task) -> Path:
        return self._cases / f"{task.case}.json"

    def _record(self, task: Task) -> dict[str, Any] | None:
        path = self._of(task)
        try:
            return read_json(path, CASE_KIND, VERSION) if path.exists() else None
        except ValueError:
            return None

    def _read(self) -> dict[str, Any] | None:
        """What is told of the batch; ValueError when it is damaged."""
        return read_json(self._batch, KIND, VERSION) if self._batch.exists() else None

    def _write(self, path: Path, kind: str, told: Mapping[str, Any]) -> None:
        text = json.dumps({"format": kind, "version": VERSION, **told}, indent=1)
        write_text(path, text + "\n", overwrite=True)

    def _clear(self) -> None:
        for pattern in ("*.json", "*.attempt[0-9]"):
            for path in self._cases.glob(pattern):
                path.unlink()
        self._batch.unlink(missing_ok=True)

    def _mark(self, task: Task, number: int) -> Path:
        return self._cases / f"{task.case}.attempt{number}"

    def _unmark(self, task: Task, keep: int = 0) -> None:
        for number in range(ATTEMPTS, keep, -1):
            self._mark(task, number).unlink(missing_ok=True)
