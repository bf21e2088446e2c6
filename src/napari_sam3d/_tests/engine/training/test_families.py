"""Every network that can be tuned is, in small: what its paper freezes stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.models.test_contract import SMALL, build
from napari_sam3d._tests.engine.training.small import balls, settings
from napari_sam3d.catalog import MODELS, model_spec
from napari_sam3d.engine.adapter_facts import read_facts
from napari_sam3d.engine.adapters import put_tensors, read_tensors
from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.compact import Compact
from napari_sam3d.engine.training import Base, Finished, RunFolder, Step, train
from napari_sam3d.engine.training.recipes import Recipe, recipe_of
from napari_sam3d.engine.training.tuning import Tuner, schedule

ROWS = {
    "compact": "compact",
    "sam_med3d": "sam_med3d_turbo",
    "sam3d_adapter": "sam3d_adapter_kits",
}


def small_base(family: str) -> Base:
    if family == "compact":  # the real one takes a second for each patch
        torch.manual_seed(0)
        model, shape = Compact(widths=(8, 16), blocks=(1, 1), up_blocks=(1,)), (16, 16, 16)
        low = shape
    else:
        model, shape, low = build(family)
    spec = replace(
        model_spec(ROWS[family]),
        patch_shape=shape,
        mask_shape=None if shape == low else low,
    )
    return Base(model.eval().requires_grad_(False), spec, "0" * 64)


def test_what_takes_clicks_and_has_patches_can_be_tuned():
    assert set(ROWS) == set(SMALL)
    for spec in MODELS.values():
        if spec.family in SMALL or spec.family == "ma_sam":
            assert isinstance(recipe_of(spec), Recipe)
        else:
            with pytest.raises(ValueError, match=f"{spec.name} cannot be tuned"):
                recipe_of(spec)


@pytest.mark.parametrize("family", SMALL)
def test_a_training_changes_all_adapters_and_nothing_else(data_folder, family):
    bases = []

    def load(wanted):
        bases.append(small_base(family))
        return bases[0]

    wanted = settings(steps=3, validate_every=3, rate=1e-3, clicks=3, accumulate=2, objects=1)
    events = list(train(wanted, balls(3), RunFolder.called("x"), load=load))
    assert isinstance(events[-1], Finished)
    assert all(np.isfinite(event.loss) for event in events if isinstance(event, Step))
    model, fresh = bases[0].model, small_base(family).model
    before, after = dict(fresh.named_parameters()), dict(model.named_parameters())
    same = {key for key in after if torch.equal(before[key], after[key])}
    frozen = {key for key in after if not model.is_adapter(key)}
    assert frozen <= same
    assert len(same - frozen) <= 0.3 * (len(after) - len(frozen))  # what no click has reached
    last = RunFolder.called("x").last
    assert set(read_tensors(last)) == set(after) - frozen
    facts = read_facts(last)
    assert facts.family == family and facts.patch_shape == bases[0].spec.patch_shape


def test_the_encoder_of_sam_med3d_is_tuned_by_choice(data_folder):
    """Changes of low rank: none at first, in the adapter afterwards, and brought back from it."""
    fresh = small_base("sam_med3d").model
    patch = torch.randn(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = fresh.encode_image(patch).features
        fresh.add_low_rank(2)
        assert torch.equal(fresh.encode_image(patch).features, before)
    bases = []

    def load(wanted):
        bases.append(small_base("sam_med3d"))
        return bases[-1]

    wanted = settings(steps=3, validate_every=3, rate=1e-2, objects=1, clicks=1, encoder_rank=2)
    folder = RunFolder.called("x")
    assert isinstance(list(train(wanted, balls(3), folder, load=load))[-1], Finished)
    tensors = read_tensors(folder.last)
    low = {key for key in tensors if ".low_rank." in key}
    assert len(low) == 2 * len(fresh.image_encoder.blocks)
    assert all(tensors[key].any() for key in low)
    other = small_base("sam_med3d").model
    other.make_room(tensors)
    put_tensors(other, tensors, "x")
    with torch.inference_mode():
        after = other.encode_image(patch).features
        assert torch.equal(after, bases[0].model.encode_image(patch).features)
    assert not torch.equal(after, before)
    with pytest.raises(ValueError, match="with rank 2, not 4; choose the same"):
        other.add_low_rank(4)
    with pytest.raises(ValueError, match="are for the encoder of SAM-Med3D"):
        list(
            train(
                settings(encoder_rank=2),
                balls(3),
                RunFolder.called("y"),
                load=lambda _: small_base("compact"),
            )
        )


def test_a_step_is_the_same_however_many_came_before(data_folder):
    """What is drawn in a step depends on its number alone."""
    from napari_sam3d.engine.training.cases import Split
    from napari_sam3d.engine.training.click_lessons import ClickLessons

    parts = Split(tuple(balls(2)), tuple(balls(1)), False)
    losses = []
    for steps in ((5,), (4, 5)):
        base = small_base("compact")
        wanted = settings(rate=1e-12)
        recipe = recipe_of(base.spec)
        lessons = ClickLessons(base.model, base.spec, parts, wanted)
        tuner = Tuner(base.model, lessons, wanted, recipe)
        losses.append([tuner.advance(step)[0] for step in steps][-1])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_the_rate_rises_and_falls_to_a_hundredth(kind):
    rates = [schedule(step, 100, kind) for step in range(1, 101)]
    assert rates[9] == 1 and rates[0] == pytest.approx(0.1) and rates[-1] == pytest.approx(0.01)
    assert all(np.diff(rates[:10]) > 0) and all(np.diff(rates[9:]) < 0)
    assert rates[54] == pytest.approx(0.505)  # half way down


def test_prompts_say_what_the_network_takes():
    """A network that knows foreground only is told no point outside."""
    from napari_sam3d.engine.training.rounds import mask_loss, play
    from napari_sam3d.engine.training.samples import Sample

    base, told = small_base("sam3d_adapter"), []
    decode = base.model.decode_masks

    def heard(embedding, prompts: PatchPrompts):
        told.append(prompts.labels[0].tolist())
        return decode(embedding, prompts)

    base.model.decode_masks = heard
    image = torch.zeros(base.spec.patch_shape)
    target = np.zeros(base.spec.patch_shape, bool)
    target[10:12, 10:12, 10:12] = True
    sample = Sample(image, target, np.array([10.0, 10, 10]))
    with torch.no_grad():
        embedding = base.model.encode_image(image[None, None])
    for seed in range(8):
        rng = np.random.default_rng(seed)
        play(base.model, embedding, sample, base.spec, 4, 2, mask_loss(), rng)
    assert {label for labels in told for label in labels} == {1}
    assert all(len(labels) >= 3 for labels in told)  # the click, and two drawn anywhere
