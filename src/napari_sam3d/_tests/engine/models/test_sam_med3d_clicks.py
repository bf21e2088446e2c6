"""Rounds of clicks on SAM-Med3D, as the released scripts play them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_sam3d.engine.models.sam_med3d import SamMed3D
from napari_sam3d.engine.models.sam_med3d.clicks import (
    ALL_CLICKS,
    LAST_CLICK,
    draw_click,
    enlarge,
    network_answers,
    play_clicks,
    simulate_clicks,
)
from napari_sam3d.engine.models.sam_med3d.release import from_release, sizes

GOLDEN = Path(__file__).parents[2] / "golden" / "sam_med3d_full_clicks.safetensors"
LAYOUT = "model_state_dict."


@pytest.fixture(scope="module")
def tensors():
    return load_file(GOLDEN)


@pytest.fixture(scope="module")
def model(tensors):
    state = {k.removeprefix(LAYOUT): t.float() for k, t in tensors.items() if k.startswith(LAYOUT)}
    state = from_release({"model_state_dict": state})
    model = SamMed3D(**sizes(state)).eval().requires_grad_(False)
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def embedding(model, tensors):
    with torch.inference_mode():
        return model.encode_image(tensors["img.image"].float())


def test_the_whole_network_is_the_released_one(embedding, tensors):
    expected = tensors["mid.image_embedding"]
    assert float((embedding.features - expected).abs().max()) < 2e-5 * float(expected.abs().max())


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "protocol"), [("accumulate", ALL_CLICKS), ("lastclick", LAST_CLICK)]
)
def test_both_protocols_give_the_released_masks(model, embedding, tensors, name, protocol):
    points, labels = tensors["in.clicks.xyz"][None], tensors["in.clicks.labels"][None]
    for n, masks in enumerate(play_clicks(model, embedding, points, labels, protocol), 1):
        expected = tensors[f"out.{name}.{n}clicks.low_res_logits"]
        difference = float((masks.logits - expected).abs().max())
        assert difference < 2e-5 * float(expected.abs().max())
        logits = enlarge(masks.logits, (64, 64, 64))
        mask = tensors.get(f"out.{name}.{n}clicks.mask")
        if mask is not None:
            assert torch.equal(logits > 0, mask.bool())
    if name == "accumulate":
        chance = torch.sigmoid(logits[30])
        assert torch.allclose(chance, tensors["mid.prob_slice_x30.accumulate.3clicks"], atol=1e-5)


@torch.inference_mode()
def test_answers_to_the_recorded_clicks_are_the_released_masks(model, embedding, tensors):
    answer = network_answers(model, lambda: embedding, 64, ALL_CLICKS)
    clicks = zip(tensors["in.clicks.xyz"].numpy(), tensors["in.clicks.labels"], strict=True)
    for n, (voxel, label) in enumerate(clicks, 1):
        logits = answer(voxel, bool(label))
        mask = tensors.get(f"out.accumulate.{n}clicks.mask")
        if mask is not None:
            np.testing.assert_array_equal(logits > 0, mask.numpy().astype(bool))


def test_the_mask_of_the_round_before_counts(model, embedding, tensors):
    from napari_sam3d.engine.models.base import PatchPrompts

    point, label = tensors["in.clicks.xyz"][None, :1], tensors["in.clicks.labels"][None, :1]
    before = tensors["out.accumulate.3clicks.low_res_logits"]
    found = model.decode_masks(embedding, PatchPrompts(point, label, before)).logits
    expected = tensors["out.accumulate.1click_from_prev.low_res_logits"]
    assert float((found - expected).abs().max()) < 2e-5 * float(expected.abs().max())


@torch.inference_mode()
@pytest.mark.parametrize("protocol", [ALL_CLICKS, LAST_CLICK])
def test_simulated_clicks_see_what_the_protocol_shows_them(model, embedding, protocol, monkeypatch):
    seen = []
    decode = model.decode_masks

    def watch(embedding, prompts):
        seen.append(prompts)
        return decode(embedding, prompts)

    monkeypatch.setattr(model, "decode_masks", watch)
    reference = np.zeros((64, 64, 64), bool)
    reference[20:40, 24:44, 10:50] = True
    answer = network_answers(model, lambda: embedding, 64, protocol)
    rounds = list(simulate_clicks(answer, reference, 4, protocol, np.random.RandomState(0)))
    assert all(it.heard and it.seconds > 0 for it in rounds)
    assert all(it.mask.shape == (64, 64, 64) and it.mask.dtype == bool for it in rounds)
    told = seen[-1].points[0, -1:] if protocol.newest_only else seen[-1].points[0]
    drawn = [it.voxel.tolist() for it in rounds]
    assert told.int().tolist() == drawn[-len(told) :]
    counts = [1] * 4 if protocol.newest_only else [1, 2, 3, 4]
    assert [p.points.shape[1] for p in seen] == counts
    assert not seen[0].mask.any() and all(p.mask.any() for p in seen[1:])
    first = tuple(seen[0].points[0, 0].int().tolist())
    assert reference[first] and seen[0].labels[0, 0] == 1


def test_a_click_falls_where_the_mask_is_wrong():
    draws = np.random.RandomState(0)
    reference = np.zeros((9, 9, 9), bool)
    reference[:4] = True
    mask = np.zeros_like(reference)
    mask[2:8] = True
    wrong = mask != reference
    drawn = [draw_click(mask, reference, False, draws) for _ in range(300)]
    assert all(wrong[tuple(voxel)] and reference[tuple(voxel)] == label for voxel, label in drawn)
    share = np.mean([label for _, label in drawn])  # 2 of 6 wrong planes are missing
    assert 0.2 < share < 0.47
    for _ in range(20):  # the excess, planes 4 to 7, is deeper: 2 from its rim
        voxel, label = draw_click(mask, reference, True, draws)
        assert not label and voxel[0] in (5, 6) and 1 <= voxel[1] <= 7
    voxel, label = draw_click(reference, reference, True, draws)
    assert label and reference[tuple(voxel)]


def test_clicks_are_those_that_the_scripts_draw_from_numpy():
    generator = np.random.default_rng(0)
    reference, mask = generator.random((2, 12, 10, 8)) < 0.3
    draws = np.random.RandomState(233)
    drawn = [draw_click(mask, reference, False, draws) for _ in range(20)]
    state = np.random.get_state()
    try:
        np.random.seed(233)  # as the scripts do, before each case
        wrong = torch.argwhere(torch.from_numpy(mask ^ reference))
        expected = [wrong[np.random.randint(len(wrong))].tolist() for _ in range(20)]
    finally:
        np.random.set_state(state)
    assert [voxel.tolist() for voxel, _ in drawn] == expected


def test_a_click_that_is_not_heard_leaves_the_mask():
    reference = np.zeros((6, 6, 6), bool)
    reference[1:3] = True

    def all_of_it(voxel, positive):
        return np.ones(reference.shape, np.float32) if positive else None

    first, *others = simulate_clicks(all_of_it, reference, 4, ALL_CLICKS, np.random.RandomState(0))
    assert first.heard and first.mask.all() and reference[tuple(first.voxel)]
    for click in others:
        assert not click.heard and not click.positive and click.seconds == 0
        assert click.mask.all() and not reference[tuple(click.voxel)]
