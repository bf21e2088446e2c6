"""Small text and JSON files of our own: written in one step, read with distrust."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any, NoReturn, TypeGuard

from napari_sam3d.io.atomic import real_target, replacing

_LARGEST = 64 << 20
"""Bytes; such a file holds names or points, and a larger one is something else."""

_ODD = "backslashreplace"
"""What file names hold that is no text is written as JSON would."""


def write_text(path: Path, text: str, *, overwrite: bool) -> Path:
    """Write beside the target, then move it into place.

    Raises
    ------
    FileExistsError
        When the file exists and `overwrite` is false.
    OSError
        When the file cannot be written; the old file is then untouched.
    """
    target = real_target(path)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already; choose another name or allow overwriting.")
    with replacing(target) as file:
        file.write(text.encode("utf-8", _ODD))
    return target


def read_json(path: Path, kind: str, version: int) -> dict[str, Any]:
    """The object in a JSON file that says it is of this kind, in a version we know.

    Parameters
    ----------
    path
        The file.
    kind
        What its `format` must be, such as "napari-sam3d prompts".
    version
        The newest version that is understood.

    Raises
    ------
    ValueError
        With one sentence, when it is anything else.
    """
    value = load_json(path, kind)
    if not isinstance(value, dict) or value.get("format") != kind:
        raise ValueError(f"{path.name} is a JSON file, but does not hold {kind}.")
    found = value.get("version")
    if not is_whole(found) or found < 1:
        raise ValueError(f"{path.name} is damaged: its version is {short(found)}, not a number.")
    if found > version:
        raise ValueError(
            f"{path.name} was written by a newer napari-sam3d (version {found} of {kind}, this "
            f"one reads up to {version}); update napari-sam3d."
        )
    return value


def load_json(path: Path, kind: str) -> Any:
    """The value in a JSON file, whatever it is.

    Parameters
    ----------
    path
        The file.
    kind
        What messages say that it should hold.

    Raises
    ------
    ValueError
        With one sentence, when it is no JSON file.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path.name} is not a file; it does not hold {kind}.")
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise ValueError(f"{path.name} is too large to be a file of {kind}.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not a text file; it does not hold {kind}.") from error
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path.name} is damaged or not JSON; it cannot be read as {kind}."
        ) from error
    return value


def other_keys(one: Any, other: Mapping[str, Any]) -> list[str]:
    """The keys under which two objects differ; all of the other where the one is no object."""
    known = one if isinstance(one, dict) else {}
    return sorted(key for key in {*known, *other} if known.get(key) != other.get(key))


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
