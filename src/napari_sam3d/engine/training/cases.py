"""What is learned from and what is held out, and the objects in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from scipy.ndimage import find_objects

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.labelled import Labelled
from napari_sam3d.volume import Volume, Window

SMALLEST = 20
"""Voxels below which an object is left out, as in the evaluation."""
NO_CASE = "There is no labelled volume to learn from."
FEW = 3
"""Volumes from which on whole ones are held out."""
OPTIMISTIC = (
    "With fewer than three volumes the Dice is measured on slices of the same volumes, and is "
    "optimistic."
)
_SHARE = 0.2  # of the volumes, or of the labelled voxels, that is held out
_DENSE = 1 << 16  # labels from which on they are counted through


@dataclass(frozen=True, eq=False)
class LabelledObject:
    """One object of a volume.

    Parameters
    ----------
    volume
        The image.
    label
        Its value in the labels.
    mask, window
        bool (z, y, x), and where it sits in the volume.
    case
        Name of the whole volume, where `volume` may be some of its slices.
    first_slice
        The first of them there.
    """

    volume: Volume
    label: int
    mask: np.ndarray
    window: Window
    case: str = ""
    first_slice: int = 0

    @property
    def start(self) -> np.ndarray:
        """First voxel of the window, (3,)."""
        return np.array([part.start for part in self.window])

    def full(self) -> np.ndarray:
        """The mask on the whole volume."""
        out = np.zeros(self.volume.grid.shape, bool)
        out[self.window] = self.mask
        return out


_OBJECTS: WeakKeyDictionary[Labelled, list[LabelledObject]] = WeakKeyDictionary()
"""Of cases in use: several want to know them, and to look through large labels takes seconds."""


@dataclass(frozen=True, eq=False)
class Split:
    """Cases to learn from and cases held out.

    Parameters
    ----------
    train, held_out
        Neither is empty.
    optimistic
        Whether what is held out are slices of the same volumes, next to those learned from.
    """

    train: tuple[Labelled, ...]
    held_out: tuple[Labelled, ...]
    optimistic: bool


def split(cases: Sequence[Labelled], seed: int) -> Split:
    """Hold a fifth of the volumes out; of one or two volumes, a block of slices of each.

    Raises
    ------
    ValueError
        When there is no case, or an only volume cannot be divided.
    """
    if not cases:
        raise ValueError(NO_CASE)
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(same_name(name))
    for case in cases:
        if not objects_of(case):
            raise ValueError(no_object(case.name))
    if len(cases) >= FEW:
        count = max(1, round(_SHARE * len(cases)))
        order = np.random.default_rng(seed).permutation(len(cases))
        chosen = set(order[:count].tolist())
        return Split(
            tuple(case for i, case in enumerate(cases) if i not in chosen),
            tuple(case for i, case in enumerate(cases) if i in chosen),
            optimistic=False,
        )
    blocks = [_divide(case) for case in cases]
    train, held_out = (tuple(part for part in parts if part) for parts in zip(*blocks, strict=True))
    if not held_out:
        raise ValueError(
            f"{cases[0].name} is labelled on too few slices to hold some out; add another volume."
        )
    return Split(train, held_out, optimistic=True)


def objects_of(case: Labelled) -> list[LabelledObject]:
    """The objects of a case that are not tiny, by ascending label."""
    found = _OBJECTS.get(case)
    if found is None:
        whole, first = case.whole or case.name, case.first_slice
        found = [
            LabelledObject(case.volume, label, mask, window, whole, first)
            for label, window, mask in regions(case.labels)
            if int(mask.sum()) >= SMALLEST
        ]
        _OBJECTS[case] = found
    return list(found)


def regions(labels: np.ndarray) -> Iterator[tuple[int, Window, np.ndarray]]:
    """Value, window and mask in it of each label but 0, by ascending value."""
    values = labels
    known: np.ndarray = np.arange(0)
    if labels.size and int(labels.max()) >= _DENSE:  # else there would be a window for each number
        known, values = np.unique(labels, return_inverse=True)
        values = values.reshape(labels.shape) + (known[0] != 0)
        known = known if known[0] == 0 else np.concatenate([[0], known])
    for number, window in enumerate(find_objects(values), 1):
        if window is not None:
            mask = values[window] == number
            yield int(known[number]) if len(known) else number, window, mask


def no_object(name: str) -> str:
    """What is said of a volume that nothing can be learned from."""
    return f"{name} has no object of at least {SMALLEST} voxels; leave it out."


def no_class(name: str, label: int, count: int, spec: ModelSpec) -> str:
    """What is said of a volume with a label that a network with so many classes does not know."""
    known = "label 1 alone" if count == 1 else f"labels 1 to {count}"
    return f"{name} has label {label}, but {spec.name} knows {known}; change the labels."


def same_name(name: str) -> str:
    """What is said of two volumes that cannot be told apart."""
    return f"Two volumes are called {name}; give them names of their own."


def sizes_mm(objects: Sequence[LabelledObject]) -> tuple[float, float]:
    """Longest edges of the smallest and the largest object, in millimetres."""
    edges = [max(np.array(it.mask.shape) * np.asarray(it.volume.grid.spacing)) for it in objects]
    return round(float(min(edges)), 3), round(float(max(edges)), 3)


def _divide(case: Labelled) -> tuple[Labelled, Labelled | None]:
    """The case without its last slices, and these, which hold a fifth of the labelled voxels."""
    counts = np.count_nonzero(case.labels, axis=(1, 2))
    share = np.cumsum(counts[::-1])[::-1] / counts.sum()
    first = int(np.flatnonzero(share >= _SHARE)[-1])
    before, after = _slices(case, 0, first), _slices(case, first, len(counts))
    if before is None or after is None or not objects_of(before) or not objects_of(after):
        return case, None
    return before, after


def _slices(case: Labelled, start: int, stop: int) -> Labelled | None:
    if stop - start < 1:
        return None
    _, y, x = case.volume.grid.shape
    window = (slice(start, stop), slice(0, y), slice(0, x))
    # without its source, which says where the whole of it is stored
    volume = replace(
        case.volume,
        data=case.volume.data[window],
        grid=case.volume.grid.window(window),
        name=f"{case.name}, slices {start} to {stop - 1}",
        source=None,
        coarser=(),
    )
    labels = case.labels[window]
    return Labelled(volume, labels, case.names, case.files, case.name, start)
