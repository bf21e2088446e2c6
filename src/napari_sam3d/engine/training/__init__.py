"""Few-shot tuning: a handful of labelled volumes make a small adapter."""

from napari_sam3d.engine.training.course import Base
from napari_sam3d.engine.training.events import (
    Event,
    Failed,
    Finished,
    Looking,
    Saved,
    Started,
    Step,
    Validated,
    Warned,
)
from napari_sam3d.engine.training.loop import load_base, train
from napari_sam3d.engine.training.run_folder import RunFolder

__all__ = [
    "Base",
    "Event",
    "Failed",
    "Finished",
    "Looking",
    "RunFolder",
    "Saved",
    "Started",
    "Step",
    "Validated",
    "Warned",
    "load_base",
    "train",
]
