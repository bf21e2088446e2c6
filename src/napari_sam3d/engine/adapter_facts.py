"""What is told of an adapter: read from its file without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from napari_sam3d.engine.class_prior import ClassPrior, read_prior, unlikely
from napari_sam3d.engine.places import is_safetensors, metadata_of
from napari_sam3d.io.json_file import is_number

FORMAT = "napari-sam3d-adapter/1"


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """What is told of an adapter beside its tensors."""

    model: str
    """Name of the model that was tuned."""
    family: str
    """Which network that is."""
    base_sha256: str
    """Checksum of the weights that were tuned; the adapter belongs on no others."""
    name: str = ""
    classes: tuple[str, ...] = ()
    """What was labelled in the training volumes."""
    priors: tuple[ClassPrior, ...] = ()
    """Where each class is to be expected; none where that is not known."""
    spacing_mm: float | None = None
    """Of the patches; None where they follow the object."""
    patch_shape: tuple[int, ...] = ()
    object_mm: tuple[float, float] | None = None
    """Longest edges of the smallest and the largest object; None where that is of no account."""
    intensity: Mapping[str, Any] | None = None
    """How the intensities of a patch are changed, as a row of the catalog has it."""
    cases: int = 0
    """Volumes that it was tuned on."""
    held_out: tuple[str, ...] = ()
    """Names of what it was judged on."""
    optimistic: bool = False
    """Whether these are parts of volumes that it was tuned on."""
    dice_before: tuple[float, ...] = ()
    """Dice after 1, 3 and 5 clicks without it."""
    dice_after: tuple[float, ...] = ()
    """The same with it."""
    step: int = 0
    licence: str = ""
    """Of the weights that were tuned."""
    version: str = ""
    """Of napari-sam3d."""
    date: str = ""
    author: str = ""


def read_facts(path: Path) -> AdapterFacts:
    """What is told of the adapter in a file.

    Raises
    ------
    ValueError
        With one sentence, when it is no adapter or damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file; check the path.")
    if not is_safetensors(path):
        raise ValueError(f"{path.name} is no adapter of napari-sam3d: it is no safetensors file.")
    try:
        said = metadata_of(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} is damaged ({error}); copy the file again.") from error
    if said.get("format") != FORMAT:
        found = said.get("format", "")
        if found.startswith(FORMAT.split("/")[0]):
            raise ValueError(
                f"{path.name} was written by a newer napari-sam3d ({found}); update napari-sam3d."
            )
        raise ValueError(f"{path.name} is no adapter of napari-sam3d.")
    known = {it.name for it in fields(AdapterFacts)}
    try:
        values = {key: json.loads(text) for key, text in said.items() if key in known}
        for key in ("model", "family", "base_sha256"):
            if not isinstance(values[key], str):
                raise TypeError(key)
        for key, value in values.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        known_mm = values.get("object_mm")
        if known_mm is not None and not _is_range(known_mm):
            raise ValueError("object_mm")
        values["priors"] = tuple(map(read_prior, values.get("priors", ())))
        return AdapterFacts(**values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path.name} is damaged: what it says of itself is unreadable."
        ) from error


def refusal(facts: AdapterFacts) -> str:
    """Why nothing can be proposed with an adapter, in a sentence; empty when something can."""
    called = facts.name or "This adapter"
    if not facts.priors:
        return (
            f"{called} does not know where its objects lie: it was tuned on many of a kind, or by "
            "an older napari-sam3d."
        )
    reasons = [unlikely(prior) for prior in facts.priors]
    if not all(reasons):
        return ""
    return f"{called} can propose nothing: {' '.join(reasons)}"


def _is_range(value: object) -> bool:
    """Whether something read is two lengths, the shorter one first."""
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(is_number, value)):
        return False
    return 0 < value[0] <= value[1]
