"""The runs there are, and names for new ones; known without torch."""

from __future__ import annotations

import datetime
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sam3d.engine.places import adapter_file, check_name, runs_folder
from napari_sam3d.io.json_file import read_json
from napari_sam3d.labelled import PairFiles
from napari_sam3d.settings import TrainSettings

KIND = "napari-sam3d run"
VERSION = 1
CONFIG, STATUS = "config.json", "status.json"
_ODD = re.compile(r"[^\w .+-]+")
_NUMBERED = re.compile(r"(.+)-(\d\d?)")


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
    return runs_folder() / check_name(name)


def read_config(folder: Path) -> dict[str, Any]:
    """What a run was begun with; ValueError when there is no such run, or it is damaged."""
    if not (folder / CONFIG).is_file():
        raise ValueError(f"There is no run called {folder.name} to resume.")
    return read_json(folder / CONFIG, KIND, VERSION)


def resumed_settings(name: str) -> TrainSettings:
    """The settings of a run; ValueError when they are of a version that has others."""
    config = read_config(run_path(name))
    try:
        return TrainSettings(**config["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The run {name} was begun by another version and cannot go on."
        ) from error


def check_free(name: str) -> None:
    """ValueError when a run or an adapter has this name, or it can be no name."""
    if (run_path(name) / CONFIG).exists():
        raise ValueError(f"There is a run called {name} already; resume it or choose another name.")
    if adapter_file(name).exists():
        raise ValueError(f"There is an adapter called {name} already; choose another name.")


def free_name(wanted: str) -> str:
    """A name like the one that is wanted, for a run that is new."""
    stem = _ODD.sub("_", wanted).strip(" .+-")[:90] or "adapter"
    try:
        check_name(stem)
    except ValueError:  # a word that a system keeps for itself
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
    config = read_config(folder)
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
