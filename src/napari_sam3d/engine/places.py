"""Where files of weights are on this machine, and what is known of them without torch."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_dir, user_data_dir
from safetensors import SafetensorError, safe_open

from napari_sam3d.catalog import ModelSpec

ZIP = b"PK\x03\x04"
"""What files of torch begin with."""
SUFFIX = ".safetensors"
"""What files of adapters end with."""
_NAME = re.compile(r"[\w][\w .+-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


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


def known_sum(spec: ModelSpec) -> str | None:
    """SHA-256 of the weights of a model, where it is known without reading them.

    Of the file as its authors offer it; None when the weights are not here, or do not say.
    """
    if spec.weights.sha256 is not None:
        return spec.weights.sha256
    path = weights_file(spec)
    if not path.is_file() or not is_safetensors(path):
        return None
    try:
        return metadata_of(path).get("sha256")
    except (OSError, SafetensorError):
        return None  # loading it says what is wrong


def data_folder() -> Path:
    """Where runs of training and adapters are: $NAPARI_SAM3D_DATA, or among the user's data."""
    chosen = os.environ.get("NAPARI_SAM3D_DATA")
    return Path(chosen) if chosen else Path(user_data_dir("napari-sam3d", appauthor=False))


def adapters_folder() -> Path:
    """Where adapters are that can be chosen by name."""
    return data_folder() / "adapters"


def check_name(name: str) -> str:
    """The name, which an adapter and its run can have; ValueError when no file can be called so."""
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name[-1] in " .":
        raise ValueError(
            f"{name!r} cannot be the name of an adapter; use letters, digits, '-' and '_'."
        )
    return name


def runs_folder() -> Path:
    """Where each training has a folder."""
    return data_folder() / "runs"


def adapter_file(name: str) -> Path:
    """Where the adapter of a name is, or would be."""
    return adapters_folder() / f"{name}{SUFFIX}"


def adapter_names() -> list[str]:
    """All that can be chosen by name, of whatever model."""
    return sorted(path.stem for path in adapters_folder().glob(f"*{SUFFIX}"))


def adapter_path(adapter: str) -> Path:
    """The file of an adapter, by its name or as a path.

    Raises
    ------
    ValueError
        When there is none; the sentence names those that are there.
    """
    for path in (adapter_file(adapter), Path(adapter)):
        if path.is_file():
            return path
    known = ", ".join(adapter_names()) or "none yet"
    raise ValueError(
        f"There is no adapter called {adapter!r}, nor a file of that name; known adapters: {known}."
    )


def adapters_of(model: str) -> list[str]:
    """Names of the adapters of a model that can be chosen; files that are none do not count."""
    names = []
    for name in adapter_names():
        with suppress(OSError, SafetensorError, ValueError):
            if json.loads(metadata_of(adapter_file(name)).get("model", "null")) == model:
                names.append(name)
    return names


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors by what it holds; in doubt its name counts."""
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(ZIP):
        return False
    return start[8:] == b"{" or path.suffix == SUFFIX


def metadata_of(path: Path) -> dict[str, str]:
    """What a safetensors file tells beside its tensors.

    Raises
    ------
    OSError, SafetensorError
        When the file cannot be read, or is damaged.
    """
    with safe_open(path, framework="np") as file:
        return file.metadata() or {}


def base_of(path: Path) -> Path | None:
    """The SAM file that adapters were saved with; None when none was named.

    Raises
    ------
    OSError, SafetensorError
        When the file cannot be read, or is damaged.
    """
    if not is_safetensors(path):
        return None
    base = metadata_of(path).get("base")
    return None if base is None else Path(base)
