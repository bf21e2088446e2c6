"""How the cost of `compact` grows with the volume, with the number of objects and of clicks.

"side" is the same body scanned finer: a cube of 256 mm with a few balls, read from a `.nii.gz`,
one ball clicked twice. "objects" clicks balls of one volume twice each and keeps all answers, as a
session does. "clicks" goes on clicking one object; a later click must not cost more than an early
one. Every case is a process of its own. Memory is Linux's high-water mark above what was there
before the first click, the volume included.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np
import torch
import tyro
from bodies import TILE, ball, body
from growth_tables import headline, tables
from measuring import alone, memory_mb, reset_peak, timed
from report import save

from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.prediction import Prediction, Predictor
from napari_sam3d.engine.predictor import load_predictor
from napari_sam3d.io import read_nifti
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

FIELD_MM = 256.0
"""Edge of every volume."""


@dataclass(frozen=True)
class Growth:
    """Measure growth with the volume, the number of objects and the number of clicks."""

    sides: tuple[int, ...] = (64, 128, 256, 512)
    """Voxels per side of the volume."""
    objects: tuple[int, ...] = (1, 4, 16, 64)
    clicks: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    session_side: int = 256
    """Voxels per side of the volume in which objects and clicks are counted."""
    repeats: int = 3
    threads: int = 2
    device: str = "auto"
    output: Path | None = None
    """Where to put the figures as JSON."""

    def run(self) -> None:
        cases: list[tuple[Callable[..., list[dict[str, Any]]], int]] = [
            *((by_side, side) for side in self.sides),
            *((by_objects, count) for count in self.objects),
            (by_clicks, max(self.clicks)),
        ]
        rows: list[dict[str, Any]] = []
        for function, value in cases:
            rows += alone(function, value, self)
            print(f"{rows[-1]['by']} {value} done", flush=True)
        text = tables(rows)
        print(text)
        if self.output:
            save("growth", self.output, rows, headline(rows), text)


def by_side(side: int, options: Growth) -> list[dict[str, Any]]:
    """The cost of reading a volume and of clicking twice in it."""
    predictor = ready(options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.nii.gz"
        spacing = FIELD_MM / side
        image, centers, radius = body(side)
        nib.save(nib.Nifti1Image(image.T, np.diag([spacing] * 3 + [1])), path)
        del image
        volume, reading = timed(lambda: read_nifti(path), options.repeats)
        voxels = np.asarray(volume.data)
    reference = ball(volume.grid.shape, centers[0], radius)
    reset_peak()
    before = memory_mb("VmRSS")
    firsts, laters = [], []
    for _ in range(options.repeats):
        one, two = answers(load(options), volume, centers[0], radius)
        firsts.append(one.seconds)
        laters.append(two.seconds)
    return [
        {
            "by": "side",
            "value": side,
            "array_mb": voxels.nbytes / 1e6,
            "read_s": reading,
            "first_click_s": median(firsts),
            "later_click_s": median(laters),
            "extra_mb": memory_mb("VmHWM") - before,
            "dice": dice(two.full(volume.grid.shape), reference),
            "device": predictor.device.type,
        }
    ]


def by_objects(count: int, options: Growth) -> list[dict[str, Any]]:
    """The cost of two clicks on each of so many objects, whose answers are kept."""
    predictor = ready(options)
    volume, centers, radius = session_volume(options, count)
    reset_peak()
    before = memory_mb("VmRSS")
    seconds = []
    for _ in range(options.repeats):
        predictor, kept = load(options), []
        began = time.perf_counter()
        kept = [answers(predictor, volume, center, radius) for center in centers]
        seconds.append(time.perf_counter() - began)
    peak = memory_mb("VmHWM") - before
    found = [
        dice(two.full(volume.grid.shape), ball(volume.grid.shape, center, radius))
        for (_, two), center in zip(kept, centers, strict=True)
    ]
    return [
        {
            "by": "objects",
            "value": count,
            "session_s": median(seconds),
            "extra_mb": peak,
            "dice": float(np.mean(found)),
            "device": predictor.device.type,
        }
    ]


def by_clicks(most: int, options: Growth) -> list[dict[str, Any]]:
    """Seconds of a click by the number of clicks before it; neighbours are put together."""
    predictor = ready(options)
    volume, centers, radius = session_volume(options, 1)
    seconds: list[list[float]] = [[] for _ in range(most)]
    for _ in range(options.repeats):
        predictor, previous, prompts = load(options), None, Prompts()
        for number in range(most):
            prompts = prompts.add(nth_click(number, centers[0], radius))
            previous = predictor.predict(volume, prompts, previous)
            seconds[number].append(previous.seconds)
    counts = sorted(options.clicks)
    return [
        {
            "by": "clicks",
            "value": last,
            "click_s": median(s for at in seconds[before:last] for s in at),
            "device": predictor.device.type,
        }
        for before, last in pairwise([0, *counts])
    ]


def ready(options: Growth) -> Predictor:
    """A predictor, once all that is only looked up or loaded at first is there."""
    torch.set_num_threads(options.threads)
    predictor = load(options)
    image, centers, radius = body(TILE)
    answers(
        predictor, Volume(image, Grid.from_spacing(image.shape, (1.0,) * 3)), centers[0], radius
    )
    return predictor


def load(options: Growth) -> Predictor:
    """A predictor that keeps nothing of earlier clicks."""
    return load_predictor(InferenceSettings(model="compact", device=options.device))


def answers(
    predictor: Predictor, volume: Volume, center: tuple[float, ...], radius: float
) -> tuple[Prediction, Prediction]:
    """What a first and a second click give."""
    prompts = Prompts().add(nth_click(0, center, radius))
    one = predictor.predict(volume, prompts)
    return one, predictor.predict(volume, prompts.add(nth_click(1, center, radius)), one)


def nth_click(number: int, center: tuple[float, ...], radius: float) -> Point:
    """Clicks of one object: its centre, then places drawn once, two within for each beside it."""
    if number == 0:
        return Point(center)
    direction = np.random.default_rng(number).standard_normal(3)
    direction /= np.linalg.norm(direction)
    within = number % 3 != 0
    place = np.asarray(center) + direction * radius * (0.6 if within else 1.4)
    return Point(tuple(np.rint(place).tolist()), within)


def session_volume(options: Growth, count: int) -> tuple[Volume, list[tuple[float, ...]], float]:
    """A volume in memory with room for 64 balls, the centres of some, and the radius of all."""
    side = options.session_side
    per_axis = max(1, round(max(options.objects, default=1) ** (1 / 3)))
    image, centers, radius = body(side, per_axis)
    grid = Grid.from_spacing(image.shape, (FIELD_MM / side,) * 3)
    chosen = np.linspace(0, len(centers) - 1, count).astype(int)
    return Volume(image, grid, "body"), [centers[i] for i in chosen], radius


if __name__ == "__main__":
    tyro.cli(Growth).run()
