"""Adapters: the tensors that few-shot tuning changed, in a file of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.adapter_facts import FORMAT, AdapterFacts, read_facts
from napari_sam3d.engine.adapter_files import check_base
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.places import known_sum
from napari_sam3d.engine.weights import file_sum, weights_path
from napari_sam3d.io.atomic import real_target, replacing


def adapter_tensors(model: PromptableModel) -> dict[str, Tensor]:
    """Copies of the tensors that few-shot tuning changes, on the CPU."""
    return {
        name: parameter.detach().cpu().clone().contiguous()
        for name, parameter in model.named_parameters()
        if model.is_adapter(name)
    }


def save_adapter(path: Path, tensors: Mapping[str, Tensor], facts: AdapterFacts) -> None:
    """Write an adapter in one step.

    Raises
    ------
    OSError
        With one sentence; the old file is then untouched.
    """
    said = {key: json.dumps(value) for key, value in asdict(facts).items()}
    with replacing(real_target(path)) as file:
        file.write(save(dict(tensors), {"format": FORMAT, **said}))


def load_adapter(model: PromptableModel, spec: ModelSpec, path: Path) -> AdapterFacts:
    """Put an adapter into the model it was made from; the model is unchanged when it does not fit.

    Parameters
    ----------
    model
        As loaded from its weights.
    spec
        Its row in the catalog.
    path
        The file.

    Raises
    ------
    ValueError
        With one sentence, when it is damaged, or belongs to another model or other weights.
    """
    facts = read_facts(path)
    if facts.family != spec.family:
        raise ValueError(f"{path.name} was tuned for {facts.model}, but {spec.name} is loaded.")
    check_base(path.name, facts, spec, base_sum(spec))
    put_tensors(model, read_tensors(path), path.name)
    return facts


def put_tensors(model: PromptableModel, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copy tensors into the tuned parameters; ValueError names the first key or shape that differs.

    Parameters
    ----------
    model
        Where they go.
    tensors
        One for each tuned parameter.
    name
        What messages call their file.
    """
    own = {key: it for key, it in model.named_parameters() if model.is_adapter(key)}
    for key in sorted(own.keys() | tensors.keys()):
        if key not in tensors:
            raise ValueError(f"{name} lacks the tensor {key}; it belongs to another model.")
        if key not in own:
            raise ValueError(f"{name} has a tensor {key} that is not tuned in this model.")
        if own[key].shape != tensors[key].shape:
            found, wanted = tuple(tensors[key].shape), tuple(own[key].shape)
            raise ValueError(f"{name}: {key} has shape {found}, the model needs {wanted}.")
        if not bool(torch.isfinite(tensors[key]).all()):
            raise ValueError(f"{name} is damaged: {key} holds values that are no numbers.")
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(tensors[key])


def tuned(spec: ModelSpec, facts: AdapterFacts) -> ModelSpec:
    """The row of a model with an adapter in it."""
    return replace(spec, object_mm=facts.object_mm)


def base_sum(spec: ModelSpec) -> str:
    """SHA-256 of the weights of a model: of the file as its authors offer it, where that is known.

    Raises
    ------
    ValueError
        When they are not here.
    """
    return known_sum(spec) or file_sum(weights_path(spec))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """What is in the file of an adapter; ValueError when it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key).clone() for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} is damaged ({error}); copy the file again.") from error
