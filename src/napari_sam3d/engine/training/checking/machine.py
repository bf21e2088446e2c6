"""Whether this machine has what a training needs: a name, the weights, disk and memory."""

from __future__ import annotations

import hashlib
import shutil
from functools import lru_cache
from pathlib import Path

import psutil

from napari_sam3d.catalog import ModelSpec, model_spec
from napari_sam3d.engine.places import is_here, runs_folder, weights_file
from napari_sam3d.engine.training.checking.check import (
    GOOD,
    OTHER_NAME,
    PROBLEM,
    WARNING,
    Check,
)
from napari_sam3d.engine.training.runs import check_free, free_name
from napari_sam3d.settings import TrainSettings

_TUNED = {"compact": 4.0e6, "sam_med3d": 7.6e6, "sam3d_adapter": 25.5e6, "ma_sam": 97e6}
"""Numbers that are tuned, of each family."""
_UNKNOWN = 50e6
_COPIES = 9  # two adapters, one among those to choose, a state of three, the two largest anew
_WORK_GB = {"compact": 1.0, "sam_med3d": 1.5, "sam3d_adapter": 6.5, "ma_sam": 14.0}
"""Memory of a step, in float32."""
_MB, _GB = 1e6, 1e9


def name_check(name: str) -> Check:
    """Whether the run can have this name."""
    try:
        check_free(name)
    except ValueError as error:
        return Check("", "name", PROBLEM, str(error), OTHER_NAME, instead=free_name(name))
    return Check("", "name", GOOD, f"The adapter will be called {name}.")


def weights_check(spec: ModelSpec) -> Check:
    """Whether the weights are here and whole."""
    weights = [spec.weights]
    if spec.weights.base is not None:
        weights.append(model_spec(spec.weights.base).weights)
    size = f", {spec.weights.size / _MB:.0f} MB" if spec.weights.size else ""
    if spec.weights.shipped:
        return Check("", "weights", GOOD, f"{spec.name} comes with napari-sam3d.")
    if spec.weights.url is None and not is_here(spec):
        from napari_sam3d.engine.weights import weights_path

        try:
            weights_path(spec)
        except ValueError as error:
            return Check("", "weights", PROBLEM, str(error))
    if not is_here(spec):
        said = f"The weights of {spec.name} are downloaded first{size}."
        return Check("", "weights", WARNING, said)
    path, wanted = weights_file(spec), spec.weights.sha256
    if spec.weights.url and wanted and _sum(path, path.stat().st_mtime_ns) != wanted:
        said = f"{path.name} is not what its authors offer, and is downloaded again{size}."
        return Check("", "weights", WARNING, said)
    base = None if spec.weights.base is None else model_spec(spec.weights.base)
    if base is not None and not is_here(base):
        from napari_sam3d.engine.places import base_of

        if base_of(path) is None:
            size = f", {base.weights.size / _MB:.0f} MB" if base.weights.size else ""
            said = f"{base.name}, to which {spec.name} belongs, is downloaded first{size}."
            return Check("", "weights", WARNING, said)
    return Check("", "weights", GOOD, f"The weights of {spec.name} are here.")


def disk_check(spec: ModelSpec) -> Check:
    """Whether the files of a run have room."""
    needed = _COPIES * 4 * _TUNED.get(spec.family, _UNKNOWN)
    folder = _nearest(runs_folder())
    free = shutil.disk_usage(folder).free
    said = f"The run takes up to {_size(needed)} of disk, and {_size(free)} are free in {folder}"
    if free < needed:
        return Check("", "disk", PROBLEM, f"{said}; delete what is not needed there.")
    return Check("", "disk", GOOD, f"{said}.")


def memory_check(spec: ModelSpec, settings: TrainSettings) -> Check:
    """Whether a step will probably fit; the rehearsal tries it."""
    from napari_sam3d.engine.devices import choose_device

    try:
        device = choose_device(settings.device)
    except ValueError as error:
        return Check("", "memory", PROBLEM, str(error))
    free = float(psutil.virtual_memory().available)
    if device.type == "cuda":
        import torch

        free = float(torch.cuda.mem_get_info(device)[0])
    if spec.family not in _WORK_GB:
        return Check("", "memory", GOOD, f"{_size(free)} of memory are free on {device}.")
    needed = _WORK_GB[spec.family] * _GB
    said = f"A step needs about {_size(needed)} of memory, and {_size(free)} are free on {device}"
    if free < needed:
        return Check("", "memory", WARNING, f"{said}; close other programs, or rehearse first.")
    return Check("", "memory", GOOD, f"{said}.")


@lru_cache(maxsize=8)
def _sum(path: Path, changed: int) -> str:
    """SHA-256 of a file that was changed at that time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _nearest(folder: Path) -> Path:
    """The folder, or the closest one above it that exists."""
    return next(it for it in (folder, *folder.parents) if it.exists())


def _size(count: float) -> str:
    return f"{count / _GB:,.1f} GB" if count >= 0.1 * _GB else f"{max(1, count / _MB):.0f} MB"
