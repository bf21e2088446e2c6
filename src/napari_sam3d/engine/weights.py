"""Loading the networks of the catalog with their weights."""

from __future__ import annotations

import hashlib
import importlib
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.models.base import PromptableModel


def load_model(spec: ModelSpec, device: torch.device) -> PromptableModel:
    """The network of a catalog row with its weights, in float32 and evaluation mode.

    Raises
    ------
    ValueError
        When the file is missing, damaged or of another model; the sentence names it.
    """
    module, _, name = spec.family.partition(":")
    family = getattr(importlib.import_module(module), name)
    model: PromptableModel = family(**spec.sizes)
    path = weights_path(spec)
    load_exactly(model, read_tensors(path, spec.weights.sha256), path.name)
    return model.float().eval().requires_grad_(False).to(device)


def weights_path(spec: ModelSpec) -> Path:
    """Where the weights of a model are on this machine."""
    return Path(str(files("napari_sam3d.engine.models").joinpath(spec.weights.file)))


def read_tensors(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, its checksum compared when one is given."""
    if not path.is_file():
        raise ValueError(f"The weights {path} are missing; install napari-sam3d again.")
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"The weights {path} are damaged: their checksum is not the catalog's.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"The weights {path} cannot be read: {error}") from error


def load_exactly(model: torch.nn.Module, tensors: dict[str, torch.Tensor], name: str) -> None:
    """Copy tensors into a model; ValueError names the first key or shape that differs."""
    own = model.state_dict()
    for key in sorted(own.keys() | tensors.keys()):
        if key not in tensors:
            raise ValueError(f"{name} lacks the tensor {key}; it belongs to another model.")
        if key not in own:
            raise ValueError(f"{name} has a tensor {key} that the model does not know.")
        if own[key].shape != tensors[key].shape:
            found, wanted = tuple(tensors[key].shape), tuple(own[key].shape)
            raise ValueError(f"{name}: {key} has shape {found}, the model needs {wanted}.")
    model.load_state_dict(tensors)
