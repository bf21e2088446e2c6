"""The replay pool: 64-cubed training patches with label maps, made once by worker processes.

Three kinds: shapes (`engine.synthesis`), real label maps rendered with random contrast, and
patches of real volumes around a random object. A patch keeps its whole label map, so that
training can choose another target in it every time.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import find_objects
from torch import Generator

from napari_sam3d.engine.resample import normalise, resample
from napari_sam3d.engine.synthesis import partition, random_rotation, random_volume, render
from napari_sam3d.io import read_nifti
from napari_sam3d.volume import Grid, Window

SHAPE = (64, 64, 64)
KINDS = ("shapes", "rendered", "real")


@dataclass(frozen=True)
class Case:
    """A labelled volume: image (None for bare label maps), labels (uint8) and their boxes."""

    name: str
    source: str
    patient: str
    image: np.ndarray | None
    labels: np.ndarray
    grid: Grid
    boxes: dict[int, Window]


def held_out(patient: str) -> bool:
    """Whether a training patient is kept aside to choose between networks (about one in seven)."""
    return zlib.crc32(patient.encode()) % 7 == 0


def load_cases(data: Path, wanted: Callable[[dict[str, str]], bool]) -> list[Case]:
    """The cases of `data/index.csv` that are wanted, in display order."""
    cases = []
    with open(data / "index.csv", newline="") as file:
        for row in csv.DictReader(file):
            if not wanted(row):
                continue
            label_volume = read_nifti(data / row["label_file"])
            labels = np.ascontiguousarray(label_volume.data).astype(np.int32)
            ids = np.flatnonzero(np.bincount(labels.ravel()))
            labels = np.searchsorted(ids, labels).astype(np.uint8)  # 0, 1, 2, ... without gaps
            sizes = np.bincount(labels.ravel())
            boxes = {k + 1: box for k, box in enumerate(find_objects(labels)) if sizes[k + 1] >= 30}
            image = None
            if row["image_file"]:
                image = np.ascontiguousarray(read_nifti(data / row["image_file"]).data, np.float32)
            cases.append(
                Case(
                    row["case"],
                    row["source"],
                    row["patient"],
                    image,
                    labels,
                    label_volume.grid,
                    boxes,
                )
            )
    return cases


def usable_row(row: dict[str, str]) -> bool:
    return row["split"] == "train" and row["use"] == "default"


def training_row(row: dict[str, str]) -> bool:
    return usable_row(row) and not held_out(row["patient"])


def label_row(row: dict[str, str]) -> bool:
    return row["split"] == "labels"


def object_patch(
    case: Case, generator: Generator, zoom: tuple[float, float] = (0.5, 5)
) -> tuple[Grid, int]:
    """A patch about a random object of the case, and the object's label.

    `zoom` bounds the edge of the patch over that of the object.
    """
    ids = sorted(case.boxes)
    target = ids[int(torch.randint(0, len(ids), (), generator=generator))]
    box = case.boxes[target]
    low, high = np.array([s.start for s in box]), np.array([s.stop for s in box])

    def uniform(a: float, b: float, n: int = 1) -> np.ndarray:
        return a + (b - a) * torch.rand(n, generator=generator).numpy()

    spacing = np.asarray(case.grid.spacing)
    size_mm = (high - low) * spacing
    if uniform(0, 1) < 0.5:
        size_mm = np.full(3, size_mm.max())
    size_mm = np.maximum(size_mm, size_mm.max() / 4)
    extent_mm = size_mm * np.exp(uniform(*np.log(zoom))) * np.exp(uniform(-0.3, 0.3, 3))
    extent = np.maximum(extent_mm / spacing, 10 * spacing.min() / spacing)
    centre = (low + high - 1) / 2 + uniform(-0.25, 0.25, 3) * extent
    if uniform(0, 1) < 0.3:  # around a place in the object, whatever its extent
        where = np.argwhere(case.labels[box] == target)
        centre = low + where[int(torch.randint(0, len(where), (), generator=generator))]
    patch = case.grid.patch(centre, SHAPE, extent)
    if uniform(0, 1) < 0.25:
        turn = np.eye(4)
        turn[:3, :3] = random_rotation(generator).numpy()
        middle = patch.to_world(patch.center_voxel)
        affine = turn @ patch.affine
        affine[:3, 3] += middle - (affine @ [*patch.center_voxel, 1])[:3]
        patch = Grid(SHAPE, affine)
    return patch, target


def make_sample(
    kind: str,
    cases: dict[str, list[list[Case]]],
    generator: Generator,
    zoom: tuple[float, float] = (0.5, 5),
) -> tuple[np.ndarray, np.ndarray, int]:
    """Image (float16) and labels (uint8) of a patch, and its target label (0: any)."""
    if kind == "shapes":
        image, labels = random_volume(SHAPE, generator)
        return normalise(image).half().numpy(), labels.clamp(max=255).byte().numpy(), 0
    sources = cases[kind]
    group = sources[int(torch.randint(0, len(sources), (), generator=generator))]
    case = group[int(torch.randint(0, len(group), (), generator=generator))]
    patch, target = object_patch(case, generator, zoom)
    labels = resample(case.labels, case.grid, patch, fill=0, nearest=True).long()
    if kind == "rendered":
        rest = partition(SHAPE, int(torch.randint(1, 6, (), generator=generator)), generator)
        fine = torch.where(labels > 0, labels, rest + int(labels.max()) + 1)
        image = render(torch.unique(fine, return_inverse=True)[1], generator)
    else:
        assert case.image is not None
        image = resample(case.image, case.grid, patch, fill=float(case.image.min()))
    return normalise(image).half().numpy(), labels.byte().numpy(), target


@cache
def cases_by_source(data: Path) -> dict[str, list[list[Case]]]:
    """The cases of each kind, one list per source; loaded once per process."""
    wanted = {"real": training_row, "rendered": label_row}
    return {kind: by_source(load_cases(data, row)) for kind, row in wanted.items()}


def by_source(cases: list[Case]) -> list[list[Case]]:
    """One list per source, in order of its name."""
    return [[c for c in cases if c.source == s] for s in sorted({c.source for c in cases})]


@dataclass(frozen=True)
class PoolSpec:
    """What a pool is made of.

    Parameters
    ----------
    count
        Number of patches.
    pattern
        Kinds, as positions in KINDS, repeated over the pool.
    zoom
        Bounds of the patch's edge over the object's.
    """

    count: int
    pattern: str
    zoom: tuple[float, float]


POOLS = {
    "close": PoolSpec(8000, "02120", (1.05, 4)),
    "wide": PoolSpec(6000, "212", (0.5, 5)),
}


def _fill(job: tuple[Path, Path, PoolSpec, int, int]) -> None:
    """Worker: write samples start to stop of the pool in `folder`."""
    folder, data, spec, start, stop = job
    torch.set_num_threads(1)
    cases = cases_by_source(data)
    images, labels, targets = open_pool(folder, spec.count, "r+")
    for index in range(start, stop):
        generator = Generator().manual_seed(1_000_003 * len(spec.pattern) + index)
        kind = KINDS[int(spec.pattern[index % len(spec.pattern)])]
        sample = make_sample(kind, cases, generator, spec.zoom)
        images[index], labels[index], targets[index] = sample


def open_pool(folder: Path, count: int, mode: str) -> tuple[np.memmap, np.memmap, np.memmap]:
    """Memory maps of images, labels and targets."""
    folder.mkdir(parents=True, exist_ok=True)
    return (
        np.memmap(folder / "images.f16", np.float16, mode, shape=(count, *SHAPE)),
        np.memmap(folder / "labels.u8", np.uint8, mode, shape=(count, *SHAPE)),
        np.memmap(folder / "targets.u8", np.uint8, mode, shape=(count,)),
    )


def make_pool(folder: Path, data: Path, spec: PoolSpec, workers: int) -> None:
    """Fill a pool, unless it is there; seeded by index, so that a call repeats itself."""
    finished = folder / "finished"
    if finished.exists():
        return
    open_pool(folder, spec.count, "w+")
    edges = np.linspace(0, spec.count, 8 * workers + 1).astype(int)
    jobs = [(folder, data, spec, int(a), int(b)) for a, b in pairwise(edges)]
    with ProcessPoolExecutor(workers) as executor:
        list(executor.map(_fill, jobs))
    finished.touch()
