"""How long a user waits: for the default model on a sample, for the published networks at size.

`latency.py sample` times first and later clicks beside a random walker on the same clicks,
`latency.py networks` the networks of all families, beside their plain formulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from classical import random_walk
from measuring import timed
from networks import Networks
from report import save, table, times

from napari_sam3d.engine.clicks import next_click
from napari_sam3d.engine.predictor import load_predictor
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.samples import load_sample
from napari_sam3d.settings import InferenceSettings


@dataclass(frozen=True)
class Sample:
    """Time the click-to-mask path on a sample."""

    sample: str = "phantom"
    repeats: int = 5
    device: str = "auto"
    precision: str = "auto"
    output: Path | None = None
    """Where to put the figures as JSON."""

    def run(self) -> None:
        sample = load_sample(self.sample)
        volume = sample.volume
        settings = InferenceSettings(device=self.device, precision=self.precision)
        predictor, loading = timed(lambda: load_predictor(settings))
        first, second, peers = [], [], []
        for repeat in range(self.repeats + 1):
            predictor = load_predictor(settings)
            prompts = Prompts().add(Point(sample.click_voxel))
            one = predictor.predict(volume, prompts)
            reference = sample.labels == sample.labels[tuple(map(int, sample.click_voxel))]
            click = next_click(one.full(volume.grid.shape), reference)
            two = predictor.predict(volume, prompts.add(click), one) if click else one
            _, walked = timed(lambda prompts=prompts: random_walk(60, 0.35)(volume, prompts))
            if repeat:  # the first round warms up
                first.append(one.seconds)
                second.append(two.seconds)
                peers.append(walked)
        medians = {
            "loading": loading,
            "first click": float(np.median(first)),
            "second click": float(np.median(second)),
            "random walker": float(np.median(peers)),
        }
        walker = medians["random walker"]
        lines = ([name, f"{it:.2f}", times(it, walker)] for name, it in medians.items())
        where = f"{self.sample} {volume.grid.shape}, {torch.get_num_threads()} threads"
        text = f"{where}\n\n{table(['step', 'seconds', 'over random walker'], lines)}"
        print(text)
        if self.output:
            about = {
                "sample": self.sample,
                "device": predictor.device.type,
                "threads": torch.get_num_threads(),
            }
            rows = [{"step": name, "seconds": it, **about} for name, it in medians.items()]
            told = ", ".join(f"{name} {it:.2f} s" for name, it in medians.items())
            save("latency", self.output, rows, f"compact on {self.sample}: {told}.", text)


if __name__ == "__main__":
    tyro.cli(Sample | Networks).run()
