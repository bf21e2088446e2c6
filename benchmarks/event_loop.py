"""Longest stall of napari's event loop while the Segment dock predicts.

A timer of 10 ms runs in the window's thread; the largest gap between two of its ticks is what a
user feels as a freeze. Beside it stands the processor time that this thread itself used in its
busiest gap: on a machine with other work to do, the rest was waiting for a processor. Run it with
a screen, or under `xvfb-run`:

    python benchmarks/event_loop.py --shape 256 256 256 --clicks 5 --out event_loop.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TICK_MS = 10


class NumpyPredictor:
    """Stands in for a network: 1 s of array work, then a ball whose window is `reach` wide."""

    def __init__(self, reach: int) -> None:
        import napari_sam3d.engine.predictor  # noqa: F401  (while it loads, as a network does)

        self.reach = reach

    def predict(
        self,
        volume: Any,
        prompts: Any,
        previous: Any = None,
        cancelled: Callable[[], bool] = bool,
    ) -> Any:
        from napari_sam3d.engine.predictor import Prediction
        from napari_sam3d.volume import Grid

        start = time.perf_counter()
        block = np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
        while time.perf_counter() - start < 1:
            np.fft.fftn(block)
        center = np.array(prompts.points[-1].position_voxel)
        low = np.clip(center - self.reach // 2, 0, None).astype(int)
        high = np.minimum(low + self.reach, volume.grid.shape)
        window = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[window]
        mask = sum((a - c) ** 2 for a, c in zip(axes, center, strict=True)) < (self.reach / 2) ** 2
        patch = Grid.from_spacing((1, 1, 1), (1, 1, 1))
        seconds = time.perf_counter() - start
        return Prediction(mask, window, patch, np.zeros((1, 1, 1), np.float32), 1.0, seconds)


class Gaps:
    """Records the time between the ticks of a timer."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.gaps: list[tuple[float, float]] = []
        self._last = time.perf_counter(), time.thread_time()
        self._timer = QTimer(interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self.gaps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    def take(self) -> dict[str, float]:
        """The largest gap and processor time since the last call, in ms."""
        taken, self.gaps = self.gaps, []
        gap, used = (1000 * max(times) for times in zip(*taken, strict=True))
        return {"gap_ms": round(gap, 1), "processor_ms": round(used, 1), "ticks": len(taken)}


def measure(shape: tuple[int, ...], clicks: int, load: Callable | None, margin: float) -> dict:
    """Click into a noisy ball and record the gaps, in ms."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_sam3d.plugin.segment_widget import SegmentWidget

    viewer = napari.Viewer()
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    radius = min(shape) / 4
    inside = sum((a - n / 2) ** 2 for a, n in zip(axes, shape, strict=True)) < radius**2
    noise = np.random.default_rng(0).normal(0, 20, shape)
    viewer.add_image((200 * inside + noise).astype(np.int16), name="ball")
    widget = SegmentWidget(viewer, load)
    viewer.window.add_dock_widget(widget, name="Segment")
    widget.runner.worker.ready.connect(lambda *_: finished.append("loaded"))
    widget.runner.worker.predicted.connect(lambda *_: finished.append("mask"))
    widget.runner.refused.connect(lambda sentence: finished.append(sentence))
    finished: list[str] = []
    gaps = Gaps()

    def wait(n: int) -> dict[str, float]:
        while len(finished) < n:
            QApplication.processEvents()
            time.sleep(0.0005)
        settle = time.perf_counter() + margin  # the frame that shows the mask counts too
        while time.perf_counter() < settle:
            QApplication.processEvents()
            time.sleep(0.0005)
        return gaps.take()

    rows = {"load": wait(1), "idle": wait(1)}
    for n in range(clicks):
        position = np.array(shape) / 2 + (0, 2 * n, -2 * n)
        widget.session.prompt_layer.add(position.tolist())
        rows[f"click {n + 1}"] = wait(2 + n)
    voxels = int((widget.session.labels.data > 0).sum())
    print(widget.controls.status.text(), flush=True)
    viewer.close()
    return {
        "voxels": voxels,
        "said": finished,
        "gaps": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 256, 256))
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--fake", type=int, metavar="N", help="no network: a ball N voxels wide")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = None if options.fake is None else lambda settings, progress: NumpyPredictor(options.fake)
    result = measure(tuple(options.shape), options.clicks, load, margin=1.0)
    result |= {
        "shape": list(options.shape),
        "model": "compact" if load is None else f"ball of {options.fake} voxels",
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
    }
    print(f"{'':10} {'largest gap':>14} {'processor':>14} {'ticks':>6}")
    for name, row in result["gaps"].items():
        print(f"{name:10} {row['gap_ms']:11} ms {row['processor_ms']:11} ms {row['ticks']:6}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
