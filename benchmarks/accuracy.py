"""Dice after 1 to 5 simulated clicks on labelled volumes, ours beside classical segmenters.

Clicks follow the CVPR 2025 challenge without its box step: each goes deep into the largest
error. Means go over objects, then volumes of a patient, then patients of a source, then sources.
"""

from __future__ import annotations

import csv
import json
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from classical import random_walk, region_growing, seeded_watershed

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
    """Where the figures go; objects already in it are not measured again."""
    split: str = "val"
    objects: int = 5
    """At most so many objects of a volume, drawn by the name of the volume."""
    methods: tuple[str, ...] = ("compact", *CLASSICAL)
    threads: int = 2

    def run(self) -> None:
        torch.set_num_threads(self.threads)
        done = json.loads(self.output.read_text()) if self.output.exists() else []
        known = {(r["method"], r["case"], r["label"]) for r in done}
        for method in self.methods:
            start = _starter(method)
            for row, volume, label, reference in objects(self.data, self.split, self.objects):
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
                self.output.write_text(json.dumps(done))
        self.output.write_text(json.dumps(done, indent=0))
        print(table(done, self.methods))


def objects(
    data: Path,
    split: str,
    most: int,
    wanted: Callable[[dict[str, str]], bool] = lambda row: True,
) -> Iterator[tuple[dict[str, str], Volume, int, np.ndarray]]:
    """Row, volume, label and reference mask of every object to measure in the rows wanted."""
    with open(data / "index.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split and wanted(r)]
    for row in rows:
        volume = read_nifti(data / row["image_file"])
        labels = np.ascontiguousarray(read_nifti(data / row["label_file"]).data).astype(int)
        counts = np.bincount(labels.ravel())
        ids = [int(i) for i in np.flatnonzero(counts >= 20) if i > 0]
        order = np.random.RandomState(zlib.crc32(row["case"].encode()) % 2**31)
        for label in sorted(order.permutation(ids)[:most].tolist()):
            yield row, volume, label, labels == label


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
    grouped: dict[tuple[str, str, str], dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for r in results:
        grouped[r["source"], r["patient"], r["case"]][r["method"]].append(r["dice"])
    head = "| volume | objects | " + " | ".join(f"{m} 1 / 3 / 5" for m in methods) + " |"
    lines = [head, "|" + " --- |" * (2 + len(methods))]
    patients: dict[str, dict[str, dict[str, list]]] = {
        m: defaultdict(lambda: defaultdict(list)) for m in methods
    }
    sources: dict[str, dict[str, np.ndarray]] = {m: {} for m in methods}

    def line(name: str, count: int | str, values: list[np.ndarray]) -> str:
        cells = [" / ".join(f"{v[i]:.2f}" for i in shown) for v in values]
        return f"| {name} | {count} | " + " | ".join(cells) + " |"

    for (source, patient, case), by_method in sorted(grouped.items()):
        values = [np.mean(by_method[m], 0) if by_method[m] else np.full(5, np.nan) for m in methods]
        lines.append(line(case, len(by_method[methods[0]]), values))
        for m, v in zip(methods, values, strict=True):
            patients[m][source][patient].append(v)
    for m in methods:
        for source, by_patient in patients[m].items():
            sources[m][source] = np.mean([np.mean(v, 0) for v in by_patient.values()], 0)
    for source in sorted(sources[methods[0]]):
        lines.append(line(f"**{source}**", "", [sources[m][source] for m in methods]))
    overall = [np.nanmean(list(sources[m].values()), 0) for m in methods]
    lines.append(line("**mean over sources**", "", overall))
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(Accuracy).run()
