"""The four tumour tasks that 3DSAM-adapter was released for, as data; no torch here."""

from __future__ import annotations

from dataclasses import dataclass


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


TASKS = {
    "kits": Task(clip=(-54, 247), mean=59.53867, std=55.457336, axes=(0, 1, 2), target=2),
    "lits": Task(clip=(-48, 163), mean=60.057533, std=40.198017, axes=(2, 1, 0), target=2),
    "pancreas": Task(clip=(-39, 204), mean=68.45214, std=63.422806, axes=(2, 1, 0), target=2),
    "colon": Task(clip=(-57, 175), mean=65.175035, std=32.651197, axes=(2, 1, 0), target=1),
}
