"""Where the objects of a class lie and what they are like in the cases of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from napari_sam3d.io.json_file import is_number, is_whole
from napari_sam3d.volume import Point3

_FEWEST = 0.5  # share of the training cases that have a class
_ONE = 1.5  # parts that a class has at most, on average
_ANYWHERE = 0.2  # spread of the place across the volume; 0.29 is that of any place
_OTHER = 2.5  # edge over edge from which on a volume shows something else


@dataclass(frozen=True, kw_only=True)
class ClassPrior:
    """What to expect of a class in an image like those of the training.

    Triples are along (z, y, x) of a grid, toward inferior, posterior and left, whatever the
    orientation in which files are stored. Spreads are standard deviations from case to case, 0
    where there was one case.
    """

    label: int
    """Its value in the label maps."""
    name: str
    cases: int
    """Volumes that have it."""
    of: int
    """Volumes there were."""
    parts: float
    """Parts of it that do not touch, on average."""
    centre: Point3
    """Its middle, 0 to 1 across the volume."""
    centre_spread: Point3
    size_mm: Point3
    """Edges of the box about it."""
    size_spread_mm: Point3
    brightness: float
    """Share of the volume that is darker than it, on average over its voxels."""
    brightness_spread: float
    extent_mm: Point3 | None = None
    """Edges of the volumes, on average; None where that was not told."""


def unlikely(prior: ClassPrior) -> str:
    """Why objects of a class are not proposed, in a sentence; empty when they are."""
    if prior.cases < _FEWEST * prior.of:
        return f"{prior.name} was in {prior.cases} of {prior.of} training volumes only."
    if prior.parts > _ONE:
        return f"{prior.name} had {prior.parts:.1f} parts in a volume; one click is not enough."
    if max(prior.centre_spread) > _ANYWHERE:
        return f"{prior.name} lay anywhere in the training volumes."
    return ""


def unlike(prior: ClassPrior, extent_mm: Sequence[float]) -> str:
    """Why a class is not looked for in a volume of this extent, in a sentence; empty when it is."""
    if prior.extent_mm is None:
        return ""
    ratios = [there / known for there, known in zip(extent_mm, prior.extent_mm, strict=True)]
    if max(*ratios, *(1 / it for it in ratios)) <= _OTHER:
        return ""
    there, known = (" x ".join(f"{mm:.0f}" for mm in it) for it in (extent_mm, prior.extent_mm))
    return (
        f"The image spans {there} mm, the training volumes {known} mm: it is not known where "
        f"{prior.name} is in it."
    )


def read_prior(said: object) -> ClassPrior:
    """A prior from JSON; ValueError when it is none.

    Parameters
    ----------
    said
        What `dataclasses.asdict` made of it; what newer versions tell besides is left out.
    """
    if not isinstance(said, Mapping):
        raise ValueError("a class")
    values: dict[str, Any] = {}
    for declared in fields(ClassPrior):
        value = said.get(declared.name)
        if not _KINDS[str(declared.type)](value):
            raise ValueError(declared.name)
        values[declared.name] = tuple(value) if isinstance(value, list) else value
    if values["cases"] < 1 or min(*values["size_mm"], *(values["extent_mm"] or ())) <= 0:
        raise ValueError("cases, size_mm or extent_mm")
    return ClassPrior(**values)


def _is_triple(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(is_number, value))


_KINDS: dict[str, Callable[[object], bool]] = {
    "int": is_whole,
    "float": is_number,
    "str": lambda value: isinstance(value, str),
    "Point3": _is_triple,
    "Point3 | None": lambda value: value is None or _is_triple(value),
}
