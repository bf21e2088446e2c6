"""The networks of the catalog with their weights, wherever these are."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import torch

from napari_sam3d.catalog import MODELS, ModelSpec, model_spec
from napari_sam3d.engine.checkpoints import read_checkpoint
from napari_sam3d.engine.fetch import Progress, fetch
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.places import base_of, weights_file
from napari_sam3d.engine.releases import Parts, build, fitted, read_parts, sam_size


def load_model(
    spec: ModelSpec, device: torch.device, progress: Progress = lambda done, total: None
) -> tuple[PromptableModel, ModelSpec]:
    """The network of a catalog row with its weights, in float32 and evaluation mode.

    Parameters
    ----------
    spec
        The row.
    device
        Where the network goes.
    progress
        Told how far a download is, when there is one.

    Returns
    -------
    tuple
        The network, and the row with the patch that the file really has.

    Raises
    ------
    ValueError
        When the file is missing, damaged or of another model; the sentence names it.
    OSError
        When it cannot be fetched.
    """
    path = weights_path(spec, progress)
    if spec.weights.shipped:
        check_sum(path, spec.weights.sha256)
        parts = Parts(spec.family, {}, dict(read_checkpoint(path)))
    else:
        parts = read_parts(path, _base(spec, path, progress))
    if parts.family != spec.family:
        raise ValueError(f"{path.name} holds weights of {parts.family}, not of {spec.name}.")
    if spec.name == "medsam":
        parts = replace(parts, sizes={**parts.sizes, "med_sam": True})
    return build(parts, path.name).to(device), fitted(spec, parts)


def weights_path(spec: ModelSpec, progress: Progress = lambda done, total: None) -> Path:
    """Where the weights of a model are on this machine, fetched when they have to be.

    Raises
    ------
    ValueError
        When the user has to add them; the sentence says how.
    OSError
        When they cannot be fetched.
    """
    if spec.weights.shipped:
        return Path(str(files("napari_sam3d.engine.models").joinpath(spec.weights.file)))
    if spec.weights.url is not None:
        return fetch(spec.weights, progress)
    path = weights_file(spec)
    if not path.is_file():
        raise ValueError(
            f"The weights of {spec.name} have no public address: get them from "
            f"{spec.weights.page} and run `napari-sam3d models add FILE --as {spec.name}`."
        )
    return path


def check_sum(path: Path, sha256: str | None) -> None:
    """ValueError when a file is missing or has another checksum than it should."""
    if not path.is_file():
        raise ValueError(f"The weights {path} are missing; install napari-sam3d again.")
    if sha256 is not None and file_sum(path) != sha256:
        raise ValueError(f"The weights {path} are damaged: their checksum is not the catalog's.")


def file_sum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _base(spec: ModelSpec, path: Path, progress: Progress) -> Path | None:
    """The SAM file under adapters: the one that was named with them, else the catalog's."""
    if spec.family != "ma_sam":
        return None
    named = base_of(path)
    if named is not None:
        return named
    return weights_path(model_spec(sam_size(read_checkpoint(path), path.name)), progress)


def rows_of(family: str) -> list[ModelSpec]:
    """The rows of the catalog with a network of this family."""
    return [spec for spec in MODELS.values() if spec.family == family]
