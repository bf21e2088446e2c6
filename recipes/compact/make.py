"""Make the shipped weights and their model card, with one command; continues where it stopped.

python recipes/compact/make.py --data DIR
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from candidates import CANDIDATES
from pool import POOLS, make_pool
from safetensors.torch import save_file
from train import Run
from train import main as train

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WEIGHTS = ROOT / "src/napari_sam3d/engine/models/compact.safetensors"
sys.path.append(str(ROOT / "benchmarks"))


@dataclass(frozen=True)
class Make:
    """Pools, training, export, evaluation, model card."""

    data: Path
    """Folder with `index.csv` and the volumes it lists."""
    work: Path = Path("runs/compact")
    """Folder for pools and checkpoints; about 11 GB."""
    minutes: float = 90.0
    threads: int = 2
    device: str = "cpu"
    weights: Path = WEIGHTS
    """Where the weights go."""
    share: float = 1.0
    """Share of the pools' size, to try the recipe out."""
    figures: bool = True
    """Measure, and write the model card."""

    def run(self) -> None:
        for name, spec in POOLS.items():
            smaller = replace(spec, count=int(self.share * spec.count))
            make_pool(self.work / name, self.data, smaller, self.threads)
        folder = self.work / "training"
        pools = tuple(self.work / name for name in POOLS)
        train(
            Run(
                folder=folder,
                pool=pools,
                data=self.data,
                minutes=self.minutes,
                threads=self.threads,
                device=self.device,
            )
        )
        print("sha256 for the catalog:", export(folder / "last.pt", self.weights))
        if self.figures:
            figures(self.data, self.work / "accuracy.json", folder / "log.jsonl")


def export(checkpoint: Path, weights: Path = WEIGHTS) -> str:
    """Write the averaged weights in bfloat16; returns the sha256 of the file."""
    model = CANDIDATES["compact"]()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    tensors = {k: v.bfloat16().contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, weights, metadata={"model": "compact", "licence": "BSD-3-Clause"})
    weights.chmod(0o644)
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def figures(data: Path, results: Path, log: Path) -> None:
    """Measure on the validation volumes and put the figures into the model card."""
    from accuracy import Accuracy, table
    from report import load

    setting = Accuracy(data=data, output=results)
    setting.run()
    done = load(results)["rows"]
    progress = json.loads(log.read_text().splitlines()[-1])
    card = (HERE / "card.md").read_text()
    card = card.replace("{samples}", f"{progress['samples']:,.0f}")
    card = card.replace("{minutes}", f"{progress['seconds'] / 60:.0f}")
    card = card.replace("{table}", table(done, setting.methods))
    (HERE / "MODEL_CARD.md").write_text(card)


if __name__ == "__main__":
    tyro.cli(Make).run()
