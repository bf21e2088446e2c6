"""What is written down of a training: how it was begun, and what came of it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.adapter_facts import AdapterFacts
from napari_sam3d.engine.class_prior import ClassPrior
from napari_sam3d.engine.training.cases import Split, objects_of
from napari_sam3d.engine.training.events import COUNTED, Scores, Step, Validated
from napari_sam3d.engine.training.run_folder import Row
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import TrainSettings

_MOST_CLASSES = 256
_GAIN = 0.005  # of mean Dice, below which an adapter does not count as better
_MAY_CHANGE = {
    "effort",
    "steps",
    "patience",
    "validate_every",
    "device",
    "precision",
    "checkpointing",
}
"""Settings that a resumed run may have otherwise."""


def config_of(settings: TrainSettings, cases: Sequence[Labelled], parts: Split) -> dict[str, Any]:
    """All that is needed to tell what a run was begun with."""
    return {
        "settings": asdict(settings),
        "cases": {case.name: fingerprint(case) for case in cases},
        "files": {
            case.name: {
                "image": str(case.files.image.absolute()),
                "labels": str(case.files.labels.absolute()),
            }
            for case in cases
            if case.files is not None
        },
        "held_out": [case.name for case in parts.held_out],
        "napari_sam3d": version("napari-sam3d"),
        "torch": str(torch.__version__),
    }


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> None:
    """ValueError naming the first thing in which a resumed run differs from what was begun."""
    for key, value in new["settings"].items():
        before = old.get("settings", {}).get(key, value)
        if key not in _MAY_CHANGE and before != value:
            raise ValueError(
                f"The run {name} was begun with {key} {before!r}; it cannot go on with {value!r}."
            )
    if old.get("cases") != new["cases"]:
        known, given = old.get("cases", {}), new["cases"]
        for case in sorted(known.keys() | given.keys()):
            if case not in given:
                raise ValueError(f"The run {name} was begun with {case}, which is missing now.")
            if case not in known:
                raise ValueError(f"The run {name} was begun without {case}; leave it out.")
            if known[case] != given[case]:
                raise ValueError(f"{case} has changed since the run {name} was begun.")


def fingerprint(case: Labelled) -> str:
    """Tells whether an image, its labels or their grid have changed."""
    volume, out = case.volume, hashlib.sha256()
    out.update(repr(volume.grid.shape).encode() + volume.grid.affine.round(6).tobytes())
    out.update(np.ascontiguousarray(case.labels).tobytes())
    if isinstance(volume.data, np.ndarray):  # not what memory does not hold
        out.update(np.ascontiguousarray(volume.data).tobytes())
    return out.hexdigest()[:32]


def class_names(parts: Split) -> tuple[str, ...]:
    """What the labels mean, by ascending label."""
    names: dict[int, str] = {}
    for case in (*parts.train, *parts.held_out):
        for it in objects_of(case):
            names[it.label] = case.names.get(it.label, f"label {it.label}")
    return tuple(names[label] for label in sorted(names)[:_MOST_CLASSES])


def facts_of(
    name: str,
    base: tuple[ModelSpec, str],
    parts: Split,
    classes: tuple[str, ...],
    priors: tuple[ClassPrior, ...],
    scores: tuple[Scores, Scores],
    step: int,
) -> AdapterFacts:
    """What is told of an adapter, beside its tensors.

    Parameters
    ----------
    name
        Of the run.
    base
        The model that is tuned, and the checksum of its weights.
    parts
        What it was tuned on, and what it was judged on.
    classes
        As `class_names` has them.
    priors
        Of all cases, for proposals without a click.
    scores
        Of the model before, and with the adapter; empty when not measured.
    step
        After which step.
    """
    spec, sha256 = base
    before, after = scores
    return AdapterFacts(
        model=spec.name,
        family=spec.family,
        base_sha256=sha256,
        name=name,
        classes=classes,
        priors=priors,
        spacing_mm=spec.spacing_mm,
        object_mm=spec.object_mm,
        patch_shape=tuple(spec.patch_shape),
        intensity=asdict(spec.intensity),
        cases=len(parts.train),
        held_out=tuple(case.name for case in parts.held_out),
        optimistic=parts.optimistic,
        dice_before=before,
        dice_after=after,
        step=step,
        licence=spec.weights.licence,
        version=version("napari-sam3d"),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def helps(before: Scores, after: Scores) -> bool:
    """Whether an adapter is better than the model before: on average, and nowhere worse."""
    if any(now < then for then, now in zip(before, after, strict=True)):
        return False
    return bool(np.mean(after) >= np.mean(before) + _GAIN)


def improves(before: Scores, best: Scores, dice: Scores) -> bool:
    """Whether a look is better than the model before, and than the best look so far."""
    return helps(before, dice) and sum(dice) > sum(best)


def told_before(
    rows: Sequence[Row], before: Scores, counted: Sequence[int]
) -> Iterator[Step | Validated]:
    """The events that lines of the log stand for."""
    if before:
        yield Validated(0, before, before, False)
    highest = before
    for row in rows:
        step = int(row["step"])
        if {"loss", "rate", "seconds"} <= row.keys():
            yield Step(step, row["loss"], row["rate"], row["seconds"])
        dice = tuple(row[key] for key in (f"dice_{n}" for n in counted) if key in row)
        if before and len(dice) == len(before):
            best = improves(before, highest, dice)
            highest = dice if best else highest
            yield Validated(step, dice, before, best)


def verdict(
    before: Scores, after: Scores, selected: bool, parts: Split, counted: Sequence[int] = COUNTED
) -> str:
    """What came of it, in a sentence."""
    count = len(parts.held_out)
    where = f"on {count} held-out volume{'s' * (count > 1)}"
    if parts.optimistic:
        where = "on held-out slices of the same volumes, which is optimistic"
    if not selected:
        return f"Not better than the model before, {where}; not selected."
    if len(counted) == 1:
        return f"Dice {before[0]:.2f} to {after[0]:.2f}, {where}."
    return (
        f"Dice {before[0]:.2f} to {after[0]:.2f} after one click, {before[-1]:.2f} to "
        f"{after[-1]:.2f} after five, {where}."
    )
