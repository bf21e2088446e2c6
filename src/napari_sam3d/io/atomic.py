"""Files that are replaced as a whole, or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_BINARY = getattr(os, "O_BINARY", 0)
_STALE_S = 24 * 3600


def real_target(path: str | Path) -> Path:
    """Where a file has to be written: what a link points at, not the link.

    Raises
    ------
    OSError
        With one sentence, when a folder or a read-only file is there.
    """
    target = Path(os.path.realpath(path))
    try:
        target.stat()
    except FileNotFoundError:
        return target
    except OSError as error:
        raise OSError(f"{target} cannot be written: {error.strerror or error}.") from error
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; choose a file name.")
    # replacing needs the folder's permission only, so the file's own has to be asked for
    if not target.stat().st_mode & 0o222:
        raise PermissionError(f"{target} is read-only; choose another name or allow writing to it.")
    return target


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A new file beside `target`, open for writing and reading, that takes its place at the end.

    When the block raises, or the process dies, the old file is what it was.

    Raises
    ------
    OSError
        With one sentence; nothing was changed at `target`.
    """
    temporary = target.with_name(f".sam3d-{secrets.token_hex(8)}.tmp")
    _sweep(target.parent)
    try:
        # os.open, unlike tempfile, gives the file the permissions of any new file
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        try:
            with os.fdopen(handle, "w+b") as file:
                if target.exists():  # a private file stays private
                    os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(
            f"{target} cannot be written: {error.strerror or error}; nothing was changed there."
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what programs that were killed while saving have left behind long ago."""
    for left in folder.glob(".sam3d-*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
