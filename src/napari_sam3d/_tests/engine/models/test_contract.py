"""The contract that every model family keeps, checked on all rows of the catalog."""

from __future__ import annotations

import importlib

import pytest
import torch

from napari_sam3d.catalog import MODELS
from napari_sam3d.engine.models.base import PatchPrompts, PromptableModel
from napari_sam3d.engine.weights import load_exactly, load_model, read_tensors, weights_path


def build(name: str) -> PromptableModel:
    module, _, family = MODELS[name].family.partition(":")
    torch.manual_seed(0)
    return getattr(importlib.import_module(module), family)(**MODELS[name].sizes)


def prompts(batch: int, shape: tuple[int, int, int]) -> PatchPrompts:
    points = torch.rand(batch, 2, 3) * torch.tensor(shape)
    return PatchPrompts(points, torch.tensor([[1, 0]] * batch), torch.zeros(batch, 1, *shape))


@pytest.mark.parametrize("name", MODELS)
def test_shapes_and_finiteness(name):
    shape = MODELS[name].patch_shape
    model = build(name).eval()
    with torch.no_grad():
        masks = model(torch.randn(2, 1, *shape), prompts(2, shape))
    assert masks.logits.shape == (2, 1, *shape) and masks.logits.dtype == torch.float32
    assert masks.iou.shape == (2,) and ((masks.iou >= 0) & (masks.iou <= 1)).all()
    assert torch.isfinite(masks.logits).all()


@pytest.mark.parametrize("name", MODELS)
def test_the_embedding_does_not_depend_on_prompts_and_is_not_used_up(name):
    shape = MODELS[name].patch_shape
    model = build(name).eval()
    asked = prompts(1, shape)
    with torch.no_grad():
        embedding = model.encode_image(torch.randn(1, 1, *shape))
        first = model.decode_masks(embedding, asked).logits
        other = model.decode_masks(embedding, prompts(1, shape)).logits
        again = model.decode_masks(embedding, asked).logits
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("name", MODELS)
def test_some_parameters_are_adapters_and_some_are_not(name):
    model = build(name)
    chosen = [model.is_adapter(key) for key, _ in model.named_parameters()]
    assert any(chosen) and not all(chosen)


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_in_the_catalog_fit(name):
    spec = MODELS[name]
    model = load_model(spec, torch.device("cpu"))
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    if spec.weights.url is None:
        assert weights_path(spec).stat().st_size < 25_000_000
        assert spec.weights.sha256


def test_wrong_weights_are_refused_by_name(tmp_path):
    model = torch.nn.Linear(2, 3)
    good = model.state_dict()
    with pytest.raises(ValueError, match=r"lacks the tensor bias"):
        load_exactly(model, {"weight": good["weight"]}, "x.safetensors")
    with pytest.raises(ValueError, match="does not know"):
        load_exactly(model, {**good, "more": good["bias"]}, "x.safetensors")
    with pytest.raises(ValueError, match=r"weight has shape \(3, 3\)"):
        load_exactly(model, {**good, "weight": torch.zeros(3, 3)}, "x.safetensors")
    with pytest.raises(ValueError, match="missing"):
        read_tensors(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a safetensors file")
    with pytest.raises(ValueError, match="cannot be read"):
        read_tensors(broken)
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(broken, "0" * 64)
