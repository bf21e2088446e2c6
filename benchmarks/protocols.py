"""`compact` on all labelled volumes by all four protocols, and what limits it.

Objects of a volume are averaged first, then volumes of a patient, patients of a source, sources.
The evaluations are those of `napari-sam3d evaluate`; one that was stopped goes on.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from report import save, table
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.stats import spearmanr

from napari_sam3d.cli.evaluate import Evaluate
from napari_sam3d.engine.evaluation.case_json import from_json
from napari_sam3d.io import read_nifti
from napari_sam3d.settings import EvaluationSettings, InferenceSettings

TOLD = {
    "cvpr25": ("box", "1", "3", "5"),
    "sam-med3d": ("1", "5", "10"),
    "3dsam-adapter": ("1", "3", "10"),
    "ma-sam": ("tight", "relaxed"),
}
"""The protocols, and rounds of each that make the table."""
PROTOCOLS = tuple(TOLD)
LIMITS = {
    "volume (ml)": "volume_ml",
    "contrast (standard deviations, either sign)": "contrast",
    "thickness (voxels)": "thickness",
    "objects in the volume": "objects",
}


@dataclass(frozen=True)
class Protocols:
    """Evaluate by all protocols and tell what limits the model."""

    data: Path
    """Folder with `index.csv` and the volumes it lists."""
    split: str = "val"
    """Folder within it that is evaluated, and the rows of the index."""
    model: str = "compact"
    adapter: str = ""
    runs: Path = Path("protocol_runs")
    """Folder of the evaluations, one for each protocol; delete it to measure anew."""
    output: Path = Path("protocols.json")
    """Where the figures go."""
    only: tuple[str, ...] = PROTOCOLS
    threads: int = 2

    def run(self) -> None:
        torch.set_num_threads(self.threads)
        with open(self.data / "index.csv", newline="") as file:
            index = {Path(r["image_file"]).name: r for r in csv.DictReader(file)}
        rows = []
        for protocol in self.only:
            folder = self.runs / protocol
            Evaluate(
                pairs=self.data / self.split,
                output=folder,
                protocol_settings=EvaluationSettings(protocol=protocol),
                settings=InferenceSettings(model=self.model, adapter=self.adapter),
            ).run()
            rows += list(_objects(folder, protocol, index))
        thick = _thickness(self.data, {r["case"]: r for r in index.values()}, rows)
        for row in rows:
            row["thickness"] = thick[row["case"], row["class_label"]]
        text = f"{by_source(rows)}\n\n{by_limit(rows)}"
        save("protocols", self.output, rows, headline(rows), text)
        print(text)


def _objects(folder: Path, protocol: str, index: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """A row for each object: where it is from, and its scores by round."""
    rows = []
    for value in json.loads((folder / "results.json").read_text())["cases"]:
        case = from_json(value)
        about = index[next(name for name in index if name.startswith(f"{case.case}_image."))]
        for it in case.objects:
            rows.append(
                {
                    "protocol": protocol,
                    "source": about["source"],
                    "patient": about["patient"],
                    "case": about["case"],
                    "anatomy": about["anatomy"],
                    "name": it.name,
                    "class_label": it.class_label,
                    "voxels": it.voxels,
                    "volume_ml": it.volume_ml,
                    "contrast": abs(it.contrast) if math.isfinite(it.contrast) else None,
                    "objects": len(case.objects),
                    "rounds": [r.name for r in it.rounds],
                    "dice": [round(r.dice, 4) for r in it.rounds],
                    "nsd_last": it.rounds[-1].nsd,
                }
            )
    return rows


def _thickness(
    data: Path, index: dict[str, dict[str, str]], rows: Sequence[dict[str, Any]]
) -> dict[tuple[str, int], float]:
    """Diameter in voxels of the largest ball within each object."""
    found = {}
    for case in sorted({row["case"] for row in rows}):
        labels = np.asarray(read_nifti(data / index[case]["label_file"]).data).astype(int)
        for label, window in enumerate(find_objects(labels), 1):
            if window is not None:
                depth = distance_transform_edt(np.pad(labels[window] == label, 1))
                found[case, label] = round(2 * float(depth.max()) - 1, 2)
    return found


def mean_over_sources(rows: Sequence[dict[str, Any]], value: Callable[[dict], float]) -> float:
    """The mean over objects of a case, cases of a patient, patients of a source, sources."""
    levels: dict[tuple, list[float]] = defaultdict(list)
    for row in rows:
        levels[row["source"], row["patient"], row["case"]].append(value(row))
    while True:
        above: dict[tuple, list[float]] = defaultdict(list)
        for key, values in levels.items():
            above[key[:-1]].append(float(np.mean(values)))
        if list(above) == [()]:
            return float(np.mean(above[()]))
        levels = above


def _score(row: dict[str, Any], name: str, what: str = "dice") -> float:
    return row[what][row["rounds"].index(name)]


def _last(row: dict[str, Any], what: str = "dice") -> float:
    return row[what][-1]


def by_source(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: Dice of each source and of all, after the rounds that a protocol is told by."""
    there = [it for it in PROTOCOLS if any(row["protocol"] == it for row in rows)]
    lines = []
    for source in [*sorted({row["source"] for row in rows}), ""]:
        own = [row for row in rows if source in ("", row["source"])]
        objects = {(r["case"], r["class_label"]) for r in own}
        anatomy = ", ".join(sorted({r["anatomy"] for r in own})) if source else ""
        cells = [" / ".join(_mean(own, it, name) for name in TOLD[it]) for it in there]
        lines.append([source or "**mean over sources**", anatomy, len(objects), *cells])
    heads = [f"{it}: {' / '.join(TOLD[it])}" for it in there]
    return table(["source", "anatomy", "objects", *heads], lines)


def _mean(rows: Sequence[dict[str, Any]], protocol: str, name: str) -> str:
    own = [r for r in rows if r["protocol"] == protocol and name in r["rounds"]]
    if not own:
        return ""
    return f"{mean_over_sources(own, lambda row: row['dice'][row['rounds'].index(name)]):.2f}"


def by_limit(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: Dice after the last round in thirds of the objects, by what may limit it.

    In brackets Spearman's rank correlation over all objects, which are not independent.
    """
    there = [it for it in PROTOCOLS if any(row["protocol"] == it for row in rows)]
    lines = []
    for shown, key in LIMITS.items():
        cells, begins = [], ""
        for protocol in there:
            own = [r for r in rows if r["protocol"] == protocol and r[key] is not None]
            values = np.array([float(r[key]) for r in own])
            dice = np.array([r["dice"][-1] for r in own])
            cuts = np.quantile(values, [1 / 3, 2 / 3])
            third = np.searchsorted(cuts, values, side="right")
            means = [dice[third == n].mean() if (third == n).any() else np.nan for n in range(3)]
            ranks = spearmanr(values, dice).statistic
            cells.append(f"{' / '.join(f'{m:.2f}' for m in means)} ({ranks:+.2f})")
            begins = f"{values.min():.3g} / {cuts[0]:.3g} / {cuts[1]:.3g}"
        lines.append([shown, begins, *cells])
    heads = [f"{it} {TOLD[it][-1]}: low / middle / high third" for it in there]
    return table(["objects by", "thirds begin at", *heads], lines)


def headline(rows: Sequence[dict[str, Any]]) -> str:
    """Mean Dice over sources after the last round of each protocol."""
    parts = [
        f"{protocol} {names[-1]} {_mean(rows, protocol, names[-1])}"
        for protocol, names in TOLD.items()
        if any(row["protocol"] == protocol for row in rows)
    ]
    return f"Mean Dice over sources: {', '.join(parts)}."


if __name__ == "__main__":
    tyro.cli(Protocols).run()
