"""Seconds, memory and arithmetic of the published networks, beside their plain formulation.

Full size, random weights. Every row comes from a process of its own. Memory is Linux's high-water
mark above what the weights and the libraries take.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from network_paths import NETWORKS

WAYS = {"plain": (True, False), "ours, fp32": (False, False), "ours, bf16": (False, True)}
"""Whether plain, and whether in bfloat16."""


@dataclass(frozen=True)
class Networks:
    """Time the encoding of a patch and a later click."""

    networks: tuple[str, ...] = tuple(NETWORKS)
    encodings: int = 3
    clicks: int = 7
    threads: int = 2
    output: Path | None = None
    """Where to put the figures as JSON."""

    def run(self) -> None:
        figures: dict[str, dict[str, dict[str, float]]] = {}
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as folder:
            for name in self.networks:
                rows = figures[name] = {}
                for way in WAYS:
                    with ProcessPoolExecutor(1, context) as pool:
                        rows[way] = pool.submit(measure, name, way, self, folder).result()
                masks = {way: np.load(f"{folder}/{name} {way}.npy") for way in WAYS}
                for way, row in rows.items():
                    row["changed"] = changed(masks[way], masks["ours, fp32"])
                print(table(name, rows), flush=True)
        if self.output:
            self.output.write_text(json.dumps(figures, indent=1))


def measure(name: str, way: str, options: Networks, folder: str) -> dict[str, float]:
    """All figures of one way to run one network."""
    torch.set_num_threads(options.threads)
    plain, half = WAYS[way]
    network = NETWORKS[name]()
    encodings = network.plain_encodings if plain else options.encodings
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        if encodings > 1:
            network.encode(plain)  # the first one prepares
        reset_peak()
        before = memory("VmRSS")
        embedding, encoding = timed(lambda: network.encode(plain), encodings)
        peak = memory("VmHWM") - before
        network.click(embedding, plain)
        logits, click = timed(lambda: network.click(embedding, plain), options.clicks)
        np.save(f"{folder}/{name} {way}.npy", network.mask(logits).numpy())
    gflop = network.gflop[0 if plain else 1]
    return {
        "encoding_s": encoding,
        "click_s": click,
        "peak_gb": peak / 1e9,
        "encoding_gflop": gflop,
        "encoding_gflops": gflop / encoding,
        "matrix_gflops": matrix_rate(half),
    }


def timed(work: Any, repeats: int) -> tuple[Any, float]:
    """What `work` returns, and the median of its seconds."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - began)
    return found, median(seconds)


def changed(mask: np.ndarray, reference: np.ndarray) -> float:
    """Voxels that differ, over those of the object."""
    return float((mask != reference).sum() / max(1, (reference > 0).sum()))


def matrix_rate(half: bool, n: int = 4096) -> float:
    """GFLOP/s of this machine's matrix product in the number format, by its faster library."""
    dtype = torch.bfloat16 if half else torch.float32
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    ways = [lambda: torch.mm(a, b)]
    if not half:
        layer, rows = torch.nn.Linear(n, n, bias=False).requires_grad_(False), a.to_mkldnn()
        ways.append(lambda: layer(rows))
    with torch.inference_mode():
        return max(2 * n**3 / timed(way, 5)[1] / 1e9 for way in ways)


def memory(field: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def table(name: str, rows: dict[str, dict[str, float]]) -> str:
    """Rows with their ratios to the plain way."""
    plain = rows["plain"]
    lines = [
        f"\n{name}\n",
        "| way | encoding s | times faster | click s | times faster | peak GB | of plain "
        "| GFLOP/s | of a matrix product | mask changed |",
        "|" + " --- |" * 10,
    ]
    for way, row in rows.items():
        lines.append(
            f"| {way} | {row['encoding_s']:.2f} | {plain['encoding_s'] / row['encoding_s']:.1f} "
            f"| {row['click_s']:.3f} | {plain['click_s'] / row['click_s']:.1f} "
            f"| {row['peak_gb']:.2f} | {row['peak_gb'] / plain['peak_gb']:.2f} "
            f"| {row['encoding_gflops']:.0f} "
            f"| {row['encoding_gflops'] / row['matrix_gflops']:.2f} | {row['changed']:.2%} |"
        )
    return "\n".join(lines)
