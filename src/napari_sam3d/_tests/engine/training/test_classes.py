"""MA-SAM is tuned on slices with all their classes, and judged without a click."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.training.small import ball, balls, settings
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.adapters import put_tensors, read_facts, read_tensors
from napari_sam3d.engine.classes import ClassPredictor
from napari_sam3d.engine.models.ma_sam import MaSam
from napari_sam3d.engine.training import Base, Finished, Looking, RunFolder, Started, Step, train
from napari_sam3d.engine.training.cases import Split
from napari_sam3d.engine.training.class_lessons import (
    ClassLessons,
    check_classes,
    class_dices,
    class_loss,
)
from napari_sam3d.engine.training.groups import LabelledSlices, draw_group, varied_group
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.engine.training.tuning import Tuner
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SPEC = model_spec("ma_sam_btcv")
FROZEN = ("patch_embed", "pos_embed", ".norm", ".qkv", ".proj", ".rel_pos", ".mlp.", ".neck")


def small_base(settings=None, classes: int = 3) -> Base:
    torch.manual_seed(0)
    model = MaSam(
        embed_dim=24,
        depth=2,
        heads=2,
        global_blocks=(1,),
        image_size=32,
        patch_size=4,
        window=4,
        channels=128,
        classes=classes,
        adapter_channels=8,
        rank=4,
        mlp_dim=32,
        quality_dim=16,
    )
    return Base(model.eval().requires_grad_(False), SPEC, "0" * 64)


def run(name="x", resume=False, stop=None, **wanted) -> list:
    events = []
    training = train(
        settings(**{"rate": 3e-3, **wanted}),
        balls(3),
        RunFolder.called(name),
        resume=resume,
        load=small_base,
    )
    for event in training:
        events.append(event)
        if stop is not None and isinstance(event, Step) and event.step == stop:
            training.close()
    return events


def test_a_training_changes_all_adapters_and_nothing_else():
    bases = []

    def load(wanted):
        bases.append(small_base())
        return bases[0]

    folder = RunFolder.called("x")
    wanted = settings(steps=3, validate_every=3, rate=1e-3)
    events = list(train(wanted, balls(3), folder, load=load))
    assert isinstance(events[-1], Finished) and not bases[0].model.training
    before, after = (dict(it.model.named_parameters()) for it in (small_base(), bases[0]))
    same = {key for key in after if torch.equal(before[key], after[key])}
    tuned = {key for key in after if bases[0].model.is_adapter(key)}
    assert set(after) - tuned <= same and set(read_tensors(folder.last)) == tuned
    encoder = {key for key in after if key.startswith("image_encoder.")}
    assert {key for key in encoder if any(part in key for part in FROZEN)} == encoder - tuned
    # without prompts most of the prompt encoder is idle, and nothing asks the head of quality
    assert all(key.startswith("prompt_encoder.") or "iou" in key for key in tuned & same)


def test_the_dice_is_told_without_clicks():
    events = run(steps=4, validate_every=2)
    start, end = events[0], events[-1]
    assert isinstance(start, Started) and start.counted == (0,)
    assert isinstance(end, Finished) and len(end.before) == len(end.after) == 1
    looks = [event for event in events if isinstance(event, Looking) and event.step == 2]
    assert [event.done for event in looks if event.found is None] == list(range(1, 17))
    assert all(event.total == 16 for event in looks)
    assert [event.found.label for event in looks if event.found] in ([3], [])
    with open(RunFolder.called("x").log, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "loss", "rate", "seconds", "dice_0"]
    assert rows[1]["dice_0"] and not rows[0]["dice_0"]
    assert "click" not in end.verdict
    facts = read_facts(RunFolder.called("x").last)
    assert facts.family == "ma_sam" and facts.classes == ("label 3",)


def test_a_volume_is_learned_and_the_adapter_does_it_elsewhere(data_folder):
    """From a network that knows nothing to one that finds the ball, and back through a file."""
    cases = [replace(case, labels=case.labels // 3) for case in balls(3)]
    wanted = settings(steps=40, validate_every=40, rate=3e-3, background=0.0, accumulate=1)
    folder = RunFolder.called("x")
    events = list(train(wanted, cases, folder, load=lambda _: small_base(classes=1)))
    losses = [event.loss for event in events if isinstance(event, Step)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    end = events[-1]
    assert end.after[0] > end.before[0] + 0.3 and end.adapter is not None
    assert end.verdict == f"Dice {end.before[0]:.2f} to {end.after[0]:.2f}, on 1 held-out volume."
    fresh = small_base(classes=1).model
    put_tensors(fresh, read_tensors(end.adapter), "x")
    predictor = ClassPredictor(fresh, SPEC, InferenceSettings(device="cpu", precision="fp32"))
    held_out = next(case for case in cases if case.name in events[0].held_out)
    found = predictor.segment_all(held_out.volume)
    assert class_dices(found, held_out.labels, [1]) == {1: pytest.approx(end.after[0], abs=1e-4)}
    preview = [event.found for event in events if isinstance(event, Looking) and event.found][-1]
    assert (preview.volume, preview.label) == (held_out.name, 1)
    assert preview.dice == pytest.approx(end.after[0], abs=1e-4)
    assert ((found == 1)[preview.window] == preview.mask).all()
    assert preview.mask.sum() == (found == 1).sum()


def test_a_resumed_run_is_the_uninterrupted_one():
    run("whole", steps=5, validate_every=5)
    run("stopped", steps=5, validate_every=5, stop=2)
    run("stopped", steps=5, validate_every=5, resume=True)
    one, other = (read_tensors(RunFolder.called(name).last) for name in ("whole", "stopped"))
    for key, tensor in one.items():
        torch.testing.assert_close(other[key], tensor, atol=1e-6, rtol=0)


def test_labels_that_are_no_classes_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="has label 3, but ma_sam_btcv knows labels 1 to 2; "):
        list(
            train(settings(), balls(3), RunFolder.called("x"), load=lambda _: small_base(classes=2))
        )
    assert not RunFolder.called("x").path.exists()
    with pytest.raises(ValueError, match="knows label 1 alone"):
        check_classes(balls(1), 1, SPEC)
    check_classes(balls(1), 3, SPEC)


def test_slices_are_those_that_the_predictor_shows_its_network():
    case = ball("x")
    shown = []
    model = small_base().model
    encode = model.encode_image
    model.encode_image = lambda patch: shown.append(patch) or encode(patch)
    settings = InferenceSettings(device="cpu", precision="fp32")
    ClassPredictor(model, SPEC, settings).segment_all(case.volume)
    slices = LabelledSlices.of(case, SPEC)
    assert slices.count == len(shown) == 16
    for middle in (0, 7, 15):
        image, labels = slices.group(middle, 32)
        assert torch.equal(shown[middle][0, 0], image)
        bright = image[labels == 3], image[labels == 0]
        assert not len(bright[0]) or bright[0].mean() > bright[1].mean() + 0.3
    assert labels.shape == (5, 32, 32) and (labels[2] == labels[4]).all()  # beyond the end


def test_all_classes_have_equal_chances():
    labels = np.zeros((16, 8, 8), np.uint8)
    labels[2, :2], labels[6:, 4:] = 2, 1
    image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    case = Labelled(Volume(image, Grid.from_spacing(labels.shape, (1, 1, 1))), labels)
    slices = [LabelledSlices.of(case, SPEC)]
    rng = np.random.default_rng(0)
    rare = sum(bool((draw_group(slices, 8, 0.0, rng)[1] == 2).any()) for _ in range(200))
    assert 80 <= rare <= 140
    none = sum(not draw_group(slices, 8, 0.0, rng)[1].any() for _ in range(50))
    assert none == 0


def test_labels_turn_with_their_slices():
    image, labels = LabelledSlices.of(ball("x", 6), SPEC).group(8, 64)
    changed = 0
    for seed in range(12):
        other, turned = varied_group(image, labels, np.random.default_rng(seed))
        changed += not torch.equal(turned, labels)
        assert other[turned == 3].mean() > other[turned == 0].mean() + 0.3
        assert torch.isfinite(other).all() and set(turned.unique().tolist()) <= {0, 3}
    assert 3 <= changed <= 9


def test_the_loss_is_the_papers():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 5, 6, 7, generator=generator)
    target = torch.randint(0, 3, (1, 1, 5, 6, 7), generator=generator)
    chance = logits.softmax(1)
    hot = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    both = (chance * hot).sum((0, 2, 3, 4))
    size = (chance**2 + hot**2).sum((0, 2, 3, 4))
    dice = 1 - ((2 * both + 1e-5) / (size + 1e-5)).mean()
    entropy = -(chance.log() * hot).sum(1).mean()
    assert float(class_loss()(logits, target)) == pytest.approx(
        float(0.2 * entropy + 0.8 * dice), abs=1e-5
    )


def test_dice_over_classes_counts_what_is_missed_and_what_is_made_up():
    reference = np.array([1, 1, 2, 0, 0, 0])
    assert class_dices(reference, reference, [1, 2, 3]) == {1: 1, 2: 1}
    assert class_dices(np.array([1, 1, 0, 0, 0, 0]), reference, [1, 2, 3]) == {1: 1, 2: 0}
    assert class_dices(np.array([1, 1, 2, 3, 0, 0]), reference, [1, 2, 3]) == {1: 1, 2: 1, 3: 0}
    assert class_dices(np.array([1, 1, 2, 3, 0, 0]), reference, [1, 2]) == {1: 1, 2: 1}


def test_dropout_is_drawn_from_the_step():
    parts = Split(tuple(balls(2)), tuple(balls(1)), False)
    losses = []
    for steps in ((3,), (1, 3)):
        base = small_base()
        with torch.no_grad():
            base.model.image_encoder.FacTv.weight.fill_(0.1)  # else it adds nothing
        wanted = settings(rate=1e-12)
        tuner = Tuner(
            base.model, ClassLessons(base.model, SPEC, parts, wanted), wanted, recipe_of(SPEC)
        )
        state = torch.get_rng_state()
        losses.append([tuner.advance(step)[0] for step in steps][-1])
        assert torch.equal(torch.get_rng_state(), state)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
