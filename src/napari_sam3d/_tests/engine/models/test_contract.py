"""The contract that every network with patches keeps, in small."""

from __future__ import annotations

import pytest
import torch

from napari_sam3d.catalog import MODELS
from napari_sam3d.engine.models.base import PatchPrompts, PromptableModel
from napari_sam3d.engine.models.compact import Compact
from napari_sam3d.engine.models.sam3d_adapter.model import Sam3DAdapter
from napari_sam3d.engine.models.sam_med3d import SamMed3D
from napari_sam3d.engine.weights import load_model, weights_path

SMALL = {
    "compact": lambda: (Compact(), 64, 64),
    "sam_med3d": lambda: (
        SamMed3D(
            image_size=64,
            width=24,
            depth=2,
            heads=2,
            window=6,
            global_blocks=(1,),
            out=48,
            decoder_mlp=16,
            iou_hidden=8,
        ),
        64,
        16,
    ),
    "sam3d_adapter": lambda: (
        Sam3DAdapter(
            width=16,
            narrow=8,
            prompt_mlp=16,
            crop=32,
            dim=24,
            depth=4,
            heads=2,
            levels=(0, 1, 2, 3),
            grid=8,
            token=16,
            table_window=7,
            window=4,
        ),
        32,
        32,
    ),
}
"""Network, edge of its patch and of its logits, by family."""


def build(name: str) -> tuple[PromptableModel, tuple[int, int, int], tuple[int, int, int]]:
    torch.manual_seed(0)
    model, edge, low = SMALL[name]()
    return model, (edge,) * 3, (low,) * 3


def prompts(shape, low) -> PatchPrompts:
    points = torch.rand(1, 2, 3) * torch.tensor(shape)
    return PatchPrompts(points, torch.tensor([[1, 0]]), torch.zeros(1, 1, *low))


def test_all_families_of_the_catalog_with_patches_are_here():
    patched = {spec.family for spec in MODELS.values() if spec.way in ("following", "fixed")}
    assert patched == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_shapes_and_finiteness(name):
    model, shape, low = build(name)
    with torch.no_grad():
        masks = model.eval()(torch.randn(1, 1, *shape), prompts(shape, low))
    assert masks.logits.shape == (1, 1, *low) and masks.logits.dtype == torch.float32
    assert masks.iou.shape == (1,) and ((masks.iou >= 0) & (masks.iou <= 1)).all()
    assert torch.isfinite(masks.logits).all()


@pytest.mark.parametrize("name", SMALL)
def test_the_embedding_does_not_depend_on_prompts_and_is_not_used_up(name):
    model, shape, low = build(name)
    asked = prompts(shape, low)
    with torch.no_grad():
        embedding = model.eval().encode_image(torch.randn(1, 1, *shape))
        first = model.decode_masks(embedding, asked).logits
        other = model.decode_masks(embedding, prompts(shape, low)).logits
        again = model.decode_masks(embedding, asked).logits
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("name", SMALL)
def test_some_parameters_are_adapters_and_some_are_not(name):
    model, _, _ = build(name)
    chosen = [model.is_adapter(key) for key, _ in model.named_parameters()]
    assert any(chosen) and not all(chosen)


def test_the_shipped_weights_fit():
    spec = MODELS["compact"]
    model, same = load_model(spec, torch.device("cpu"))
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert same == spec
    assert weights_path(spec).stat().st_size < 25_000_000
