"""Several label maps as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_sam3d.io.label_names import count_labels


@dataclass(frozen=True, eq=False)
class Combined:
    """A label map made of several.

    Parameters
    ----------
    labels
        Whole numbers, in the shape of the maps.
    ids
        For each map, what became of its labels: old id to new.
    shared
        Voxels that several maps claimed; the last of them has each.
    """

    labels: np.ndarray
    ids: tuple[dict[int, int], ...]
    shared: int


def combine(maps: Sequence[np.ndarray]) -> Combined:
    """Put label maps of one shape on top of each other, the last one uppermost.

    The first map with a label keeps it; in later maps it becomes a number that no map uses.

    Raises
    ------
    ValueError
        When no type of whole numbers holds all labels.
    """
    ids = _free_ids([list(count_labels(labels)) for labels in maps])
    new = [label for renumbered in ids for label in renumbered.values()]
    low, high = min(new, default=0), max(new, default=0)
    dtype = np.promote_types(np.min_scalar_type(min(low, 0)), np.min_scalar_type(high))
    if dtype.kind == "f":
        raise ValueError(f"The labels {low} and {high} do not fit into one label map.")
    out = np.zeros(maps[0].shape, dtype)
    tables = [
        (np.array(sorted(kept)), np.array([kept[label] for label in sorted(kept)], dtype))
        for kept in ids
    ]
    shared = 0
    for index in np.ndindex(out.shape[:-2]):  # by slices: the masks would take much memory
        claims = np.zeros(out.shape[-2:], np.uint16)
        for labels, (old, renumbered) in zip(maps, tables, strict=True):
            part = np.asarray(labels[index])
            on = part != 0
            claims += on
            out[index][on] = renumbered[np.searchsorted(old, part[on])] if len(old) else 0
        shared += int(np.count_nonzero(claims > 1))
    return Combined(out, tuple(ids), shared)


def by_category(labels: np.ndarray, categories: Mapping[int, str]) -> tuple[np.ndarray, dict]:
    """A label map in which objects of one category have one label, and old ids to new ones.

    That is the lowest of their ids; objects without a category keep theirs.
    """
    first: dict[str, int] = {}
    ids = {label: first.setdefault(it, label) for label, it in sorted(categories.items())}
    out = np.array(labels)
    for label, new in ids.items():
        if label != new:
            out[labels == label] = new
    return out, ids


def _free_ids(present: Sequence[Sequence[int]]) -> list[dict[int, int]]:
    """Old id to new for each map; what one map keeps is given to no other."""
    ids: list[dict[int, int]] = [{} for _ in present]
    taken: set[int] = set()
    for kept, labels in zip(ids, present, strict=True):
        kept.update((label, label) for label in labels if label not in taken)
        taken.update(labels)
    for kept, labels in zip(ids, present, strict=True):
        for label in labels:
            if label not in kept:
                kept[label] = max(*taken, 0) + 1
                taken.add(kept[label])
    return ids
