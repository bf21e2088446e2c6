"""Memory and time of the Segment dock on volumes that do not fit, and with many objects.

Each case runs in a process of its own, whose peak memory (VmHWM) is what counts: napari, Qt, torch
and the model included. Linux only; with a screen, or under `xvfb-run`:

    python benchmarks/large.py --out large.json

"dask" clicks on a ball in a lazy volume of 2000 x 2000 x 2000 voxels, paints, undoes, measures and
deletes. "objects" clicks once on each of 50 balls in 300 x 512 x 512 voxels in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bodies import near
from measuring import memory_mb
from report import save, table

CASES = ("dask", "objects")
CHUNK = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, help="this case alone, in this process")
    parser.add_argument("--edge", type=int, default=2000, help="voxels of the lazy volume, cubed")
    parser.add_argument("--count", type=int, default=50, help="objects in memory")
    parser.add_argument("--out", "--output", type=Path)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run(options.case, options.edge, options.count)))
        return
    results = {}
    for case in CASES:
        again = [sys.executable, __file__, "--case", case]
        again += ["--edge", str(options.edge), "--count", str(options.count)]
        with tempfile.TemporaryDirectory() as folder:
            own = {"NAPARI_CONFIG": f"{folder}/settings.yaml", "NAPARI_SAM3D_WORK": folder}
            output = subprocess.run(
                again, env={**os.environ, **own}, check=True, capture_output=True, text=True
            ).stdout
        results[case] = json.loads(output.splitlines()[-1])
        print(tables({case: results[case]}), flush=True)
    if options.out:
        rows = [
            {"case": case, "shape": it["shape"], "objects": it["objects"], **step}
            for case, it in results.items()
            for step in it["steps"]
        ]
        save("large", options.out, rows, headline(results), tables(results))


def run(case: str, edge: int, count: int) -> dict[str, Any]:
    """Do what a user does, and note seconds and memory after each step."""
    import napari

    from napari_sam3d.plugin.segment_widget import SegmentWidget

    viewer = napari.Viewer()
    steps = Steps()
    if case == "dask":
        shape, centers, radius = (edge,) * 3, [(edge / 2,) * 3], 40
        import dask.array as da

        lazy = da.from_array(Ball(shape, radius), chunks=CHUNK, name=False)
        # else napari keeps chunks of the slices that were shown, in up to a quarter of the memory
        viewer.add_image(lazy, name="volume", cache=False)
    else:
        shape, radius = (300, 512, 512), 12
        centers = lattice(shape, count)
        viewer.add_image(balls(shape, centers, radius), name="volume")
    viewer.dims.set_point(0, centers[0][0])
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment")
    session, worker = widget.session, widget.runner.worker
    done: list[str] = []
    worker.ready.connect(lambda *_: done.append("ready"))
    worker.predicted.connect(lambda *_: done.append("mask"))
    widget.runner.refused.connect(done.append)
    steps.wait(lambda: done)
    steps.note("dock open, model loaded")
    for number, center in enumerate(centers, start=1):
        if number > 1:
            session.new_object()
        done.clear()
        session.prompt_layer.add(center)
        steps.wait(lambda: done)
        assert done == ["mask"], done
        if number == 1:
            steps.note("first mask")
            done.clear()
            z, y, x = center
            session.prompt_layer.add((z, y + radius / 2, x))
            steps.wait(lambda: done)
            steps.note("second click")
    if case == "objects":
        steps.note(f"{len(centers)} objects")
    widget.overview.object_section.expand(animate=False)
    steps.wait(lambda: len(widget.overview.measuring.values) == len(centers))
    steps.note("measured")
    labels = session.labels
    labels.brush_size = 10
    voxel = tuple(round(c) for c in centers[0])
    labels.paint(voxel, 0)
    labels.undo()
    steps.settle()
    steps.note("stroke and undo")
    session.new_object()
    session.delete(session.current)
    session.delete(1)
    steps.settle()
    steps.note("new object, two deleted")
    measures = widget.overview.measuring.values
    assert not labels.data[tuple(slice(c - 2, c + 3) for c in voxel)].any()
    viewer.close()
    return {"shape": shape, "objects": len(centers), "left": len(measures), "steps": steps.rows}


class Steps:
    """Seconds and peak memory of what is done one after the other."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._since = time.perf_counter()

    def wait(self, until: Callable[[], object]) -> None:
        """Let the window work until something is so; it must be within ten minutes."""
        from qtpy.QtWidgets import QApplication

        deadline = time.perf_counter() + 600
        while not until():
            assert time.perf_counter() < deadline
            QApplication.processEvents()
            time.sleep(0.001)

    def settle(self, seconds: float = 1.5) -> None:
        """Let the window do what is still to be done."""
        end = time.perf_counter() + seconds
        self.wait(lambda: time.perf_counter() > end)
        self._since += seconds

    def note(self, name: str) -> None:
        now = time.perf_counter()
        self.rows.append(
            {
                "step": name,
                "seconds": round(now - self._since, 2),
                "peak_mb": round(memory_mb("VmHWM")),
            }
        )
        self.settle()
        self._since = time.perf_counter()


class Ball:
    """Voxels that are computed when they are looked at, as others are read from a disk."""

    def __init__(self, shape: tuple[int, int, int], radius: float) -> None:
        self.shape, self.radius = shape, radius
        self.ndim, self.dtype = 3, np.dtype(np.uint8)
        self._noise = np.random.default_rng(0).integers(0, 60, (CHUNK,) * 3, np.uint8)

    def __getitem__(self, window: tuple[slice, slice, slice]) -> np.ndarray:
        spans = [s.indices(n)[:2] for s, n in zip(window, self.shape, strict=True)]
        out = self._noise[np.ix_(*(np.arange(*span) % CHUNK for span in spans))]
        axes = (np.arange(*span) - n / 2 for span, n in zip(spans, self.shape, strict=True))
        z, y, x = np.ix_(*(np.float32(axis) ** 2 for axis in axes))
        if out.size and z.min() + y.min() + x.min() < self.radius**2:
            out[z + y + x < self.radius**2] += 120
        return out


def lattice(shape: tuple[int, int, int], count: int) -> list[tuple[float, ...]]:
    """So many places in a volume, far from each other."""
    along = [np.arange(40, n - 30, 64) for n in shape]
    places = np.stack(np.meshgrid(*along, indexing="ij"), -1).reshape(-1, 3).tolist()
    return [tuple(places[i]) for i in np.linspace(0, len(places) - 1, count).astype(int)]


def balls(shape: tuple[int, int, int], centers: list, radius: float) -> np.ndarray:
    image = np.random.default_rng(0).integers(-20, 20, shape, np.int16)
    for center in centers:
        window, inside = near(center, radius, shape)
        image[window][inside] += 200
    return image


def tables(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: a table for each case."""
    parts = []
    for case, it in results.items():
        parts.append(f"{case}: {' x '.join(map(str, it['shape']))} voxels, {it['objects']} objects")
        lines = ([row["step"], row["seconds"], row["peak_mb"]] for row in it["steps"])
        parts.append(table(["step", "seconds", "peak MB"], lines))
    return "\n\n".join(parts)


def headline(results: dict[str, dict[str, Any]]) -> str:
    """The most memory of each case, in a line."""
    told = []
    for it in results.values():
        peak = max(row["peak_mb"] for row in it["steps"])
        shape = " x ".join(map(str, it["shape"]))
        noun = "object" if it["objects"] == 1 else "objects"
        told.append(f"{shape} voxels, {it['objects']} {noun}: {peak} MB at most")
    return "; ".join(told) + "."


if __name__ == "__main__":
    main()
