"""Which value each object of a new case gets, to mean what it means in the training set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_sam3d.engine.adapter_facts import AdapterFacts
    from napari_sam3d.labelled import Pair

OWN = "a class of its own"


@dataclass(frozen=True)
class Classes:
    """The classes of a training set.

    Parameters
    ----------
    values
        By name.
    highest
        The largest value that is used, with or without a name.
    """

    values: Mapping[str, int] = field(default_factory=dict)
    highest: int = 0

    @property
    def named(self) -> tuple[str, ...]:
        """Names that somebody has given, by ascending value."""
        names = sorted(self.values, key=lambda name: self.values[name])
        return tuple(name for name in names if name != unnamed(self.values[name]))


def classes_of(pairs: Iterable[Pair], facts: AdapterFacts | None) -> Classes:
    """The classes of the pairs, then those that an adapter was tuned on.

    Where two of them contradict each other, the first counts.
    """
    values: dict[str, int] = {}
    highest = 0
    for pair in pairs:
        highest = max(highest, int(np.max(pair.labels, initial=0)))
        for value, name in pair.names.items():
            _add(values, name, value)
    for prior in facts.priors if facts is not None else ():
        _add(values, prior.name, prior.label)
    return Classes(values, max(highest, *values.values(), 0))


def values_of(
    objects: Mapping[int, str], classes: Classes, ask: Callable[[int, tuple[str, ...]], str | None]
) -> tuple[dict[int, int], dict[int, str]] | None:
    """The value of each object, and the name of each value; None when the user gave no answer.

    Parameters
    ----------
    objects
        Their classes by number; empty where nobody has said what it is.
    classes
        Those of the training set.
    ask
        Told the number of an object without a class and what it could be; the answer is one of
        these, `OWN`, or None.
    """
    chosen = dict(objects)
    named = classes.named
    for number, name in objects.items():
        if name or not named:
            continue
        others = {it for it in objects.values() if it}
        alone = len(objects) == 1 and len(named) == 1 and not others
        answer = named[0] if alone else ask(number, named)
        if answer is None:
            return None
        chosen[number] = "" if answer == OWN else answer
    values: dict[int, int] = {}
    new: dict[str, int] = {}
    highest = classes.highest
    for number, name in chosen.items():
        known = classes.values.get(name) or new.get(name)
        if known is None and not name and not named:
            known = number  # the training set has numbers, too
        if known is None:
            known = highest + 1
        highest = max(highest, known)
        if name:
            new[name] = known
        values[number] = known
    names = {values[number]: name for number, name in chosen.items() if name}
    return values, {value: name for value, name in names.items() if name != unnamed(value)}


def relabelled(labels: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Labels with other values; each of them but 0 must be among `values`."""
    highest = max([*values.values(), 0])
    table = np.zeros(max([*values, 0]) + 1, np.min_scalar_type(highest))
    for before, after in values.items():
        table[before] = after
    return table[labels]


def unnamed(value: int) -> str:
    """What an adapter calls a class that has no name."""
    return f"label {value}"


def _add(values: dict[str, int], name: str, value: int) -> None:
    if name and name not in values and value not in values.values():
        values[name] = value
