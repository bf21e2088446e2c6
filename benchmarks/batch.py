"""How many volumes a minute a batch segments in one process and in several, one of them killed.

The volumes are pieces of phantoms about five organs, with a file of prompts each: one click deep in
the organ. Every run is the command itself, from its start to its end, the loading of the model
included. One loses a worker to SIGKILL in the middle of a case. The masks of all runs are held
against those of the first, to the byte. Every process uses one core: with another number
a network rounds otherwise, and voxels at a border may fall on its other side.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tyro
from report import save, table
from scipy.ndimage import distance_transform_edt

from napari_sam3d.io import read_nifti, write_image
from napari_sam3d.io.prompt_file import write_prompts
from napari_sam3d.io.prompt_rows import ObjectPrompts
from napari_sam3d.phantom import draw_phantom
from napari_sam3d.prompts import Point
from napari_sam3d.volume import Grid

ORGANS = ("liver", "spleen", "left kidney", "right kidney", "heart")
SPACING_MM = (3.0, 2.0, 2.0)
HEADS = ("run", "s", "volumes / min", "speed", "masks", "equal", "died of", "done twice")


@dataclass(frozen=True)
class Batch:
    """Measure batches."""

    volumes: int = 40
    side: int = 48
    """Voxels of a volume along each axis."""
    workers: int = 2
    model: str = "compact"
    all_cores: bool = False
    """Measure one process that uses all cores, too."""
    seed: int = 0
    output: Path | None = None
    """Where to put the figures as JSON."""

    def run(self) -> None:
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            scans = Path(folder) / "scans"
            make(scans, self.volumes, self.side, self.seed)
            first = Path(folder) / "masks 0"
            runs = [(1, 1, False), (self.workers, 1, False), (self.workers, 1, True)]
            runs += [(1, 0, False)] * self.all_cores
            for number, (workers, threads, kill) in enumerate(runs):
                masks = Path(folder) / f"masks {number}"
                row = measure(scans, masks, self.model, workers, threads, kill)
                row |= {"speed": rows[0]["seconds"] / row["seconds"] if rows else 1.0}
                rows.append(row | compare(masks, first))
                print(f"{row['run']}: {row['seconds']:.1f} s", flush=True)
        text = table(HEADS, [cells(row) for row in rows])
        print(text)
        if self.output:
            save("batch", self.output, rows, headline(rows, self.volumes), text)


def make(folder: Path, count: int, side: int, seed: int) -> None:
    """Write volumes and what is said about them."""
    folder.mkdir()
    for number in range(count):
        drawn, organ = divmod(number, len(ORGANS))
        if organ == 0:
            image, labels, names = draw_phantom(seed + drawn)
            values = {name: value for value, name in names.items()}
        inside = labels == values[ORGANS[organ]]
        middle = [round(float(found.mean())) for found in np.nonzero(inside)]
        starts = [
            min(max(m - side // 2, 0), n - side) for m, n in zip(middle, labels.shape, strict=True)
        ]
        window = tuple(slice(start, start + side) for start in starts)
        depth = distance_transform_edt(np.pad(inside[window], 1), SPACING_MM)[1:-1, 1:-1, 1:-1]
        z, y, x = (float(c) for c in np.unravel_index(depth.argmax(), depth.shape))
        path = folder / f"{ORGANS[organ].replace(' ', '-')}-{drawn}.nii.gz"
        piece = image[window]
        write_image(path, piece, Grid.from_spacing(piece.shape, SPACING_MM))
        said = [ObjectPrompts(1, (Point((z, y, x)),), ORGANS[organ])]
        prompts = path.with_name(path.name.replace(".nii.gz", "_prompts.json"))
        write_prompts(prompts, said, read_nifti(path))


def measure(
    scans: Path, masks: Path, model: str, workers: int, threads: int, kill: bool
) -> dict[str, Any]:
    """Run the command; what it took, and what it told.

    Parameters
    ----------
    scans, masks, model, workers
        What is given to it.
    threads
        Cores for each process; 0 for all of them.
    kill
        Whether to kill a worker when a third of the cases is done.
    """
    words = ["batch", scans, "-o", masks, "--model", model, "--workers", workers, "--json"]
    words += ["--threads", threads]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_sam3d.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
    )
    count = len(list(scans.glob("*.nii.gz")))
    killed = kill_one(masks / "batch" / "cases", count // 3, process) if kill else ""
    out, _ = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"The batch ended with {process.returncode}: {out}")
    cases = json.loads(out)["cases"]
    name = "one process" if workers == 1 else f"{workers} processes"
    name += ", all cores" * (threads == 0) + ", one killed" * kill
    return {
        "run": name,
        "workers": workers,
        "seconds": seconds,
        "volumes_per_minute": 60 * len(cases) / seconds,
        "killed_in": killed,
        "twice": sorted(it["case"] for it in cases if it["lost"]),
    }


def kill_one(cases: Path, after: int, process: subprocess.Popen) -> str:
    """Kill a worker in the middle of a case, when so many are complete; the name of the case."""
    while process.poll() is None:
        if len(list(cases.glob("*.json"))) >= after:
            for mark in cases.glob("*.attempt1"):
                try:
                    number = int(mark.read_text().split()[1])
                except (FileNotFoundError, IndexError):  # it is done, or not yet written
                    continue
                os.kill(number, signal.SIGSTOP)  # else it might be done before it dies
                if mark.exists() and not mark.with_suffix(".json").exists():
                    os.kill(number, signal.SIGKILL)
                    return mark.stem
                os.kill(number, signal.SIGCONT)
        time.sleep(0.002)
    raise RuntimeError("No worker could be killed: the batch was over.")


def compare(masks: Path, first: Path) -> dict[str, int]:
    """How many masks there are, and how many are those of the first run to the byte."""
    names = [path.name for path in masks.glob("*.nii.gz")]
    equal = [name for name in names if stored(masks / name) == stored(first / name)]
    return {"masks": len(names), "equal": len(equal)}


def stored(path: Path) -> tuple[bytes, bytes]:
    image = nib.load(path)
    return np.asarray(image.dataobj).tobytes(), image.affine.tobytes()


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["run"],
        f"{row['seconds']:.1f}",
        f"{row['volumes_per_minute']:.0f}",
        f"{row['speed']:.2f}",
        str(row["masks"]),
        str(row["equal"]),
        row["killed_in"],
        ", ".join(row["twice"]),
    )


def headline(rows: list[dict[str, Any]], count: int) -> str:
    one, several, killed, *_ = rows
    equal = min(several["equal"], killed["equal"])
    return (
        f"{count} volumes: {one['volumes_per_minute']:.0f} a minute in one process, "
        f"{several['volumes_per_minute']:.0f} in {several['workers']}, "
        f"{killed['volumes_per_minute']:.0f} with one of them killed; {equal} of {count} masks "
        "are the same in all three."
    )


if __name__ == "__main__":
    tyro.cli(Batch).run()
