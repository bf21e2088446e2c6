"""Blocks that are computed twice give the gradients of those whose activations are kept."""

from __future__ import annotations

import pytest
import torch

from napari_sam3d._tests.engine.models.test_contract import build
from napari_sam3d._tests.engine.training.small import balls, settings
from napari_sam3d._tests.engine.training.test_classes import small_base as small_ma_sam
from napari_sam3d._tests.engine.training.test_families import small_base
from napari_sam3d.engine.models.base import Blocks, recompute
from napari_sam3d.engine.models.ma_sam import MaSam
from napari_sam3d.engine.models.sam3d_adapter.model import Sam3DAdapter
from napari_sam3d.engine.models.sam_med3d import SamMed3D
from napari_sam3d.engine.training import Base
from napari_sam3d.engine.training.cases import Split
from napari_sam3d.engine.training.kinds import lessons_of
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.engine.training.tuning import Tuner


def base_of(family: str) -> Base:
    return small_ma_sam() if family == "ma_sam" else small_base(family)


def gradients(family: str, checkpointing: str) -> tuple[dict[str, torch.Tensor], int]:
    """Of a step, and how often blocks of the encoder were computed."""
    base, calls = base_of(family), []
    wanted = settings(checkpointing=checkpointing, accumulate=1, seed=3)
    parts = Split(tuple(balls(2)), tuple(balls(1)), False)
    lessons = lessons_of(base.model, base.spec, parts, wanted)
    tuner = Tuner(base.model, lessons, wanted, recipe_of(base.spec))
    for block in base.model.image_encoder.blocks:
        block.register_forward_pre_hook(lambda *given: calls.append(torch.is_grad_enabled()))
    tuner.advance(1)
    found = {name: it.grad for name, it in base.model.named_parameters() if it.grad is not None}
    return found, sum(calls)


@pytest.mark.parametrize("family", ["sam3d_adapter", "ma_sam"])
def test_gradients_are_the_same(family):
    kept, once = gradients(family, "off")
    again, twice = gradients(family, "on")
    assert once == len(base_of(family).model.image_encoder.blocks) and twice == 2 * once
    assert kept.keys() == again.keys() and any("image_encoder" in name for name in kept)
    for name, gradient in kept.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-5)
    assert gradients(family, "auto")[1] == twice  # too large to be tuned otherwise


def test_only_large_stacks_recompute_unless_it_is_asked_for():
    model, *_ = build("sam_med3d")
    stacks = [it for it in model.modules() if isinstance(it, Blocks)]
    assert len(stacks) == 1 and not stacks[0].recomputed
    recompute(model, "auto")
    assert not stacks[0].recomputed
    recompute(model, "on")
    assert stacks[0].recomputed
    recompute(model, "off")
    assert not stacks[0].recomputed


def tuned(model) -> dict[str, int]:
    return {name: it.numel() for name, it in model.named_parameters() if model.is_adapter(name)}


def test_as_many_numbers_are_tuned_as_in_the_papers():
    with torch.device("meta"):
        adapter, med3d, slices = Sam3DAdapter(), SamMed3D(), MaSam()
    of_adapter, of_slices = tuned(adapter), tuned(slices)
    encoder = sum(n for name, n in of_adapter.items() if name.startswith("image_encoder."))
    assert encoder == 15_209_984  # 15.21 million in the encoder, 25.46 in all
    assert sum(of_adapter.values()) == 25_462_400
    assert sum(of_slices.values()) == 30_142_361
    assert sum(n for name, n in of_slices.items() if ".adapter_" in name) == 24_818_688
    assert sum(n for name, n in of_slices.items() if "FacT" in name) == 73_728
    whole = sum(it.numel() for it in med3d.parameters())
    encoder = sum(it.numel() for it in med3d.image_encoder.parameters())
    assert sum(tuned(med3d).values()) == whole - encoder
