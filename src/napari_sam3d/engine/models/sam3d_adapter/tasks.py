"""The four tumour tasks that 3DSAM-adapter was released for, as data; no torch here."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sam3d.catalog import MODELS


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the released code does to the images of a task.

    Parameters
    ----------
    clip
        Lowest and highest intensity, in Hounsfield units.
    mean, std
        Of the clipped intensities.
    axes
        Which axis of the stored NIfTI array comes first, second and third: (d, h, w).
    target
        Label of the tumour in the task's data set.
    """

    clip: tuple[float, float]
    mean: float
    std: float
    axes: tuple[int, int, int]
    target: int


def _task(name: str, axes: tuple[int, int, int], target: int) -> Task:
    told = MODELS[f"sam3d_adapter_{name}"].intensity
    return Task(clip=(told.low, told.high), mean=told.mean, std=told.std, axes=axes, target=target)


TASKS = {
    "kits": _task("kits", (0, 1, 2), 2),
    "lits": _task("lits", (2, 1, 0), 2),
    "pancreas": _task("pancreas", (2, 1, 0), 2),
    "colon": _task("colon", (2, 1, 0), 1),
}
