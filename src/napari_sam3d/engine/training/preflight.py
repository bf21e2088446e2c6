"""What is right and wrong with a training before it starts, and the repairs that are offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from napari_sam3d.catalog import ModelSpec, model_spec
from napari_sam3d.engine.training.cases import FEW, NO_CASE, OPTIMISTIC, same_name, split
from napari_sam3d.engine.training.checking.check import (
    CLEAR,
    DROP,
    FILL,
    GOOD,
    LEAVE_OUT,
    PLACE,
    PROBLEM,
    RENAME,
    RESAMPLE,
    WARNING,
    Check,
)
from napari_sam3d.engine.training.checking.contents import (
    Contents,
    cleared,
    contents_of,
    empty_check,
    ids_check,
    whole,
    without_tiny,
)
from napari_sam3d.engine.training.checking.extents import extent_check
from napari_sam3d.engine.training.checking.grids import grid_check, placed, resampled
from napari_sam3d.engine.training.checking.intensities import (
    Values,
    filled,
    intensity_check,
    values_of,
)
from napari_sam3d.engine.training.checking.machine import (
    disk_check,
    memory_check,
    name_check,
    weights_check,
)
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.io.pairs import same_grid
from napari_sam3d.labelled import Labelled, Pair
from napari_sam3d.settings import TrainSettings

__all__ = ["Check", "labelled", "mend", "mend_all", "preflight"]


def preflight(settings: TrainSettings, pairs: Sequence[Pair], name: str | None) -> Iterator[Check]:
    """All that is to be known before a training starts, as it is found out.

    Parameters
    ----------
    settings
        Of the training.
    pairs
        To be learned from.
    name
        Of the run and of the adapter to be; None for a run that goes on.

    Yields
    ------
    Check
        Of all together, then of each pair, then of all pairs together.
    """
    spec: ModelSpec | None = None
    if name is not None:
        yield name_check(name)
    try:
        spec = model_spec(settings.model)
        recipe_of(spec)
    except ValueError as error:
        yield Check("", "weights", PROBLEM, str(error))
    else:
        yield weights_check(spec)
        yield disk_check(spec)
        yield memory_check(spec, settings)
    found: list[Contents] = []
    broken = False
    for check in _of_pairs(pairs, spec, found):
        broken |= check.state == PROBLEM
        yield check
    if spec is not None and any(it.edges_mm for it in found):
        yield extent_check(spec, found)
    yield _count(settings, pairs, found, broken)


def mend(pairs: Sequence[Pair], check: Check, fix: str = "") -> tuple[Pair, ...]:
    """What the button of a check does; the pairs it does not concern stay the same objects.

    Parameters
    ----------
    pairs
        That were checked.
    check
        With a fix. That of the run's name changes no pair: the name to take is `check.instead`.
    fix
        `check.fix`, or `check.other`; empty for the first.
    """
    fix = fix or check.fix
    if fix == RENAME:
        return _renamed(pairs, check.pair)
    if fix == LEAVE_OUT:
        return tuple(pair for pair in pairs if pair.name != check.pair)
    way = _WAYS.get(fix)
    if way is None:
        return tuple(pairs)
    return tuple(way(pair) if pair.name == check.pair else pair for pair in pairs)


def mend_all(pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], list[Check]]:
    """Press the button of each problem of a pair, until there is none left to press.

    Where a header is in doubt, it is left to somebody who looks at the images.

    Returns
    -------
    tuple
        The pairs then, and the problems there were.
    """
    done: list[Check] = []
    mended = tuple(pairs)
    while True:
        first: dict[str, Check] = {}
        for check in _of_pairs(mended, None, []):
            if check.state == PROBLEM and check.automatic:
                first.setdefault(check.pair, check)
        if not first:
            return mended, done
        for check in first.values():
            mended = mend(mended, check)
            done.append(check)


def labelled(pairs: Sequence[Pair]) -> tuple[Labelled, ...]:
    """The pairs as training takes them.

    Raises
    ------
    ValueError
        With the sentence of the first problem that is left in a pair.
    """
    for check in _of_pairs(pairs, None, []):
        if check.state == PROBLEM:
            raise ValueError(check.sentence)
    return tuple(
        Labelled(pair.volume, whole(pair.labels), pair.names, pair.files) for pair in pairs
    )


def _of_pairs(
    pairs: Sequence[Pair], spec: ModelSpec | None, found: list[Contents]
) -> Iterator[Check]:
    """What is to be said of each pair; of several of one name just that.

    `found` is filled with what is in the labels of each.
    """
    yield from _names(pairs)
    names = [pair.name for pair in pairs]
    unlike = [names.count(name) == 1 for name in names]  # else a button would not know which
    values: list[Values] = []
    for pair, alone in zip(pairs, unlike, strict=True):  # a volume at a time: each takes a while
        found.append(contents_of(pair))
        values.append(values_of(pair))
        if alone:
            yield grid_check(pair)
            yield empty_check(pair, found[-1])
            yield ids_check(pair, found[-1], spec)
    for number, (pair, alone) in enumerate(zip(pairs, unlike, strict=True)):
        if alone:
            others = values[:number] + values[number + 1 :]
            yield intensity_check(pair, values[number], others, spec)


def _names(pairs: Sequence[Pair]) -> Iterator[Check]:
    """Each name that more than one pair has."""
    names = [pair.name for pair in pairs]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield Check(name, "name", PROBLEM, same_name(name), RENAME)


def _renamed(pairs: Sequence[Pair], name: str) -> tuple[Pair, ...]:
    """The second and later pairs of a name get a number."""
    taken = {pair.name for pair in pairs}
    out, first = [], True
    for pair in pairs:
        if pair.name == name and not first:
            number = 2
            while f"{name} ({number})" in taken:
                number += 1
            taken.add(f"{name} ({number})")
            pair = replace(pair, volume=replace(pair.volume, name=f"{name} ({number})"))
        first = first and pair.name != name
        out.append(pair)
    return tuple(out)


def _count(
    settings: TrainSettings, pairs: Sequence[Pair], found: list[Contents], broken: bool
) -> Check:
    """Whether there is enough to learn from and to judge by."""
    objects = sum(len(it.edges_mm) for it in found)
    if not objects:
        return Check("", "count", PROBLEM, NO_CASE)
    names = {
        pair.names.get(label, f"label {label}")
        for pair, it in zip(pairs, found, strict=True)
        for label in it.edges_mm
    }
    said = (
        f"{_counted(len(pairs), 'volume')}, {_counted(len(names), 'kind')} of object, "
        f"{_counted(objects, 'object')}"
    )
    if len(pairs) >= FEW:
        return Check("", "count", GOOD, f"{said}.")
    if not broken and all(same_grid(pair) for pair in pairs):
        try:
            split(labelled(pairs), settings.seed)
        except ValueError as error:
            return Check("", "count", PROBLEM, str(error))
    return Check("", "count", WARNING, f"{said}. {OPTIMISTIC}")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


_WAYS: dict[str, Callable[[Pair], Pair]] = {
    RESAMPLE: resampled,
    PLACE: placed,
    CLEAR: cleared,
    DROP: without_tiny,
    FILL: filled,
}
