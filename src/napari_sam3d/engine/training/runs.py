"""The runs there are, and names for new ones; known without torch."""

from __future__ import annotations

import datetime
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam3d.engine.places import adapters_folder, runs_folder
from napari_sam3d.io.json_file import read_json
from napari_sam3d.labelled import PairFiles

KIND = "napari-sam3d run"
VERSION = 1
CONFIG, STATUS = "config.json", "status.json"
_NAME = re.compile(r"[\w][\w .+-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_ODD = re.compile(r"[^\w .+-]+")
_NUMBERED = re.compile(r"(.+)-(\d{1,6})")


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run by its folder.

    Parameters
    ----------
    name
        Of the run.
    status
        RUNNING, STOPPED, DONE or FAILED. RUNNING is also what a program that died has left.
    step, steps
        Steps done, and in all.
    model
        What is tuned.
    when
        The last change.
    files
        By the names of the pairs, where they came from files.
    pairs
        Names of all pairs.
    """

    name: str
    status: str
    step: int
    steps: int
    model: str
    when: datetime.datetime
    files: dict[str, PairFiles] = field(default_factory=dict)
    pairs: tuple[str, ...] = ()


def runs() -> list[RunInfo]:
    """All runs whose folder can be read, the newest first."""
    found = []
    for path in runs_folder().glob(f"*/{CONFIG}"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found.append(_info(path.parent))
    return sorted(found, key=lambda it: it.when, reverse=True)


def run_path(name: str) -> Path:
    """The folder of the run with this name; ValueError when it can be no name of files."""
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name[-1] in " .":
        raise ValueError(
            f"{name!r} cannot be the name of an adapter; use letters, digits, '-' and '_'."
        )
    return runs_folder() / name


def check_free(name: str) -> None:
    """ValueError when a run or an adapter has this name, or it can be no name."""
    if (run_path(name) / CONFIG).exists():
        raise ValueError(f"There is a run called {name} already; resume it or choose another name.")
    if (adapters_folder() / f"{name}.safetensors").exists():
        raise ValueError(f"There is an adapter called {name} already; choose another name.")


def free_name(wanted: str) -> str:
    """A name like the one that is wanted, for a run that is new."""
    stem = _ODD.sub("_", wanted).strip(" .+-")[:90] or "adapter"
    if _RESERVED.fullmatch(stem):
        stem = f"{stem}_"
    name, number = stem, 2
    told = _NUMBERED.fullmatch(stem)
    if told is not None:
        stem, number = told[1], int(told[2]) + 1
    while True:
        try:
            check_free(name)
            return name
        except ValueError:
            name, number = f"{stem}-{number}", number + 1


def _info(folder: Path) -> RunInfo:
    config = read_json(folder / CONFIG, KIND, VERSION)
    status: dict[str, Any] = {"state": "FAILED", "step": 0, "steps": 0}
    newest = folder / CONFIG
    if (folder / STATUS).is_file():
        status, newest = read_json(folder / STATUS, KIND, VERSION), folder / STATUS
    files = {
        str(name): PairFiles(Path(it["image"]), Path(it["labels"]))
        for name, it in config.get("files", {}).items()
    }
    return RunInfo(
        folder.name,
        str(status["state"]),
        int(status["step"]),
        int(status["steps"]),
        str(config["settings"]["model"]),
        datetime.datetime.fromtimestamp(newest.stat().st_mtime).astimezone(),
        files,
        tuple(map(str, config["cases"])),
    )
