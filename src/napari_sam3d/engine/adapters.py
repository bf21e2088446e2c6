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

from napari_sam3d.catalog import ModelSpec, model_spec
from napari_sam3d.engine.adapter_facts import FORMAT, AdapterFacts, read_facts
from napari_sam3d.engine.adapter_files import check_base
from napari_sam3d.engine.devices import choose_device
from napari_sam3d.engine.fetch import Progress
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.places import adapter_path, known_sum
from napari_sam3d.engine.releases import check_tensors
from napari_sam3d.engine.weights import file_sum, load_model, weights_path
from napari_sam3d.io.atomic import real_target, replacing
from napari_sam3d.settings import InferenceSettings, TrainSettings


def adapter_tensors(model: PromptableModel) -> dict[str, Tensor]:
    """Copies of the tensors that few-shot tuning changes, on the CPU."""
    return {
        name: parameter.detach().cpu().clone().contiguous()
        for name, parameter in model.named_parameters()
        if model.is_adapter(name)
    }


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in half precision, which is half the file; what is too large for it stays."""
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    return {
        name: half if bool(torch.isfinite(half).all()) else tensors[name]
        for name, half in halves.items()
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


def load_tuned(
    settings: InferenceSettings | TrainSettings, progress: Progress = lambda done, total: None
) -> tuple[PromptableModel, ModelSpec]:
    """The network that settings name, with the adapter they name in it, and its row.

    Parameters
    ----------
    settings
        Model, adapter and device.
    progress
        Told how far a download is, when there is one.

    Raises
    ------
    ValueError
        For an unknown model or device, for weights that are not here, and for an adapter that
        does not belong to the model.
    OSError
        When weights cannot be fetched.
    """
    spec = model_spec(settings.model)
    model, spec = load_model(spec, choose_device(settings.device), progress)
    if settings.adapter:
        facts = load_adapter(model, spec, adapter_path(settings.adapter))
        spec = replace(spec, object_mm=facts.object_mm)
    return model, spec


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
    tensors = read_tensors(path)
    model.make_room(tensors)
    put_tensors(model, tensors, path.name)
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
    check_tensors(own, tensors, name, "that is not tuned in this model")
    for key in sorted(own):
        if not bool(torch.isfinite(tensors[key]).all()):
            raise ValueError(f"{name} is damaged: {key} holds values that are no numbers.")
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(tensors[key])


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
