"""Dice on held-out patients before and after a model was tuned on 1, 2, 5 and 10 volumes.

Training volumes are of split `train`, one per patient; what is measured is of split `val` and was
never used to choose anything. Clicks and means are those of `accuracy.py`.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from accuracy import clicks, from_anew, index, objects
from report import rows_before, save
from report import table as markdown

from napari_sam3d.engine.predictor import load_predictor
from napari_sam3d.engine.training import Failed, Finished, RunFolder, Started, train
from napari_sam3d.engine.training.preflight import labelled
from napari_sam3d.engine.training.runs import resumed_settings
from napari_sam3d.io.pairs import PairFiles, read_pair
from napari_sam3d.settings import InferenceSettings, TrainSettings

TASKS = {  # source, and a word that the name of the case begins or ends with
    "hippocampus": ("hippocampus_msd04", ""),
    "heart": ("sunnybrook_segnetcmr", ""),
    "sarcoma MR": ("ibsi_sts", "MR_T1"),
    "nuclei": ("plantseg", "mini"),
}


@dataclass(frozen=True)
class FewShot:
    """Tune and measure; an interrupted benchmark goes on where it was."""

    data: Path
    """Folder with `index.csv` and the volumes it lists."""
    output: Path = Path("few_shot")
    """Folder for runs and adapters."""
    figures: Path | None = None
    """Where the figures go; few_shot.json in that folder when None."""
    tasks: tuple[str, ...] = tuple(TASKS)
    shots: tuple[int, ...] = (1, 2, 5, 10)
    most: int = 5
    """At most so many objects of a held-out volume."""
    threads: int = 2
    settings: tyro.conf.OmitArgPrefixes[TrainSettings] = field(default_factory=TrainSettings)

    def run(self) -> None:
        torch.set_num_threads(self.threads)
        os.environ["NAPARI_SAM3D_DATA"] = str(self.output.absolute())
        self.output.mkdir(parents=True, exist_ok=True)
        figures = self.figures or self.output / "few_shot.json"
        done = rows_before(figures)
        for task in self.tasks:
            for shots in (0, *self.shots):
                if any((it["task"], it["shots"]) == (task, shots) for it in done):
                    continue
                done.append(self._measure(task, shots))
                save("few_shot", figures, done, "unfinished")
        save("few_shot", figures, done, headline(done), table(done))
        print(table(done))

    def _measure(self, task: str, shots: int) -> dict:
        """What came of one training; 0 volumes are the model as it is."""
        told = {"task": task, "shots": shots, "volumes": 0, "minutes": 0.0, "adapter_bytes": 0}
        adapter = ""
        if shots:
            name = f"{task} {shots}".replace(" ", "-")
            pairs = training_pairs(self.data, task, shots)
            minutes, finished = tune(name, pairs, self.settings)
            told |= {"volumes": len(pairs), "minutes": round(minutes, 2), "steps": finished.step}
            told |= {"own_before": finished.before, "own_after": finished.after}
            told["selected"] = finished.adapter is not None
            if finished.adapter is not None:
                adapter = name
                told["adapter_bytes"] = finished.adapter.stat().st_size
        told["dice"] = self._dice(task, adapter)
        return told

    def _dice(self, task: str, adapter: str) -> list[float]:
        """Mean Dice after 1 to 5 clicks over objects, then volumes, then held-out patients."""
        model = self.settings.model
        predictor = load_predictor(InferenceSettings(model=model, adapter=adapter))
        found: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        wanted = objects(self.data, "val", self.most, lambda row: is_of(task, row))
        for row, volume, _, reference in wanted:
            scores, _ = clicks(volume, reference, from_anew(predictor))
            found[row["patient"]][row["case"]].append(scores)
        patients = [np.mean([np.mean(v, 0) for v in it.values()], 0) for it in found.values()]
        return np.mean(patients, 0).round(4).tolist()


def is_of(task: str, row: dict[str, str]) -> bool:
    source, word = TASKS[task]
    return row["source"] == source and word in row["case"]


def training_pairs(data: Path, task: str, shots: int) -> list[PairFiles]:
    """The volumes of the first patients, one of each, in an order drawn once."""
    rows = [row for row in index(data, "train") if is_of(task, row)]
    patients = sorted({row["patient"] for row in rows})
    order = np.random.default_rng(0).permutation(len(patients))
    chosen = [patients[i] for i in order[:shots]]
    firsts = [next(row for row in rows if row["patient"] == patient) for patient in chosen]
    return [PairFiles(data / row["image_file"], data / row["label_file"]) for row in firsts]


def tune(name: str, pairs: list[PairFiles], settings: TrainSettings) -> tuple[float, Finished]:
    """Minutes of training, and its last event; goes on with a run that was interrupted."""
    folder = RunFolder.called(name)
    resume = folder.config.exists()
    if resume:
        settings = resumed_settings(name)
    spent = folder.path.with_suffix(".minutes")  # of earlier parts
    before = float(spent.read_text()) if spent.exists() else 0.0
    started = time.perf_counter()
    cases = labelled([read_pair(files) for files in pairs])
    for event in train(settings, cases, folder, resume=resume):
        minutes = before + (time.perf_counter() - started) / 60
        match event:
            case Failed():
                raise ValueError(f"{name}: {event.sentence}")
            case Finished():
                return minutes, event
            case Started():
                print(f"{name}: {len(pairs)} volumes, from step {event.step} on", flush=True)
            case _:
                spent.write_text(str(minutes))
    raise AssertionError("a training ends with Finished or Failed")


def table(done: list[dict]) -> str:
    """Markdown: a row per task and number of volumes, and the means over tasks."""
    lines = []
    for it in sorted(done, key=lambda it: (it["task"], it["shots"])):
        fewer = f" ({it['volumes']} there are)" if it["volumes"] < it["shots"] else ""
        selected = "" if it.get("selected", True) else ", not selected"
        lines.append(
            [
                it["task"],
                f"{it['shots']}{fewer}",
                f"{it['dice'][0]:.3f}",
                f"{it['dice'][4]:.3f}",
                f"{gain(it, done):+.3f}{selected}" if it["shots"] else "",
                f"{it['minutes']:.1f}",
                f"{it['adapter_bytes'] / 1e6:.1f}",
            ]
        )
    for shots in sorted({it["shots"] for it in done if it["shots"]}):
        gains = [gain(it, done) for it in done if it["shots"] == shots]
        mean = [f"**mean over {len(gains)} tasks**", shots, "", "", f"{np.mean(gains):+.3f}"]
        lines.append([*mean, "", ""])
    heads = ["task", "k", "Dice 1 click", "5 clicks", "gain after 1", "minutes", "adapter MB"]
    return markdown(heads, lines)


def gain(it: dict, done: list[dict]) -> float:
    """What the first click gained over the model as it is."""
    base = next((o for o in done if (o["task"], o["shots"]) == (it["task"], 0)), it)
    return it["dice"][0] - base["dice"][0]


def headline(done: list[dict]) -> str:
    """The gain after one click in each task, with five volumes where that was measured."""
    shots = min((it["shots"] for it in done if it["shots"]), key=lambda n: abs(n - 5), default=0)
    told = (f"{it['task']} {gain(it, done):+.3f}" for it in done if it["shots"] == shots)
    return f"Gain of Dice after one click, tuned on {shots} volumes: {', '.join(told)}."


if __name__ == "__main__":
    tyro.cli(FewShot).run()
