"""Where files of weights are on this machine, and what is known of them without torch."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir
from safetensors import safe_open

from napari_sam3d.catalog import ModelSpec

ZIP = b"PK\x03\x04"
"""What files of torch begin with."""


def models_folder() -> Path:
    """Where weights are kept: $NAPARI_SAM3D_MODELS, or a folder in the user's cache."""
    chosen = os.environ.get("NAPARI_SAM3D_MODELS")
    return Path(chosen) if chosen else Path(user_cache_dir("napari-sam3d")) / "models"


def weights_file(spec: ModelSpec) -> Path:
    """Where the weights of a model that are not shipped are, once they are here."""
    return models_folder() / spec.weights.file


def is_here(spec: ModelSpec) -> bool:
    """Whether the weights are on this machine."""
    return spec.weights.shipped or weights_file(spec).is_file()


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors by what it holds; in doubt its name counts."""
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(ZIP):
        return False
    return start[8:] == b"{" or path.suffix == ".safetensors"


def base_of(path: Path) -> Path | None:
    """The SAM file that adapters were saved with; None when none was named.

    Raises
    ------
    OSError, SafetensorError
        When the file cannot be read, or is damaged.
    """
    if not is_safetensors(path):
        return None
    with safe_open(path, framework="np") as file:
        base = (file.metadata() or {}).get("base")
    return None if base is None else Path(base)
