"""Whether files are as they were."""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, ...]
"""Size and time of change of files; others when somebody changed them."""


def stamp_of(*paths: Path | None) -> Stamp:
    """That of files, as far as they are there."""
    found: list[int] = []
    for path in paths:
        if path is not None and path.exists():
            told = path.stat()
            found += [told.st_size, told.st_mtime_ns]
    return tuple(found)
