"""Adapters go into the model they were made from, and into no other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_sam3d.catalog import MODELS, Weights, model_spec
from napari_sam3d.engine.adapter_facts import AdapterFacts, read_facts
from napari_sam3d.engine.adapters import (
    FORMAT,
    adapter_tensors,
    base_sum,
    halved,
    load_adapter,
    save_adapter,
)
from napari_sam3d.engine.models.compact import Compact
from napari_sam3d.engine.places import adapter_path, adapters_folder
from napari_sam3d.engine.predictor import load_predictor
from napari_sam3d.engine.weights import load_model
from napari_sam3d.settings import InferenceSettings

SPEC = model_spec("compact")
SAID = {"format": FORMAT} | dict.fromkeys(("model", "family", "base_sha256"), json.dumps("x"))


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch, one_thread):
    monkeypatch.setenv("NAPARI_SAM3D_DATA", str(tmp_path))


def small() -> Compact:
    return Compact(widths=(8, 16), blocks=(1, 1), up_blocks=(1,)).requires_grad_(False)


def facts(**other) -> AdapterFacts:
    told = {"model": "compact", "family": "compact", "base_sha256": base_sum(SPEC), "step": 3}
    return AdapterFacts(**{**told, **other})


def saved(path, tensors=None, **other):
    save_adapter(path, adapter_tensors(small()) if tensors is None else tensors, facts(**other))
    return path


def test_a_round_trip_changes_what_is_tuned_and_nothing_else(tmp_path):
    source, target = small(), small()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.uniform_(-1, 1)
    before = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    told = facts(classes=("femur",), dice_before=(0.5, 0.6, 0.7), intensity={"kind": "window"})
    save_adapter(tmp_path / "x.safetensors", adapter_tensors(source), told)
    assert load_adapter(target, SPEC, tmp_path / "x.safetensors") == told
    for key, tensor in target.state_dict().items():
        expected = source.state_dict()[key] if Compact.is_adapter(key) else before[key]
        assert torch.equal(tensor, expected)


def test_half_precision_takes_half_the_file_where_numbers_permit(tmp_path):
    tensors = {"small": torch.linspace(-1, 1, 3000), "large": torch.tensor([1e6, 1.0])}
    halves = halved(tensors)
    assert halves["small"].dtype == torch.float16 and halves["large"].dtype == torch.float32
    torch.testing.assert_close(halves["small"].float(), tensors["small"], atol=5e-4, rtol=1e-3)
    assert torch.equal(halves["large"], tensors["large"])
    whole, half = saved(tmp_path / "a", tensors), saved(tmp_path / "b", halves)
    assert whole.stat().st_size - half.stat().st_size == 6000


def test_tensors_in_half_precision_go_into_a_model_of_full_precision(tmp_path):
    source, target = small(), small()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.uniform_(-1, 1)
    saved(tmp_path / "x.safetensors", halved(adapter_tensors(source)))
    load_adapter(target, SPEC, tmp_path / "x.safetensors")
    for key, tensor in adapter_tensors(target).items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, source.state_dict()[key], atol=1e-3, rtol=1e-3)


def without_one(tensors):
    tensors.pop("head.2.bias")


def with_another(tensors):
    tensors["stem.bias"] = torch.zeros(8)


def of_another_shape(tensors):
    tensors["head.2.bias"] = torch.zeros(9)


def of_no_numbers(tensors):
    tensors["head.2.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without_one, "x.safetensors lacks the tensor head.2.bias"),
        (with_another, "x.safetensors has a tensor stem.bias that is not tuned"),
        (of_another_shape, r"head.2.bias has shape \(9,\), the model needs \(8,\)"),
        (of_no_numbers, "x.safetensors is damaged: head.2.bias holds"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_change_nothing(tmp_path, change, sentence):
    tensors = adapter_tensors(small())
    change(tensors)
    model = small()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=sentence):
        load_adapter(model, SPEC, saved(tmp_path / "x.safetensors", tensors))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"base_sha256": "1" * 64}, "with the SHA-256 111111111111..., but those of compact here"),
        ({"family": "sam_med3d", "model": "sam_med3d_turbo"}, "tuned for sam_med3d_turbo, but com"),
    ],
)
def test_adapters_of_other_weights_are_refused(tmp_path, other, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_adapter(small(), SPEC, saved(tmp_path / "x.safetensors", **other))


def test_files_that_are_no_adapters_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match="is no file"):
        read_facts(path)
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ValueError, match="no safetensors file"):
        read_facts(path)
    whole = saved(tmp_path / "whole.safetensors").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x.safetensors is damaged"):
        read_facts(path)
    for metadata, sentence in (
        ({}, "is no adapter"),
        ({"format": FORMAT}, "is damaged: what it says"),
        ({"format": FORMAT, "model": "{"}, "is damaged: what it says"),
        ({**SAID, "object_mm": "[5, 3]"}, "is damaged: what it says"),
        ({**SAID, "object_mm": "[1, 2, 3]"}, "is damaged: what it says"),
        ({**SAID, "priors": "[{}]"}, "is damaged: what it says"),
        ({**SAID, "priors": "1"}, "is damaged: what it says"),
        ({"format": "napari-sam3d-adapter/2"}, "written by a newer"),
    ):
        save_file({"a": torch.zeros(1)}, path, metadata)
        with pytest.raises(ValueError, match=sentence):
            read_facts(path)
    save_file({"a": torch.zeros(1)}, path, {**SAID, "of the future": "true"})
    assert read_facts(path).model == "x" and read_facts(path).priors == ()


def test_an_adapter_is_found_by_its_name_or_as_a_file(tmp_path):
    with pytest.raises(ValueError, match=r"no adapter called 'x'.*: none yet"):
        adapter_path("x")
    adapters_folder().mkdir()
    for name in ("femur", "heart"):
        saved(adapters_folder() / f"{name}.safetensors")
    assert adapter_path("femur") == adapters_folder() / "femur.safetensors"
    elsewhere = saved(tmp_path / "of a friend.safetensors")
    assert adapter_path(str(elsewhere)) == elsewhere
    with pytest.raises(ValueError, match="known adapters: femur, heart"):
        adapter_path("femu")


def test_the_predictor_takes_an_adapter():
    model, _ = load_model(SPEC, torch.device("cpu"))
    tensors = adapter_tensors(model)
    tensors["head.2.bias"] += 1
    adapters_folder().mkdir()
    saved(adapters_folder() / "x.safetensors", tensors, object_mm=(20.0, 30.5))
    for adapter, added in (("", 0), ("x", 1)):
        predictor = load_predictor(InferenceSettings(device="cpu", adapter=adapter))
        assert predictor.spec.object_mm == ((20.0, 30.5) if adapter else None)
        found = dict(predictor.model.named_parameters())
        expected = dict(model.named_parameters())["head.2.bias"] + added
        np.testing.assert_allclose(found["head.2.bias"].numpy(), expected.numpy())
        assert torch.equal(found["stem.weight"], dict(model.named_parameters())["stem.weight"])
    with pytest.raises(ValueError, match="no adapter called 'y'"):
        load_predictor(InferenceSettings(device="cpu", adapter="y"))


def test_weights_are_told_by_the_sum_of_the_file_that_was_brought(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path))
    spec = MODELS["sam3d_adapter_kits"]
    save_file({"a": torch.zeros(1)}, tmp_path / spec.weights.file, {"sha256": "2" * 64})
    assert base_sum(spec) == "2" * 64
    save_file({"a": torch.zeros(1)}, tmp_path / spec.weights.file)
    assert len(base_sum(spec)) == 64 and base_sum(spec) != "2" * 64
    known = replace(spec, weights=Weights(file="x", sha256="3" * 64))
    assert base_sum(known) == "3" * 64
