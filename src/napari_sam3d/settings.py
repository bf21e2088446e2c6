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
    adapter: str = ""
    """What the model was tuned with: the name of an adapter, or its file; empty for none."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a model is tuned on a few labelled volumes."""

    model: str = "compact"
    """Name of the model to begin with; `napari-sam3d models` lists them."""
    adapter: str = ""
    """Begin with the model as it was tuned before: the name of an adapter, or its file."""
    effort: str = field(default="normal", metadata={"choices": ("quick", "normal", "long")})
    """How long: 100, 300 or 2000 steps."""
    steps: int = field(default=0, metadata={"min": 0, "max": 1_000_000})
    """Number of steps; 0 takes that of the effort."""
    rate: float = field(
        default=0.0, metadata={"min": 0.0, "max": 1.0, "step": 0.0001, "label": "Learning rate"}
    )
    """Learning rate; 0 takes the one that suits the model."""
    schedule: str = field(default="cosine", metadata={"choices": ("cosine", "linear")})
    """How the learning rate falls, after a short rise, to a hundredth."""
    accumulate: int = field(default=2, metadata={"min": 1, "max": 64, "label": "Patches per step"})
    """Patches that make up a step."""
    clicks: int = field(default=5, metadata={"min": 1, "max": 20, "label": "Most clicks"})
    """Most clicks on a patch."""
    background: float = field(
        default=-1.0, metadata={"min": -1.0, "max": 0.9, "step": 0.05, "label": "Background only"}
    )
    """Share of patches without the object; -1 takes what suits the model."""
    augment: bool = field(default=True, metadata={"label": "Vary patches at random"})
    """Mirror patches left to right, warp them and vary their contrast."""
    validate_every: int = field(
        default=50, metadata={"min": 1, "max": 100_000, "label": "Steps between looks"}
    )
    """Steps from one look at the held-out volumes to the next."""
    patience: int = field(default=6, metadata={"min": 0, "max": 1000, "label": "Looks to wait"})
    """Looks without a gain after which tuning ends; 0 never ends it early."""
    objects: int = field(default=5, metadata={"min": 1, "max": 1000, "label": "Objects looked at"})
    """Most objects of a held-out volume that are looked at."""
    device: str = "auto"
    """Where the network runs: auto, cpu, mps, cuda or cuda:N."""
    precision: str = field(default="auto", metadata={"choices": ("auto", "fp32", "bf16", "fp16")})
    """Number format of the network: auto takes bf16 where the device is fast at it."""
    encoder_rank: int = field(default=0, metadata={"min": 0, "max": 64})
    """Tune the encoder of SAM-Med3D too, by changes of this rank, such as 8; slower than 0."""
    checkpointing: str = field(default="auto", metadata={"choices": ("auto", "on", "off")})
    """Gradient checkpointing: blocks are computed twice, which saves memory; auto where it must."""
    seed: int = field(default=42, metadata={"min": 0, "max": 2**31 - 1})
    """Of all that is drawn at random."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def total(self) -> int:
        """Number of steps."""
        return self.steps or EFFORTS[self.effort]


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How a model is evaluated on labelled volumes."""

    protocol: str = field(
        default="cvpr25",
        metadata={"choices": ("cvpr25", "sam-med3d", "3dsam-adapter", "ma-sam")},
    )
    """Whose rules of prompting and scoring."""
    clicks: int = field(default=0, metadata={"min": 0, "max": 50})
    """Most clicks; 0 takes those of the protocol."""
    box: str = field(default="cvpr25", metadata={"choices": ("cvpr25", "true3d", "none")})
    """First round of cvpr25: the challenge's box from the middle slice, a true one, or none."""
    each: str = field(default="class", metadata={"choices": ("class", "instance")})
    """What counts as an object: a class, or each connected part (26 neighbours) of a class."""
    labels: tuple[int, ...] = ()
    """Classes to look at; all when not given."""
    objects: int = field(default=0, metadata={"min": 0, "max": 100_000})
    """Most objects of a case, drawn by its name; 0 for all."""
    smallest: int = field(default=1, metadata={"min": 1, "max": 1_000_000_000})
    """Voxels that an object must have."""
    nsd_tolerance: float = field(default=0.0, metadata={"min": 0.0, "max": 1000.0})
    """Tolerance of the surface Dice in millimetres; 0 takes that of the protocol."""
    seed: int = field(default=42, metadata={"min": 0, "max": 2**31 - 1})
    """Of what a protocol draws without a seed of its own."""

    def __post_init__(self) -> None:
        check_ranges(self)


EFFORTS = {"quick": 100, "normal": 300, "long": 2000}
"""Steps of each effort."""

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
