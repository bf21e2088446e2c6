"""Seconds, memory and arithmetic of the networks, beside their plain formulation.

Full size; random weights but for `compact`. Every row comes from a process of its own. Memory is
Linux's high-water mark above what the weights and the libraries take.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import alone, memory_mb, reset_peak, timed
from network_paths import NETWORKS
from report import save, times
from report import table as markdown

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
        with tempfile.TemporaryDirectory() as folder:
            for name in self.networks:
                rows = figures[name] = {}
                ways = [way for way, (plain, _) in WAYS.items() if not plain or has_plain(name)]
                for way in ways:
                    rows[way] = alone(measure, name, way, self, folder)
                masks = {way: np.load(f"{folder}/{name} {way}.npy") for way in ways}
                for way, row in rows.items():
                    row["changed"] = changed(masks[way], masks["ours, fp32"])
                print(table(name, rows), flush=True)
        if self.output:
            flat = [
                {"network": name, "way": way, **row}
                for name, rows in figures.items()
                for way, row in rows.items()
            ]
            text = "\n".join(table(name, rows) for name, rows in figures.items())
            save("networks", self.output, flat, headline(figures), text)


def has_plain(name: str) -> bool:
    return NETWORKS[name].plain_encodings > 0


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
        before = memory_mb("VmRSS")
        embedding, encoding = timed(lambda: network.encode(plain), encodings)
        network.click(embedding, plain)
        peak = memory_mb("VmHWM") - before
        logits, click = timed(lambda: network.click(embedding, plain), options.clicks)
        np.save(f"{folder}/{name} {way}.npy", network.mask(logits).numpy())
    gflop = network.gflop[0 if plain else 1]
    return {
        "encoding_s": encoding,
        "click_s": click,
        "peak_gb": peak / 1e3,
        "encoding_gflop": gflop,
        "encoding_gflops": gflop / encoding,
        "matrix_gflops": matrix_rate(half),
    }


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


def table(name: str, rows: dict[str, dict[str, float]]) -> str:
    """Rows with their ratios to the plain way, where there is one."""
    heads = ["way", "encoding s", "times faster", "click s", "times faster", "peak GB", "of plain"]
    plain, lines = rows.get("plain"), []
    for way, row in rows.items():
        faster, quicker, share = "", "", ""
        if plain:
            faster = times(plain["encoding_s"], row["encoding_s"])
            quicker = times(plain["click_s"], row["click_s"])
            share = f"{row['peak_gb'] / plain['peak_gb']:.2f}"
        lines.append(
            [
                way,
                f"{row['encoding_s']:.2f}",
                faster,
                f"{row['click_s']:.3f}",
                quicker,
                f"{row['peak_gb']:.2f}",
                share,
                f"{row['encoding_gflops']:.0f}",
                f"{row['encoding_gflops'] / row['matrix_gflops']:.2f}",
                f"{row['changed']:.2%}",
            ]
        )
    heads += ["GFLOP/s", "of a matrix product", "mask changed"]
    return f"\n{name}\n\n{markdown(heads, lines)}"


def headline(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """Seconds and memory of each network in the faster number format."""
    told = []
    for name, rows in figures.items():
        ours = [row for way, row in rows.items() if way != "plain"]
        best = min(ours, key=lambda row: row["encoding_s"] + row["click_s"])
        told.append(
            f"{name} {best['encoding_s']:.2f} s, {best['click_s']:.3f} s a click, "
            f"{best['peak_gb']:.2f} GB"
        )
    return f"Encoding a patch: {'; '.join(told)}."
