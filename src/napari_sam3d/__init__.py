"""Promptable 3D segmentation for napari and the command line."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("napari-sam3d")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

_PUBLIC = {
    "Grid": "volume",
    "Volume": "volume",
    "Point": "prompts",
    "Prompts": "prompts",
    "InferenceSettings": "settings",
    "MODELS": "catalog",
    "ModelSpec": "catalog",
    "read_nifti": "io",
    "write_labels": "io",
    "Predictor": "engine.predictor",
    "Prediction": "engine.predictor",
    "load_predictor": "engine.predictor",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    """Resolve public names on first use, so that importing the package stays light (PEP 562)."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
