"""Memory and seconds of a training step of each network at full size.

Seeded weights; 3DSAM-adapter begins with a file in SAM's published layout. Plain keeps all
activations and encodes every patch anew; ours computes the blocks of large encoders twice, and
keeps the embeddings of an encoder that is frozen. Every row comes from a process of its own. Memory
is Linux's high-water mark of the whole process. A step is one patch, or one group of five slices.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from measuring import alone, memory_mb, reset_peak
from report import save
from report import table as markdown
from torch import nn

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.models.base import recompute
from napari_sam3d.engine.training import recipes
from napari_sam3d.engine.training.cases import Split
from napari_sam3d.engine.training.kinds import lessons_of, spec_for
from napari_sam3d.engine.training.tuning import Tuner
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import TrainSettings
from napari_sam3d.volume import Grid, Volume

ROWS = {
    "compact": "compact",
    "sam_med3d": "sam_med3d_turbo",
    "sam3d_adapter": "sam3d_adapter_kits",
    "ma_sam": "ma_sam_btcv",
}
"""A row of the catalog for each family."""
WAYS = ("plain", "ours")
_ENOUGH = 60.0  # seconds of steps that are measured


@dataclass(frozen=True)
class Training:
    """Time steps of tuning."""

    families: tuple[str, ...] = tuple(ROWS)
    ways: tuple[str, ...] = WAYS
    most: int = 5
    """Steps that are measured at most, after one that warms up where steps are quick."""
    limit_gb: float = 18.0
    """Ways whose encoder would keep more are left out."""
    precision: str = "fp32"
    threads: int = 2
    output: Path | None = None
    """Where to put the figures as JSON."""

    def run(self) -> None:
        figures: dict[str, dict[str, dict[str, float]]] = {}
        for family in self.families:
            for way in self.ways:
                row = alone(measure, family, way, self)
                figures.setdefault(family, {})[way] = row
                print(f"{family}, {way}: {row}", flush=True)
        print(table(figures))
        if self.output:
            rows = [
                {"family": family, "way": way, **row}
                for family, ways in figures.items()
                for way, row in ways.items()
            ]
            save("training", self.output, rows, headline(figures), table(figures))


def measure(family: str, way: str, options: Training) -> dict[str, float]:
    """All figures of one way to tune one network."""
    torch.set_num_threads(options.threads)
    if way == "plain":
        recipes._RECIPES[family] = replace(recipes._RECIPES[family], fixed=0)
    kept = kept_bytes(family, way)
    told = {"kept_gb": kept / 1e9}
    if kept > options.limit_gb * 1e9:
        return told
    spec = model_spec(ROWS[family])
    model = NETWORKS[family]().eval().requires_grad_(False)
    settings = TrainSettings(
        model=spec.name,
        accumulate=1,
        device="cpu",
        precision=options.precision,
        checkpointing="off" if way == "plain" else "auto",
        background=0.0,
    )
    parts = Split((ball(1),), (ball(2),), False)
    spec = spec_for(spec, parts)
    recipe = recipes.recipe_of(spec)
    tuner = Tuner(model, lessons_of(model, spec, parts, settings), settings, recipe)
    reset_peak()
    walls, spent = [], []
    for step in range(1, options.most + 2):
        began, used = time.perf_counter(), time.process_time()
        loss, _ = tuner.advance(step)
        assert np.isfinite(loss)
        walls.append(time.perf_counter() - began)
        spent.append(time.process_time() - used)
        if sum(walls) > _ENOUGH:
            break
    first = 1 if len(walls) > 1 else 0
    return told | {
        "peak_gb": memory_mb("VmHWM") / 1e3,
        "step_s": median(walls[first:]),
        "step_cpu_s": median(spent[first:]),
        "first_step_s": walls[0],
        "steps": len(walls),
        "tuned": tuner.tuned,
    }


def kept_bytes(family: str, way: str) -> int:
    """What encoding a patch keeps for its gradients, counted without computing anything."""
    with torch.device("meta"):
        model = NETWORKS[family]()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(model.is_adapter(name))
    recompute(model, "off" if way == "plain" else "auto")
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.is_meta and storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    own = {it.untyped_storage()._cdata for it in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        embedding = model.encode_image(torch.empty(SHAPES[family], device="meta"))
    assert embedding is not None
    return sum(storage.nbytes() for storage in kept.values())


def ball(seed: int) -> Labelled:
    """A ball of 50 mm in noise, in slices of the size that MA-SAM sees."""
    grid = Grid.from_spacing((60, 512, 512), (2.0, 0.5, 0.5))
    z, y, x = np.ogrid[:60, :512, :512]
    inside = (4.0 * (z - 30) ** 2 + 0.25 * ((y - 256) ** 2 + (x - 250) ** 2)) < 25**2
    image = np.random.default_rng(seed).normal(0, 20, grid.shape).astype(np.float32) + 100 * inside
    return Labelled(Volume(image, grid, f"ball {seed}"), inside.astype(np.uint8))


def _compact() -> nn.Module:
    from napari_sam3d.engine.models.compact import Compact

    torch.manual_seed(0)
    return Compact()


def _sam_med3d() -> nn.Module:
    from napari_sam3d.engine.models.sam_med3d import SamMed3D

    torch.manual_seed(0)
    return SamMed3D()


def _sam3d_adapter() -> nn.Module:
    """Begun with a file in SAM's published layout, as the authors begin."""
    from segment_anything import sam_model_registry

    from napari_sam3d.engine.models.sam3d_adapter.model import Sam3DAdapter
    from napari_sam3d.engine.models.sam3d_adapter.release import initialise_from_sam

    torch.manual_seed(0)
    model = Sam3DAdapter()
    if model.image_encoder.pos_embed.is_meta:
        return model
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sam_vit_b.pth"
        torch.save(sam_model_registry["vit_b"]().state_dict(), path)
        initialise_from_sam(model.image_encoder, sam_model_registry["vit_b"](checkpoint=path))
    return model


def _ma_sam() -> nn.Module:
    from napari_sam3d.engine.models.ma_sam import MaSam

    torch.manual_seed(0)
    return MaSam()


NETWORKS = {
    "compact": _compact,
    "sam_med3d": _sam_med3d,
    "sam3d_adapter": _sam3d_adapter,
    "ma_sam": _ma_sam,
}
SHAPES = {
    "compact": (1, 1, 64, 64, 64),
    "sam_med3d": (1, 1, 128, 128, 128),
    "sam3d_adapter": (1, 1, 128, 128, 128),
    "ma_sam": (1, 1, 5, 512, 512),
}


def table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row for each way."""
    heads = ["network", "way", "tuned", "encoder keeps", "peak", "of plain", "s a step", "CPU-s"]
    lines = []
    for family, rows in figures.items():
        plain = rows.get("plain", {})
        for way, row in rows.items():
            kept = f"{row['kept_gb']:.2f} GB"
            if "peak_gb" not in row:
                lines.append([family, way, "", kept, "too much", "", "", "", ""])
                continue
            share = [
                f"{row[key] / plain[key]:.2f}" if key in plain else ""
                for key in ("peak_gb", "step_cpu_s")
            ]
            tuned, peak = f"{row['tuned'] / 1e6:.2f} M", f"{row['peak_gb']:.2f} GB"
            step, cpu = f"{row['step_s']:.1f}", f"{row['step_cpu_s']:.1f}"
            lines.append([family, way, tuned, kept, peak, share[0], step, cpu, share[1]])
    return markdown([*heads, "of plain"], lines)


def headline(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """Our seconds and memory of a step of each family."""
    own = {family: rows["ours"] for family, rows in figures.items() if "peak_gb" in rows["ours"]}
    told = (f"{it} {row['step_s']:.1f} s and {row['peak_gb']:.1f} GB" for it, row in own.items())
    return f"A training step takes {', '.join(told)}."


if __name__ == "__main__":
    tyro.cli(Training).run()
