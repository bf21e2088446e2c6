"""Settings: frozen dataclasses that serve the command line, the widgets and saved metadata."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """How a mask is computed from prompts."""

    model: str = "compact"
    """Name of the model; `napari-sam3d models` lists them."""
    device: str = "auto"
    """Where the network runs: auto, cpu, mps, cuda or cuda:N."""
    precision: str = field(default="auto", metadata={"choices": ("auto", "fp32", "bf16", "fp16")})
    """Number format of the network: auto takes bf16 where the device is fast at it."""
    threshold: float = field(default=0.5, metadata={"min": 0.01, "max": 0.99, "step": 0.01})
    """Probability above which a voxel belongs to the object."""
    slices: str = field(
        default="auto", metadata={"choices": ("auto", "axial", "coronal", "sagittal")}
    )
    """How 2D models cut a volume; auto across the longest edge of its voxels, as it was scanned."""
    keep_clicked: bool = field(default=False, metadata={"label": "Keep the clicked part only"})
    """Of parts of a mask that do not touch, drop those without a positive point."""
    fill_holes: bool = False
    """Fill holes that the mask encloses on all sides."""
    smooth_mm: float = field(
        default=0.0, metadata={"min": 0.0, "max": 10.0, "step": 0.5, "label": "Smooth (mm)"}
    )
    """Round the surface off: standard deviation of a Gaussian, in millimetres; 0 leaves it."""

    def __post_init__(self) -> None:
        check_ranges(self)


AFTER_THE_NETWORK = ("threshold", "keep_clicked", "fill_holes", "smooth_mm")
"""Fields that say what is made of the network's answer."""


def check_ranges(settings: Any) -> None:
    """Hold the values of a settings dataclass against the metadata of its fields.

    Raises
    ------
    ValueError
        When a value is below `min`, above `max` or not among `choices`.
    """
    for declared in fields(settings):
        value, limits = getattr(settings, declared.name), declared.metadata
        name = type(settings).__name__
        if "choices" in limits and value not in limits["choices"]:
            choices = ", ".join(map(str, limits["choices"]))
            raise ValueError(f"{name}.{declared.name} is {value!r}; it can be one of {choices}.")
        low, high = limits.get("min", float("-inf")), limits.get("max", float("inf"))
        if ("min" in limits or "max" in limits) and not low <= value <= high:
            raise ValueError(f"{name}.{declared.name} is {value!r}; it must be {low} to {high}.")
