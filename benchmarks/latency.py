"""How long a user waits: for the default model on a sample, for the published networks at size.

`latency.py sample` times first and later clicks beside a random walker on the same clicks,
`latency.py networks` the published networks beside their plain formulation.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from classical import random_walk
from networks import Networks

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
        began = time.perf_counter()
        settings = InferenceSettings(device=self.device, precision=self.precision)
        load_predictor(settings)
        loading = time.perf_counter() - began
        first, second, peers = [], [], []
        for repeat in range(self.repeats + 1):
            predictor = load_predictor(settings)
            prompts = Prompts().add(Point(sample.click_voxel))
            one = predictor.predict(volume, prompts)
            reference = sample.labels == sample.labels[tuple(map(int, sample.click_voxel))]
            click = next_click(one.full(volume.grid.shape), reference)
            two = predictor.predict(volume, prompts.add(click), one) if click else one
            began = time.perf_counter()
            random_walk(60, 0.35)(volume, prompts)
            walked = time.perf_counter() - began
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
        print(f"{self.sample} {volume.grid.shape}, {torch.get_num_threads()} threads")
        print("| step | seconds | over random walker |\n| --- | --- | --- |")
        for name, value in medians.items():
            print(f"| {name} | {value:.2f} | {value / medians['random walker']:.2f} |")
        if self.output:
            self.output.write_text(json.dumps(medians, indent=1))


if __name__ == "__main__":
    tyro.cli(Sample | Networks).run()
