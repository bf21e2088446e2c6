"""Settings: frozen dataclasses that serve the command line, the widgets and saved metadata alike."""

from __future__ import annotations

from dataclasses import dataclass, field


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
