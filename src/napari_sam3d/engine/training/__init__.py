"""Few-shot tuning: a handful of labelled volumes make a small adapter."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_PLACES = {"Base": "course", "RunFolder": "run_folder", "load_base": "loop", "train": "loop"}
"""Modules of what is not an event."""


def __getattr__(name: str) -> Any:
    """Resolve names on first use: events, pairs and recipes are wanted without torch (PEP 562)."""
    if name in __all__:
        place = importlib.import_module(f"{__name__}.{_PLACES.get(name, 'events')}")
        return getattr(place, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
