"""A training from its first event to its last, stopped, resumed and finished."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.training.small import balls, settings, small_base
from napari_sam3d.engine.adapter_facts import read_facts
from napari_sam3d.engine.adapters import adapter_tensors, read_tensors
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.places import adapters_folder
from napari_sam3d.engine.training import (
    Finished,
    Looking,
    RunFolder,
    Started,
    Step,
    Validated,
    Warned,
    cases,
    train,
)
from napari_sam3d.engine.training.cases import regions
from napari_sam3d.engine.training.report import helps


def run(name="x", count=3, resume=False, stop=None, load=small_base, **wanted):
    """The events of a training; closed after so many steps."""
    events = []
    training = train(
        settings(**wanted), balls(count), RunFolder.called(name), resume=resume, load=load
    )
    for event in training:
        events.append(event)
        if stop is not None and isinstance(event, Step) and event.step == stop:
            training.close()
    return events


def status(name="x") -> dict:
    return json.loads(RunFolder.called(name).status.read_text())


def of(kind, events) -> list:
    return [event for event in events if isinstance(event, kind)]


def test_a_training_that_helps_gives_an_adapter(data_folder):
    events = run(steps=40, validate_every=20, rate=0.5)
    start, end = events[0], events[-1]
    assert isinstance(start, Started) and isinstance(end, Finished)
    assert (start.step, start.steps, start.tuned) == (0, 40, 4)
    assert len(start.cases) == 2 and len(start.held_out) == 1 and not start.optimistic
    assert [event.step for event in of(Step, events)] == list(range(1, 41))
    assert [event.step for event in of(Validated, events)] == [0, 20, 40]
    assert end.after > end.before and end.adapter == adapters_folder() / "x.safetensors"
    assert end.verdict.startswith(f"Dice {end.before[0]:.2f} to {end.after[0]:.2f} after one click")
    assert "on 1 held-out volume." in end.verdict
    facts = read_facts(end.adapter)
    assert (facts.model, facts.base_sha256, facts.name) == ("compact", "0" * 64, "x")
    assert facts.classes == ("label 3",) and facts.cases == 2 and facts.held_out == start.held_out
    assert facts.object_mm == (7.0, 9.0)  # of balls of which one is held out
    (prior,) = facts.priors
    assert (prior.label, prior.cases, prior.of) == (3, 3, 3)
    np.testing.assert_allclose(prior.centre, np.array([8.5, 9.5, 10.5]) / (16, 18, 20), atol=1e-4)
    assert facts.dice_before == end.before and facts.dice_after == end.after
    assert set(read_tensors(end.adapter)) == {"head.weight", "head.bias"}
    assert status()["state"] == "DONE"
    with open(RunFolder.called("x").log, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 41))
    assert float(rows[39]["dice_1"]) == of(Validated, events)[-1].dice[0] and not rows[38]["dice_1"]
    others = {path.name for path in data_folder.rglob("*") if path.is_file()}
    assert others == {"config.json", "status.json", "log.csv", "state.pt", "x.safetensors"} | {
        "progress.png",
        "best.safetensors",
        "last.safetensors",
    }


def test_what_does_not_help_is_not_selected():
    events = run(rate=1e-9)
    assert events[-1].adapter is None and "not selected" in events[-1].verdict
    assert not adapters_folder().exists() and RunFolder.called("x").last.is_file()


def test_a_resumed_run_is_the_uninterrupted_one():
    run("whole", steps=8, accumulate=2)
    for stop in (2, 3, 5):  # before, at and after a look at the held-out volumes
        name = f"stopped {stop}"
        first = run(name, steps=8, accumulate=2, stop=stop)
        assert isinstance(first[-1], Step) and status(name)["state"] == "STOPPED"
        second = run(name, steps=8, accumulate=2, resume=True)
        assert second[0].step == stop and of(Step, second)[0].step == stop + 1
        told = [it for it in first if isinstance(it, Step | Validated)]
        assert [(type(it), it.step) for it in second[0].past] == [(type(i), i.step) for i in told]
        assert of(Validated, second[0].past) == of(Validated, told)
        whole, resumed = RunFolder.called("whole"), RunFolder.called(name)
        for one, other in ((whole.last, resumed.last), (whole.best, resumed.best)):
            assert one.exists() == other.exists()
            if one.exists():
                for key, tensor in read_tensors(one).items():
                    torch.testing.assert_close(read_tensors(other)[key], tensor, atol=1e-5, rtol=0)
        logs = [it.log.read_text().splitlines() for it in (whole, resumed)]
        rows = [[line.split(",") for line in log] for log in logs]
        assert [r[:3] + r[4:] for r in rows[0]] == [r[:3] + r[4:] for r in rows[1]]  # not the time


def test_a_run_that_is_stopped_leaves_a_usable_adapter():
    run(stop=3, steps=100, validate_every=50)
    folder = RunFolder.called("x")
    base = small_base(settings()).model
    before = adapter_tensors(base)
    after = read_tensors(folder.last)
    assert before.keys() == after.keys()
    assert all(not torch.equal(after[key], before[key]) for key in before)
    assert read_facts(folder.last).step == 3 and not folder.best.exists()


def test_a_run_can_go_on_with_more_steps():
    run(steps=3)
    with pytest.raises(ValueError, match="has done its 3 steps; ask for more"):
        run(steps=3, resume=True)
    events = run(steps=5, resume=True)
    assert events[0].step == 3 and [event.step for event in of(Step, events)] == [4, 5]
    assert of(Validated, events)[0].base == events[-1].before


def test_only_adapters_change():
    bases = []

    def load(wanted):
        bases.append(small_base(wanted))
        return bases[-1]

    run(load=load)
    fresh = small_base(settings()).model.state_dict()
    for key, tensor in bases[0].model.state_dict().items():
        assert torch.equal(tensor, fresh[key]) != key.startswith("head")


def test_two_trainings_one_after_the_other_are_alike_and_apart():
    first, second = run("one"), run("two")
    assert [type(event) for event in first] == [type(event) for event in second]
    one, two = RunFolder.called("one"), RunFolder.called("two")
    for key, tensor in read_tensors(one.last).items():
        assert torch.equal(tensor, read_tensors(two.last)[key])
    with pytest.raises(ValueError, match="There is a run called one already"):
        run("one")


def test_few_volumes_are_judged_with_a_warning():
    events = run(count=1)
    assert events[0].optimistic and "optimistic" in of(Warned, events)[0].sentence


def test_without_a_gain_it_ends_early():
    events = run(rate=1e-9, steps=100, validate_every=1, patience=4)
    assert of(Step, events)[-1].step == 4 and isinstance(events[-1], Finished)
    assert "ends early" in of(Warned, events)[-1].sentence


def test_every_object_that_is_looked_at_gives_others_a_turn_and_is_shown():
    events = run(count=3, steps=40, validate_every=20, rate=0.5)
    looks = of(Looking, events)
    assert [(it.step, it.done, it.total) for it in looks] == [(0, 1, 1), (20, 1, 1), (40, 1, 1)]
    (held_out,) = events[0].held_out
    case = next(it for it in balls(3) if it.name == held_out)
    for look, told in zip(looks, of(Validated, events), strict=True):
        mask = np.zeros(case.labels.shape, bool)
        mask[look.found.window] = look.found.mask
        assert (look.found.volume, look.found.label) == (held_out, 3)
        assert look.found.dice == pytest.approx(dice(mask, case.labels == 3), abs=1e-4)
        assert look.found.dice == pytest.approx(told.dice[-1], abs=1e-4)


def test_slices_that_are_held_out_are_shown_where_they_are():
    events = run(count=1, steps=40, validate_every=20, rate=0.5)
    found, case = of(Looking, events)[-1].found, balls(1)[0]
    name, first = re.fullmatch(r"(ball 0), slices (\d+) to 15", events[0].held_out[0]).groups()
    assert found.volume == name and found.window[0].start >= int(first) > 0
    mask, reference = np.zeros(case.labels.shape, bool), case.labels == 3
    mask[found.window], reference[: int(first)] = found.mask, False
    assert found.dice == pytest.approx(dice(mask, reference), abs=1e-4) and found.dice > 0.5


def test_labels_are_looked_through_once(monkeypatch):
    looked = []
    monkeypatch.setattr(cases, "regions", lambda it: looked.append(len(it)) or regions(it))
    next(train(settings(), balls(3), RunFolder.called("x"), load=small_base))
    assert len(looked) == 3
    next(train(settings(), balls(1), RunFolder.called("y"), load=small_base))
    first, *parts = looked[3:]
    assert first == 16 and sum(parts) == 16 and len(parts) == 2  # the whole, and both its parts


def test_a_resumed_run_is_the_one_that_was_begun():
    run(stop=1)
    for wanted, sentence in (
        ({"rate": 0.1}, "begun with rate 0.05; it cannot go on with 0.1"),
        ({"count": 4}, "begun without ball 3"),
        ({"count": 2}, "begun with ball 2, which is missing"),
    ):
        with pytest.raises(ValueError, match=sentence):
            run(resume=True, **wanted)
    changed = balls(3)
    changed[1].labels[0, 0, 0] = 1
    with pytest.raises(ValueError, match="ball 1 has changed"):
        list(train(settings(), changed, RunFolder.called("x"), resume=True, load=small_base))
    with pytest.raises(ValueError, match="no run called nothing"):
        run("nothing", resume=True)


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", ".hidden", "con", "x ", "x.", "a\\b", "x" * 101]
)
def test_names_that_are_no_file_names_are_refused(name):
    with pytest.raises(ValueError, match="cannot be the name of an adapter"):
        RunFolder.called(name)


def test_an_adapter_of_the_same_name_is_not_replaced():
    adapters_folder().mkdir()
    (adapters_folder() / "x.safetensors").write_bytes(b"somebody's")
    with pytest.raises(ValueError, match="There is an adapter called x already"):
        run()
    assert not RunFolder.called("x").path.exists()


def test_a_frozen_encoder_sees_each_patch_once(monkeypatch):
    from napari_sam3d.engine.training import recipes

    recipe = replace(recipes.recipe_of(small_base(settings()).spec), fixed=2)
    monkeypatch.setitem(recipes._RECIPES, "compact", recipe)
    encoded = []

    def load(wanted):
        base = small_base(wanted)
        encode = base.model.encode_image
        looked = base.model.encode_image = lambda patch: (
            encoded.append(torch.is_inference_mode_enabled()) or encode(patch)
        )
        assert looked
        return base

    run(load=load, steps=30, validate_every=30)
    assert 1 <= np.sum(np.array(encoded) == 0) <= 4  # two volumes of one object, two patches each


@pytest.mark.parametrize(
    ("after", "better"),
    [
        ((0.51, 0.61, 0.71), True),
        ((0.5, 0.6, 0.72), True),
        ((0.5, 0.6, 0.712), False),  # too little
        ((0.49, 0.8, 0.9), False),  # worse after one click
        ((0.6, 0.7, 0.69), False),  # worse after five
    ],
)
def test_an_adapter_helps_when_nothing_is_worse(after, better):
    assert helps((0.5, 0.6, 0.7), after) == better
