"""Seconds and memory to read and write NIfTI files, beside nibabel's defaults and SimpleITK.

Every figure comes from a process of its own. Memory is Linux's high-water mark.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tyro
from io_files import AFFINE, CT, SERIES, make_files, place
from measuring import alone, memory_mb, reset_peak, timed
from report import save
from report import table as markdown

TASKS = {
    "open image .nii": 0.05,
    "read image .nii.gz": None,
    "read scaled .nii.gz": None,
    "read labels .nii.gz": None,
    "write image .nii": None,
    "write image .nii.gz": None,
    "write labels .nii": 0.5,
    "write labels .nii.gz": 0.5,
    "frame series .nii": None,
    "frame series .nii.gz": None,
    "next series .nii": None,
    "next series .nii.gz": None,
}
"""What is timed, and the seconds that ours may take. Opening is up to the first slice; a frame is
one in the middle of a time series, the next one an earlier one of the open file."""

EXTRA_MB = 64
"""Memory that ours may take beyond the array."""

Figures = dict[str, dict[str, tuple[float, float]]]
"""By task and library, seconds and megabytes."""


def ours(verb: str, path: Path, given: Any) -> Any:
    from napari_sam3d.io import open_nifti, read_nifti, write_image, write_labels

    match verb:
        case "open":
            opened = read_nifti(path)
            return opened, int(np.asarray(opened.data[0]).sum())
        case "read":
            return read_nifti(path).data
        case "frame":
            opened = open_nifti(path)
            return opened, int(np.asarray(opened.data[57]).sum())
        case "next":
            return int(np.asarray(given[0].data[31]).sum())
        case "given":  # a layer holds its array in display order, in memory
            volume = read_nifti(path)
            return replace(volume, data=np.array(volume.data, order="C"))
    write = write_labels if "labels" in path.name else write_image
    return write(path, given.data, given.grid, given.source)


def nibabel(verb: str, path: Path, given: Any) -> Any:
    import nibabel as nib

    match verb:
        case "open":
            opened = nib.load(path)
            return opened, int(np.asanyarray(opened.dataobj)[..., 0].sum())
        case "read":
            return np.asanyarray(nib.load(path).dataobj)
        case "given":
            return np.array(nib.load(path).dataobj, order="F")
        case "frame":
            opened = nib.load(path)
            return opened, int(np.asarray(opened.dataobj[..., 57]).sum())
        case "next":
            return int(np.asarray(given[0].dataobj[..., 31]).sum())
    return nib.Nifti1Image(given, AFFINE).to_filename(path)


def simple_itk(verb: str, path: Path, given: Any) -> Any:
    import SimpleITK as sitk

    match verb:
        case "open" | "frame":
            opened = sitk.ReadImage(str(path))
            at = 57 if verb == "frame" else 0
            return opened, int(sitk.GetArrayViewFromImage(opened)[at].sum())
        case "read" | "given":
            return sitk.ReadImage(str(path))
        case "next":
            return int(sitk.GetArrayViewFromImage(given[0])[31].sum())
    return sitk.WriteImage(given, str(path))


LIBRARIES: dict[str, Callable[[str, Path, Any], Any]] = {
    "ours": ours,
    "nibabel": nibabel,
    "SimpleITK": simple_itk,
}


def measure(library: str, task: str, folder: Path) -> tuple[float, float]:
    """Seconds of a task, and megabytes at its peak beyond the array that it reads or writes."""
    run_task(library, task, folder / "small")  # imports, and what is looked up once
    return run_task(library, task, folder)


def run_task(library: str, task: str, folder: Path) -> tuple[float, float]:
    verb, kind, suffix = task.split()
    function, path, given = LIBRARIES[library], place(folder, kind, suffix), None
    if verb == "write":
        given = function("given", place(folder, kind, ".nii"), None)
        path = place(folder, f"{library}_{kind}", suffix)
        path.unlink(missing_ok=True)
    if verb == "next":
        given = function("frame", path, None)
    before = memory_mb("VmRSS")
    reset_peak()
    kept, seconds = timed(lambda: function(verb, path, given))
    extra = memory_mb("VmHWM") - before
    if verb == "read":
        extra -= getattr(kept, "nbytes", 0) / 1e6 or kept.GetSizeOfPixelComponent() * (
            kept.GetNumberOfPixels() / 1e6
        )
    return seconds, extra


@dataclass(frozen=True)
class IO:
    """Time and weigh reading and writing of a 512 x 512 x 300 CT and its label map."""

    repeats: int = 5
    tasks: tuple[str, ...] = tuple(TASKS)
    shape: tuple[int, int, int] = CT
    """Stored voxels (i, j, k) of the image; the time series is as much smaller along its axes."""
    output: Path | None = None
    """Where to put the figures as JSON."""

    def run(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            alone(make_files, folder / "small", (8, 8, 4), (8, 8, 4, 60))
            frame = (max(8, n * m // o) for n, m, o in zip(SERIES, self.shape, CT, strict=False))
            alone(make_files, folder, self.shape, (*frame, SERIES[3]))
            sizes = {p.name: round(p.stat().st_size / 1e6, 2) for p in folder.glob("nii.gz/*")}
            figures: Figures = {}
            for task in self.tasks:
                runs: dict[str, list[tuple[float, float]]] = {one: [] for one in LIBRARIES}
                for _ in range(self.repeats):  # in turn, so that a busy machine is busy for all
                    for one, its in runs.items():
                        its.append(alone(measure, one, task, folder))
                figures[task] = {
                    one: (median(s for s, _ in its), median(m for _, m in its))
                    for one, its in runs.items()
                }
        text = f"MB gzipped by nibabel: {sizes}; median of {self.repeats}\n\n{table(figures)}"
        print(text)
        if self.output:
            rows = [
                {"task": task, "library": one, "seconds": seconds, "extra_mb": extra}
                for task, of in figures.items()
                for one, (seconds, extra) in of.items()
            ]
            save("io", self.output, rows, headline(figures), text)


def table(figures: Figures) -> str:
    """Markdown; the last column says what ours misses of its targets."""
    lines = []
    for task, of in figures.items():
        seconds = [f"{of[one][0]:.3f}" for one in LIBRARIES]
        memory = " / ".join(f"{of[one][1]:.0f}" for one in LIBRARIES)
        ratio = f"{of['ours'][0] / of['nibabel'][0]:.2f}"
        lines.append([task, *seconds, ratio, memory, ", ".join(missed(task, of)) or "met"])
    heads = ["task", *(f"{one} s" for one in LIBRARIES), "ours / nibabel", "extra MB", "target"]
    return markdown(heads, lines)


def missed(task: str, of: dict[str, tuple[float, float]]) -> list[str]:
    """What ours misses of its targets in a task."""
    seconds, extra = of["ours"]
    found = []
    if seconds > (limit := TASKS.get(task) or float("inf")):
        found.append(f"over {limit} s")
    if task.startswith("read") and seconds > of["nibabel"][0]:
        found.append("slower than nibabel")
    if not task.startswith(("frame", "next")) and extra > EXTRA_MB:
        found.append(f"over {EXTRA_MB} MB")
    return found


def headline(figures: Figures) -> str:
    """Ours beside nibabel in each task, and how many targets are met."""
    met = sum(not missed(task, of) for task, of in figures.items())
    told = (
        f"{task} {of['ours'][0]:.3f} s (nibabel {of['nibabel'][0]:.3f} s)"
        for task, of in figures.items()
        if task in ("open image .nii", "read image .nii.gz", "write labels .nii.gz")
    )
    return f"{', '.join([*told, f'{met} of {len(figures)} targets met'])}."


if __name__ == "__main__":
    tyro.cli(IO).run()
