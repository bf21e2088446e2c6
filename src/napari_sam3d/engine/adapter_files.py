"""The adapters that can be chosen by name: files come in and go out, without torch."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from napari_sam3d.catalog import MODELS, ModelSpec
from napari_sam3d.engine.adapter_facts import AdapterFacts, read_facts
from napari_sam3d.engine.places import SUFFIX, adapter_file, adapter_names, known_sum
from napari_sam3d.io.atomic import real_target, replacing

_OF_A_RUN = ("best", "last")
"""What adapters are called in the folder of their run, where its own name tells more."""
_NAMED = 6
"""Classes and cases that are told by name; there may be many."""


def named_file(name: str) -> Path:
    """Where the adapter of a name is; ValueError when there is none."""
    path = adapter_file(name)
    if name not in adapter_names():
        known = ", ".join(adapter_names()) or "none yet"
        raise ValueError(f"There is no adapter called {name!r}; known adapters: {known}.")
    return path


def check_adapter(path: Path) -> AdapterFacts:
    """What is told of the adapter in a file that somebody brings.

    Raises
    ------
    ValueError
        With one sentence, when it is no adapter, damaged, too new, or was tuned for weights that
        are not those known here.
    """
    facts = read_facts(path)
    spec = MODELS.get(facts.model)
    if spec is None or spec.family != facts.family:
        raise ValueError(
            f"{path.name} was tuned for {facts.model}, a model that this napari-sam3d does not "
            "have; update napari-sam3d."
        )
    check_base(path.name, facts, spec, known_sum(spec))
    return facts


def check_base(name: str, facts: AdapterFacts, spec: ModelSpec, found: str | None) -> None:
    """ValueError when an adapter was tuned on other weights of its model than those found here.

    Parameters
    ----------
    name
        What the message calls the adapter.
    facts
        What it says of itself.
    spec
        The model here.
    found
        Checksum of the weights here; None when they are not here, so that nothing can be said.
    """
    if found is not None and facts.base_sha256 != found:
        raise ValueError(
            f"{name} was tuned on weights of {facts.model} with the SHA-256 "
            f"{facts.base_sha256[:12]}..., but those of {spec.name} here have {found[:12]}...."
        )


def name_for(path: Path, facts: AdapterFacts) -> str:
    """What to call the adapter of a file: as the file, or as its run when the file is that's."""
    stem = facts.name if path.stem in _OF_A_RUN and facts.name else path.stem
    return re.sub(r"[^\w .+-]+", "_", stem).strip("_ .") or "adapter"


def free_name(name: str) -> str:
    """This name, or with a number after it when there is such an adapter."""
    number, free = 1, name
    while adapter_file(free).exists():
        number += 1
        free = f"{name} {number}"
    return free


def is_kept(path: Path) -> bool:
    """Whether a file is among the adapters already."""
    there = adapter_file(path.stem)
    return there.exists() and path.exists() and there.samefile(path)


def keep_adapter(path: Path, name: str, overwrite: bool = False) -> Path:
    """Copy the file of an adapter among those that can be chosen, in one step.

    Raises
    ------
    ValueError, FileExistsError
        As `check_adapter`; also when there is an adapter of this name that is not to be replaced.
    OSError
        With one sentence, when it cannot be written.
    """
    check_adapter(path)
    target = adapter_file(name)
    if is_kept(path) and path.stem == name:
        return target
    if target.exists() and not overwrite:
        raise FileExistsError(f"There is an adapter called {name} already; choose another name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy(path, target)
    return target


def export_adapter(name: str, target: Path, overwrite: bool = False) -> Path:
    """Copy an adapter to any place, in one step.

    Raises
    ------
    ValueError, FileExistsError
        When there is no such adapter, or a file that is not to be replaced.
    OSError
        With one sentence, when it cannot be written.
    """
    path = named_file(name)
    read_facts(path)
    if target.suffix != SUFFIX:
        target = target.with_name(f"{target.name}{SUFFIX}")
    if target.exists():
        if target.samefile(path):
            raise ValueError(f"{target} is the adapter {name} itself; choose another name.")
        if not overwrite:
            raise FileExistsError(f"{target} exists; choose another name.")
    _copy(path, target)
    return target


def delete_adapter(name: str) -> Path:
    """Delete the file of an adapter; ValueError when there is none, OSError when it cannot be."""
    path = named_file(name)
    try:
        path.unlink()
    except OSError as error:
        raise OSError(f"{path} cannot be deleted: {error.strerror or error}.") from error
    return path


def told(name: str, facts: AdapterFacts) -> list[str]:
    """What a person wants to know of an adapter, in sentences.

    Parameters
    ----------
    name
        What it is called here.
    facts
        What it says of itself.
    """
    count = f"{facts.cases} volume{'s' * (facts.cases != 1)}"
    classes = ", ".join(facts.classes[:_NAMED]) + ", ..." * (len(facts.classes) > _NAMED)
    lines = [f"{name}: {facts.model}, tuned on {count}{f' ({classes})' if classes else ''}."]
    if facts.dice_before and facts.dice_after:
        where = "slices of the same volumes, which is optimistic" if facts.optimistic else ""
        where = where or ", ".join(facts.held_out[:_NAMED]) or "held-out volumes"
        lines.append(
            f"Dice {facts.dice_before[0]:.2f} to {facts.dice_after[0]:.2f} after one click, "
            f"{facts.dice_before[-1]:.2f} to {facts.dice_after[-1]:.2f} after five, on {where}."
        )
    made = f"{facts.date} " * bool(facts.date)
    made += f"with napari-sam3d {facts.version}" * bool(facts.version)
    if made:
        lines.append(f"Made {made.strip()}{f' by {facts.author}' if facts.author else ''}.")
    if facts.licence:
        lines.append(f"Licence of the weights that were tuned: {facts.licence}.")
    return lines


def _copy(source: Path, target: Path) -> None:
    try:
        read = source.open("rb")
    except OSError as error:
        raise OSError(f"{source} cannot be read: {error.strerror or error}.") from error
    with read, replacing(real_target(target)) as file:
        shutil.copyfileobj(read, file, 1 << 20)
