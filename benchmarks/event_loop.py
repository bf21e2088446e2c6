"""Longest stalls of napari's event loop while the docks are used, and what they are made of.

A timer of 10 ms runs in the window's thread; the largest gap between two of its ticks is what a
user feels as a freeze. Beside it stands the processor time that this thread itself used in that
gap: the rest was waiting, for a processor or for Python's lock; and the longest search for garbage
of Python, which stops all threads. A second thread looks at the stacks
meanwhile; the last column names what was seen most often in gaps of more than 50 ms, in the
window's thread and, behind a bar, in another one: the innermost function of ours with the library
that it was in, else the innermost function of a library. "napari alone" stands for what adding and
removing layers costs without any plugin.

Every repeat is a fresh process, since torch is loaded once only. Run it with a screen, or:

    xvfb-run -a -s "-screen 0 1280x1024x24" python benchmarks/event_loop.py --out event_loop.json
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from report import save
from report import table as markdown

TICK_MS = 10
FELT_S = 0.05
"""Stacks are looked at in gaps of more than this."""
KNOWN = ("napari_sam3d", "napari", "vispy", "torch", "scipy", "cc3d", "nibabel")
BIG = (300, 512, 512)
SMALL = (48, 64, 64)
"""Of the volumes that are trained on."""


class Gaps:
    """Records the time between the ticks of a timer, and the stacks while one is late."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self._gaps: list[tuple[float, float]] = []
        self._seen: Counter[tuple[str, str]] = Counter()
        self._garbage_s, self._begun = 0.0, 0.0
        self._last = time.perf_counter(), time.thread_time()
        self._main = threading.get_ident()
        self._timer = QTimer(interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        gc.callbacks.append(self._on_garbage)
        threading.Thread(target=self._watch, daemon=True).start()

    def take(self) -> dict[str, Any]:
        """What there was since the last call; times in ms."""
        self._tick()
        taken, self._gaps = self._gaps, []
        seen, self._seen = self._seen, Counter()
        gap, used = max(taken)
        (window, other), _ = seen.most_common(1)[0] if seen else (("", ""), 0)
        return {
            "gap_ms": round(1000 * gap, 1),
            "processor_ms": round(1000 * used, 1),
            "garbage_ms": round(1000 * self._garbage_s, 1),
            "over_100_ms": sum(it[0] > 0.1 for it in taken),
            "window": window,
            "other": other,
        }

    def start(self) -> None:
        """Forget everything before this moment."""
        self._tick()
        self._gaps.clear()
        self._seen.clear()
        self._garbage_s = 0.0

    def _tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self._gaps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    def _on_garbage(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            self._garbage_s = max(self._garbage_s, time.perf_counter() - self._begun)

    def _watch(self) -> None:
        own = threading.get_ident()
        while True:
            time.sleep(0.01)
            if time.perf_counter() - self._last[0] > FELT_S:
                stacks = sys._current_frames()
                if self._main not in stacks:
                    return
                others = [where(it) for key, it in stacks.items() if key not in (own, self._main)]
                busy = [it for it in others if it]
                self._seen[where(stacks[self._main]), busy[0] if busy else ""] += 1


def where(frame: Any) -> str:
    """The innermost function of ours and the library it is in; nothing for a thread that waits."""
    if frame.f_code.co_name in ("wait", "_wait_for_tstate_lock"):
        return ""
    library = function = ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        name = module.split(".")[0]
        if name == "napari_sam3d":
            ours = f"{module.removeprefix('napari_sam3d.')}.{frame.f_code.co_name}"
            return f"{ours}, in {library}" if library else ours
        if not library and name in KNOWN:
            library, function = name, f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    return function


class Phases:
    """Does one thing after the other in a running event loop."""

    def __init__(self) -> None:
        self.gaps = Gaps()
        self.rows: dict[str, dict[str, Any]] = {}

    def wait(self, done: Callable[[], bool], settle_s: float = 0.5) -> None:
        """Run the event loop until something is done, and a little longer: frames count too."""
        from qtpy.QtCore import QEventLoop, QTimer

        loop, poll = QEventLoop(), QTimer(interval=TICK_MS)
        limit = time.perf_counter() + 300
        end: list[float] = []

        def look() -> None:
            now = time.perf_counter()
            if now > limit:
                raise SystemExit("This took more than five minutes.")
            if not end and done():
                end.append(now + settle_s)
            if end and now >= end[0]:
                loop.quit()

        poll.timeout.connect(look)
        poll.start()
        loop.exec()
        poll.stop()

    def do(self, name: str, act: Callable[[], Any], done: Callable[[], bool] = lambda: True) -> Any:
        """Act in the window's thread; the gaps until it is done are those of this phase."""
        self.gaps.start()
        result = act()
        self.wait(done)
        self.rows[name] = self.gaps.take()
        return result


def volume(shape: tuple[int, ...]) -> np.ndarray:
    """A noisy ball, int16."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    inside = sum((a - n / 2) ** 2 for a, n in zip(axes, shape, strict=True)) < min(shape) ** 2 / 36
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    return (200 * inside + 20 * noise).astype(np.int16)


def measure(shape: tuple[int, ...], clicks: int) -> dict[str, Any]:
    """One pass through all phases."""
    import napari
    import nibabel

    data = volume(shape)
    folder = Path(tempfile.mkdtemp())
    os.environ["NAPARI_SAM3D_WORK"] = str(folder / "work")
    os.environ["NAPARI_SAM3D_DATA"] = str(folder / "data")
    os.environ["NAPARI_CONFIG"] = str(folder / "settings.yaml")
    nibabel.save(nibabel.Nifti1Image(data.T, np.eye(4)), folder / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(data.T, np.eye(4)), folder / "ct.nii")
    viewer = napari.Viewer()
    small = viewer.add_image(np.zeros((8, 16, 16), np.int16), name="small")
    phases = Phases()
    do = phases.do
    phases.wait(lambda: True, settle_s=2)
    do("idle", lambda: phases.wait(lambda: True, settle_s=1))
    empty = np.zeros(shape, np.uint8)
    alone = do("napari alone: add labels", lambda: viewer.add_labels(empty))
    points = do("napari alone: add points", lambda: viewer.add_points(ndim=3))
    do("napari alone: remove points", lambda: viewer.layers.remove(points))
    viewer.layers.remove(alone)

    def shown() -> bool:
        return len(viewer.layers) > 0 and viewer.layers[-1].data.shape[-1] == shape[-1]

    viewer.layers.remove(small)
    do("open the array in napari", lambda: viewer.add_image(data, name="array"), shown)
    viewer.layers.clear()
    for suffix in (".nii", ".nii.gz"):
        viewer.layers.clear()
        path = folder / f"ct{suffix}"
        do(f"open {suffix}", lambda path=path: viewer.open(path, plugin="napari-sam3d"), shown)
    image = viewer.layers[0]
    viewer.add_image(np.zeros((8, 16, 16), np.int16), name="small", units=image.units)
    viewer.layers.selection.active = viewer.layers["small"]
    opened = do(
        "open the dock",
        lambda: viewer.window.add_plugin_dock_widget("napari-sam3d", "Segment"),
    )
    dock = opened[1]
    heard: list[str] = []
    worker, session = dock.runner.worker, dock.session
    worker.ready.connect(lambda *_: heard.append("loaded"))
    worker.predicted.connect(lambda *_: heard.append("mask"))
    dock.runner.refused.connect(lambda sentence: heard.append(sentence))
    do("load the model", lambda: None, lambda: len(heard) >= 1)
    do("choose the image", lambda: setattr(dock.images, "value", image), lambda: len(heard) >= 2)
    assert session.image == image, "the dock took another image"

    def click(n: int) -> None:
        position = np.array(shape) // 2 + (0, 2 * n, -2 * n)
        session.prompt_layer.add(position.tolist())

    def answered() -> Callable[[], bool]:
        before = heard.count("mask")
        return lambda: heard.count("mask") > before and not dock.keeper._now.isActive()

    autosave = dock.keeper.autosave
    do("first click", lambda: click(0), answered())
    for n in range(1, clicks + 1):
        do(f"later click {n}", lambda n=n: click(n), answered())
    do("threshold", lambda: dock.set_value(_threshold(dock.value(), 0.4)))
    do("hand stroke", lambda: _stroke(session.labels, shape))
    do("new object", session.new_object)
    do("switch objects", lambda: session.select(1))
    do("undo", session.undo)
    do("redo", session.redo)
    do("autosave", lambda: (click(6), autosave.save()), answered())
    viewer.layers.selection.active = session.labels
    target = str(folder / "mask.nii.gz")
    do("write the masks", lambda: viewer.layers.save(target, selected=True))
    voxels = int(np.count_nonzero(session.labels.data))
    status = _text(dock.controls.status)
    trained = training(viewer, phases, folder, click, answered)
    do("close the dock", lambda: viewer.window.remove_dock_widget(dock))
    viewer.close()
    return {
        "voxels": voxels,
        "status": status,
        "said": heard,
        "trained": trained,
        "phases": phases.rows,
    }


def training(
    viewer: Any,
    phases: Phases,
    folder: Path,
    click: Callable[[int], None],
    answered: Callable[[], Callable[[], bool]],
) -> list[str]:
    """Tune the model in the Train dock, with a click meanwhile; returns what came of it."""
    import nibabel

    from napari_sam3d.settings import TrainSettings

    pairs = folder / "pairs"
    pairs.mkdir()
    for name in "abc":
        data = volume(SMALL)
        nibabel.save(nibabel.Nifti1Image(data.T, np.eye(4)), pairs / f"{name}.nii.gz")
        labels = (data > 100).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(labels.T, np.eye(4)), pairs / f"{name}_seg.nii.gz")
    _, dock = phases.do(
        "open the Train dock",
        lambda: viewer.window.add_plugin_dock_widget("napari-sam3d", "Train"),
    )
    trainer, preparing = dock.trainer, dock.preparing
    told: list[str] = []
    trainer.event.connect(lambda event: told.append(type(event).__name__))
    trainer.failed.connect(told.append)
    dock.set_value(TrainSettings(steps=8, validate_every=4, objects=1))

    def checked() -> bool:
        return trainer.state == "idle" and not preparing.obstacle

    phases.do("read and check pairs", lambda: preparing.add_folder(pairs), checked)

    def over() -> bool:
        return trainer.state == "idle" or "Finished" in told

    # the libraries, a look at what is held out, and the first step
    phases.do("begin a training", dock.run.start_requested.emit, lambda: "Step" in told or over())
    masks: list[Callable[[], bool]] = []
    phases.do(
        "training, and a click",
        lambda: (masks.append(answered()), click(8)),
        lambda: masks[0]() and trainer.state == "idle",
    )
    phases.do("close the Train dock", lambda: viewer.window.remove_dock_widget(dock))
    return [f"{name}: {told.count(name)}" for name in dict.fromkeys(told)]


def _text(status: Any) -> str:
    return status.text() if callable(getattr(status, "text", None)) else str(status)


def _threshold(settings: Any, threshold: float) -> Any:
    from dataclasses import replace

    return replace(settings, threshold=threshold)


def _stroke(labels: Any, shape: tuple[int, ...]) -> None:
    """Erase a line with napari's brush, as a mouse does: one history step of many dabs."""
    labels.brush_size = 10
    z, y, x = (n // 2 for n in shape)
    with labels.block_history():
        for step in range(20):
            labels.paint((z, y + step, x), 0)


def summary(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Medians and maxima over the repeats; later clicks are put together."""
    merged: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        for name, row in result["phases"].items():
            key = "later clicks" if name.startswith("later click") else name
            merged.setdefault(key, []).append(row)
    out = {}
    for name, rows in merged.items():
        worst = max(rows, key=lambda row: row["gap_ms"])
        out[name] = {
            "median_ms": round(statistics.median(row["gap_ms"] for row in rows), 1),
            "max_ms": worst["gap_ms"],
            "processor_ms": worst["processor_ms"],
            "garbage_ms": max(row["garbage_ms"] for row in rows),
            "window": worst["window"],
            "other": worst["other"],
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=BIG, metavar="N", help="z y x")
    parser.add_argument("--clicks", type=int, default=3, help="after the first one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", "--output", type=Path)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        result = measure(tuple(options.shape), options.clicks)
        options.once.write_text(json.dumps(result))
        return
    results = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "once.json"
            shape = [str(n) for n in options.shape]
            words = [sys.executable, __file__, "--once", str(path), "--clicks", str(options.clicks)]
            subprocess.run([*words, "--shape", *shape], check=True)
            results.append(json.loads(path.read_text()))
        print(f"{results[-1]['status']} {results[-1]['voxels']} voxels", flush=True)
    figures = summary(results)
    print(table(figures))
    if options.out:
        told = {"shape": options.shape, "repeats": options.repeats}
        rows = [{"phase": name, **row, **told} for name, row in figures.items()]
        save("event_loop", options.out, rows, headline(figures), table(figures))


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Markdown; milliseconds, and where the window was in the longest gap."""
    lines = []
    for name, row in figures.items():
        keys = ("median_ms", "max_ms", "processor_ms", "garbage_ms")
        beside = f"; {row['other']}" if row["other"] else ""
        lines.append([name, *(f"{row[key]:.0f}" for key in keys), f"{row['window']}{beside}"])
    heads = ["phase", "median ms", "max ms", "processor ms", "garbage ms", "where in the longest"]
    return markdown(heads, lines)


def headline(figures: dict[str, dict[str, Any]]) -> str:
    """The longest gaps, those of napari alone aside."""
    ours = {name: row for name, row in figures.items() if "napari" not in name}
    worst = sorted(ours, key=lambda name: -ours[name]["median_ms"])[:3]
    told = (f"{name} {ours[name]['median_ms']:.0f} ms" for name in worst)
    later = figures["later clicks"]["median_ms"]
    return f"Longest stalls: {', '.join(told)}; a later click {later:.0f} ms."


if __name__ == "__main__":
    main()
