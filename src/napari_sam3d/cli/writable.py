"""Whether a file can be written, before any time is spent on what goes into it."""

from __future__ import annotations

import tempfile
from pathlib import Path


def check_free(path: Path, overwrite: bool) -> None:
    """OSError when a file cannot be written there, or one is there that is not to be replaced."""
    check_folder(path.parent)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; --overwrite replaces it.")


def check_folder(folder: Path) -> None:
    """OSError when no file can be written into the folder."""
    if not folder.is_dir():
        raise NotADirectoryError(f"There is no folder {folder} to write into.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(f"Nothing can be written into {folder}: {error.strerror}.") from error
