"""Dice after 1 to 5 simulated clicks on labelled volumes, ours beside classical segmenters.

Clicks follow the CVPR 2025 challenge without its box step: each goes deep into the largest
error. Means go over objects, then volumes of a patient, then patients of a source, then sources.
"""

from __future__ import annotations

import csv
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from classical import random_walk, region_growing, seeded_watershed
from report import rows_before, save
from report import table as markdown

from napari_sam3d.engine.clicks import next_click
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.predictor import Predictor, load_predictor
from napari_sam3d.io import read_nifti
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Volume

CLICKS = 5
# Tuned on the training volumes by `tune_classical.py`.
CLASSICAL = {
    "region growing": region_growing(0.7),
    "random walker": random_walk(3000, 0.7),
    "watershed": seeded_watershed(0.7, 1.0),
}


@dataclass(frozen=True)
class Accuracy:
    """Measure Dice over clicks."""

    data: Path
    """Folder with `index.csv` and the volumes it lists."""
    output: Path = Path("accuracy.json")
    """Where the figures go; a command that was stopped goes on where it was."""
    split: str = "val"
    cases: int = 0
    """So many volumes, evenly spread over the index; all of them when 0."""
    objects: int = 5
    """At most so many objects of a volume, drawn by the name of the volume."""
    methods: tuple[str, ...] = ("compact", *CLASSICAL)
    threads: int = 2

    def run(self) -> None:
        torch.set_num_threads(self.threads)
        done = rows_before(self.output)
        known = {(r["method"], r["case"], r["label"]) for r in done}
        for method in self.methods:
            start = _starter(method)
            for row, volume, label, reference in objects(
                self.data, self.split, self.objects, cases=self.cases
            ):
                if (method, row["case"], label) in known:
                    continue
                scores, seconds = clicks(volume, reference, start())
                done.append(
                    {
                        "method": method,
                        "case": row["case"],
                        "patient": row["patient"],
                        "source": row["source"],
                        "label": label,
                        "voxels": int(reference.sum()),
                        "dice": [round(s, 4) for s in scores],
                        "seconds": [round(s, 3) for s in seconds],
                    }
                )
                save("accuracy", self.output, done, "unfinished")
        text = table(done, self.methods)
        save("accuracy", self.output, done, headline(done, self.methods), text)
        print(text)


def objects(
    data: Path,
    split: str,
    most: int,
    wanted: Callable[[dict[str, str]], bool] = lambda row: True,
    cases: int = 0,
) -> Iterator[tuple[dict[str, str], Volume, int, np.ndarray]]:
    """Row, volume, label and reference mask of every object to measure in the rows wanted."""
    rows = [row for row in index(data, split) if wanted(row)]
    if cases:
        rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, cases).astype(int))]
    for row in rows:
        volume = read_nifti(data / row["image_file"])
        labels = np.ascontiguousarray(read_nifti(data / row["label_file"]).data).astype(int)
        counts = np.bincount(labels.ravel())
        ids = [int(i) for i in np.flatnonzero(counts >= 20) if i > 0]
        order = np.random.RandomState(zlib.crc32(row["case"].encode()) % 2**31)
        for label in sorted(order.permutation(ids)[:most].tolist()):
            yield row, volume, label, labels == label


def index(data: Path, split: str) -> list[dict[str, str]]:
    """The rows of the list of volumes that belong to a split."""
    with open(data / "index.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def clicks(
    volume: Volume, reference: np.ndarray, segment: Callable[[Volume, Prompts], np.ndarray]
) -> tuple[list[float], list[float]]:
    """Dice and seconds after each click; a perfect mask keeps its score."""
    prompts, mask = Prompts(), np.zeros(reference.shape, bool)
    scores, seconds = [], []
    for _ in range(CLICKS):
        click = next_click(mask, reference)
        if click is not None:
            prompts = prompts.add(click)
            started = time.perf_counter()
            mask = segment(volume, prompts)
            seconds.append(time.perf_counter() - started)
        scores.append(dice(mask, reference))
    return scores, seconds


def _starter(method: str) -> Callable[[], Callable[[Volume, Prompts], np.ndarray]]:
    """A function that begins an object: it gives the segmenter to call click by click."""
    if method in CLASSICAL:
        return lambda: CLASSICAL[method]
    predictor = load_predictor(InferenceSettings(model=method))
    return lambda: from_anew(predictor)


def from_anew(predictor: Predictor) -> Callable[[Volume, Prompts], np.ndarray]:
    """A segmenter that begins an object and is called click by click."""
    previous = None

    def segment(volume: Volume, prompts: Prompts) -> np.ndarray:
        nonlocal previous
        previous = predictor.predict(volume, prompts, previous)
        return previous.full(volume.grid.shape)

    return segment


def table(results: list[dict], methods: tuple[str, ...]) -> str:
    """Markdown: a row per volume, per source and for the mean over sources."""
    shown = (0, 2, 4)
    volumes, sources = means(results)

    def line(name: str, count: int | str, of: dict[str, np.ndarray]) -> list[str]:
        unknown = np.full(CLICKS, np.nan)
        cells = [" / ".join(f"{of.get(m, unknown)[i]:.2f}" for i in shown) for m in methods]
        return [name, str(count), *cells]

    lines = []
    for (_, _, case), of in sorted(volumes.items()):
        count = sum((r["method"], r["case"]) == (methods[0], case) for r in results)
        lines.append(line(case, count, of))
    lines += [line(f"**{source}**", "", of) for source, of in sorted(sources.items())]
    lines.append(line("**mean over sources**", "", over_sources(sources)))
    return markdown(["volume", "objects", *(f"{m} 1 / 3 / 5" for m in methods)], lines)


def means(results: list[dict]) -> tuple[dict, dict]:
    """By method the mean Dice over clicks, of (source, patient, volume) and of each source."""
    found: dict[tuple, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for r in results:
        found[r["source"], r["patient"], r["case"]][r["method"]].append(r["dice"])
    volumes = _mean(found)
    sources: dict[Any, Any] = volumes
    for depth in (2, 1):  # volumes of a patient, patients of a source
        level: dict[tuple, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        for key, of in sources.items():
            for method, value in of.items():
                level[key[:depth]][method].append(value)
        sources = _mean(level)
    return volumes, {source: of for (source,), of in sources.items()}


def over_sources(sources: dict) -> dict[str, np.ndarray]:
    """By method the mean over sources."""
    methods = {method for of in sources.values() for method in of}
    return {m: np.mean([of[m] for of in sources.values() if m in of], 0) for m in methods}


def _mean(found: dict) -> dict:
    return {key: {m: np.mean(v, 0) for m, v in of.items()} for key, of in found.items()}


def headline(results: list[dict], methods: tuple[str, ...]) -> str:
    """Dice of each method in the mean over sources."""
    overall = over_sources(means(results)[1])
    told = (f"{m} {overall[m][0]:.2f} / {overall[m][2]:.2f} / {overall[m][4]:.2f}" for m in methods)
    return f"Dice after 1 / 3 / 5 clicks: {', '.join(told)}."


if __name__ == "__main__":
    tyro.cli(Accuracy).run()
