"""The folder of unsaved work: which file belongs to which image, and how long it stays."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3d.plugin.unsaved.kept_file import Kept, read_kept

if TYPE_CHECKING:
    from napari_sam3d.volume import Volume

SUFFIX = ".work"
_ASIDE = (".declined", ".damaged")
_KEPT_S = 30 * 24 * 3600
"""So long, also for what was declined: it can be had back by its old name."""
_MOST_BYTES = 1 << 30

LIVE: set[str] = set()
"""Names of the files that docks of this process write."""


def work_folder() -> Path:
    """$NAPARI_SAM3D_WORK, or a folder among the data of the user."""
    chosen = os.environ.get("NAPARI_SAM3D_WORK")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("napari-sam3d", appauthor=False)) / "unsaved work"


def key_of(volume: Volume, layer_name: str) -> str:
    """What tells one image from another: its file with the header, else its name, and its shape."""
    source = volume.source
    if source is not None and source.path:
        parts = [os.path.abspath(source.path).encode(errors="surrogateescape"), source.raw_header]
    else:
        # not its place: that is often set by hand, after the image was opened
        parts = [layer_name.encode(errors="surrogatepass")]
    parts.append(repr(tuple(volume.grid.shape)).encode())
    if volume.step:
        parts.append(repr(volume.step).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def new_path(folder: Path, key: str) -> Path:
    """Where a dock keeps what is done on an image; no other dock writes there."""
    return folder / f"{key}-{secrets.token_hex(6)}{SUFFIX}"


@cache
def this_process() -> dict[str, Any]:
    """What tells this process from every other one, also from a later one of the same number."""
    import psutil

    pid = os.getpid()
    return {"pid": pid, "since": psutil.Process(pid).create_time(), "host": platform.node()}


def left_work(folder: Path, key: str) -> tuple[Path | None, Kept | None, str]:
    """The newest work on an image that nobody is at; its masks are still to be read.

    A file that cannot be read is put aside; the last value is a sentence about it, or empty.
    """
    newest, sentence = None, ""
    for path in folder.glob(f"{key}-*{SUFFIX}"):
        if path.name in LIVE:
            continue
        try:
            kept = read_kept(path, whole=False)
        except ValueError as error:
            put_aside(path, ".damaged")
            sentence = f"Earlier work on this image cannot be resumed: {error}"
            continue
        if not _is_at_work(kept.owner) and (newest is None or kept.saved_s > newest[1].saved_s):
            newest = path, kept
    return (*(newest or (None, None)), sentence)


def put_aside(path: Path, suffix: str) -> None:
    """Give a file a name under which it is not offered again."""
    with suppress(OSError):
        os.replace(path, path.with_suffix(suffix))


def sweep(folder: Path) -> None:
    """Delete what is old, and the oldest while all files together are too large."""
    files = []
    with suppress(OSError):
        for path in folder.iterdir():
            if path.suffix in (SUFFIX, *_ASIDE) and path.name not in LIVE:
                with suppress(OSError):
                    files.append((path.stat().st_mtime, path.stat().st_size, path))
    together = 0
    for changed_s, size, path in sorted(files, reverse=True):
        together += size
        if time.time() - changed_s > _KEPT_S or together > _MOST_BYTES:
            with suppress(OSError):
                path.unlink()


def _is_at_work(owner: Any) -> bool:
    """Whether another process on this machine is still writing."""
    import psutil

    mine = this_process()
    if owner.get("host") != mine["host"] or owner == mine:
        return False
    try:
        # psutil rounds the time of start to a tick of the clock
        return abs(psutil.Process(int(owner["pid"])).create_time() - float(owner["since"])) < 1
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False
