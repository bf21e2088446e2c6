"""Which cases are for training, validation and testing, fold by fold, in a file.

`split.json` is our form of it; the repository of 3DSAM-adapter (`datafile/*/split.pkl`) pickles the
list of folds:

    {"format": "napari-sam3d split", "version": 1, "folds": [
     {"train": {"case_1": ["imagesTr/case_1.nii.gz", "labelsTr/case_1.nii.gz"]},
      "val": {...}, "test": {...}}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

from napari_sam3d.io.json_file import read_json, write_text
from napari_sam3d.io.plain_pickle import read_plain_pickle

KIND = "napari-sam3d split"
VERSION = 1

Part = Mapping[str, tuple[str, str]]
"""Paths of image and labels by the name of the case."""


@dataclass(frozen=True)
class Split:
    """Cases by fold and part.

    Parameters
    ----------
    folds
        Of each fold the parts by name, as a rule train, val and test.
    name
        What messages call it.
    """

    folds: tuple[Mapping[str, Part], ...]
    name: str = "The split"

    def part(self, fold: int, part: str) -> Part:
        """The cases of a part of a fold, counted from 0; ValueError when there is no such."""
        if not 0 <= fold < len(self.folds):
            there = f"folds 0 to {len(self.folds) - 1}" if len(self.folds) > 1 else "only fold 0"
            raise ValueError(f"{self.name} has {there}; there is no fold {fold}.")
        parts = self.folds[fold]
        if part not in parts:
            there = ", ".join(parts) or "no parts"
            raise ValueError(f"Fold {fold} of {self.name} has {there}; there is no part {part!r}.")
        if not parts[part]:
            raise ValueError(f"The part {part!r} of fold {fold} of {self.name} has no cases.")
        return parts[part]


def read_split(path: Path) -> Split:
    """Read a split from `.json`, or from a pickle of plain values, whatever that is called.

    Raises
    ------
    ValueError
        With one sentence, when it is no split.
    """
    if path.suffix.lower() == ".json":
        folds = read_json(path, KIND, VERSION).get("folds")
    else:
        folds = read_plain_pickle(path)
    if not isinstance(folds, list) or not folds:
        raise ValueError(f"{path.name} is no split: it holds no list of folds.")
    return Split(tuple(_fold(it, n, path.name) for n, it in enumerate(folds)), path.name)


def write_split(path: Path, split: Split, *, overwrite: bool = False) -> Path:
    """Write a split as JSON, a case per line.

    Raises
    ------
    OSError
        When the file exists and `overwrite` is false, or it cannot be written.
    """
    folds = []
    for fold in split.folds:
        parts = []
        for name, cases in fold.items():
            lines = ",\n".join(f"   {_plain(case)}: {_plain(it)}" for case, it in cases.items())
            parts.append(
                f"  {_plain(name)}: {{\n{lines}\n  }}" if cases else f"  {_plain(name)}: {{}}"
            )
        folds.append(" {\n" + ",\n".join(parts) + "\n }" if parts else " {}")
    head = f'{{"format": "{KIND}", "version": {VERSION}, "folds": [\n'
    return write_text(path, head + ",\n".join(folds) + "\n]}\n", overwrite=overwrite)


def find_file(folder: Path, said: str) -> Path | None:
    """The file in a folder that a path means, which may be one of another machine.

    The longest end of the path that is there; None when none is, not even the name.

    Parameters
    ----------
    folder
        Where the data is.
    said
        A path in the folder, or a whole one of a place where the data once was.
    """
    parts = [it for it in said.replace("\\", "/").split("/") if it not in ("", ".", "..")]
    for first in range(len(parts)):
        path = folder.joinpath(*parts[first:])
        with suppress(OSError):  # such as a name that is too long
            if path.is_file():
                return path
    return None


def _fold(fold: Any, number: int, name: str) -> dict[str, Part]:
    if not isinstance(fold, dict) or not all(isinstance(part, str) for part in fold):
        raise ValueError(f"{name} is no split: fold {number} does not hold parts such as 'test'.")
    return {part: _part(cases, f"fold {number}, {part}", name) for part, cases in fold.items()}


def _part(cases: Any, where: str, name: str) -> Part:
    if not isinstance(cases, dict):
        raise ValueError(f"{name} is no split: {where} does not hold cases with their files.")
    found = {}
    for case, files in cases.items():
        two = isinstance(files, list | tuple) and len(files) == 2
        if not (isinstance(case, str) and two and all(isinstance(it, str) for it in files)):
            raise ValueError(
                f"{name} is no split: in {where} the case {short(case)} does not have the paths of "
                "an image and of its labels."
            )
        found[case] = (files[0], files[1])
    return found


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
