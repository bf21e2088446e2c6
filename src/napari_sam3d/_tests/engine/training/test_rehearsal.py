"""A rehearsal measures real steps and a real look, and leaves nothing behind."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace

import pytest
import torch

from napari_sam3d._tests.engine.training.small import Brightness, balls, settings, small_base
from napari_sam3d.engine.memory import Peak
from napari_sam3d.engine.training import recipes, rehearsal, validation
from napari_sam3d.engine.training.rehearsal import Rehearsal, rehearse
from napari_sam3d.engine.training.tuning import Tuner
from napari_sam3d.io.read import finish
from napari_sam3d.labelled import Labelled

SLOW = 0.02  # seconds that a step or a click is made to take


class Bases:
    """Brings networks, and tells whether any is still there."""

    def __init__(self) -> None:
        self.models: weakref.WeakSet[Brightness] = weakref.WeakSet()

    def __call__(self, wanted):
        base = small_base(wanted)
        self.models.add(base.model)
        return base


@pytest.fixture
def base() -> Bases:
    return Bases()


def test_real_steps_and_a_real_look_are_measured(monkeypatch, base, data_folder):
    advance, steps = Tuner.advance, []

    def slower(self, number):
        steps.append(number)
        time.sleep(SLOW)
        return advance(self, number)

    clicks_on = validation.clicks_on
    monkeypatch.setattr(Tuner, "advance", slower)
    monkeypatch.setattr(
        validation, "clicks_on", lambda *given: (time.sleep(SLOW), clicks_on(*given))[1]
    )
    events = rehearse(settings(steps=100, validate_every=10), balls(5), base)
    shares = []
    while True:
        try:
            shares.append(next(events))
        except StopIteration as end:
            told = end.value
            break
    assert steps == [1, 2, 3] and shares == sorted(shares) and shares[-1] == 1
    assert told.fits and told.step_seconds > SLOW and told.look_seconds > SLOW
    assert told.begin_seconds == 0 and "s a step" in told.sentence
    assert not list(data_folder.iterdir())


def test_the_estimate_counts_steps_and_looks():
    told = Rehearsal(0.5, 3.0, 0, "", begin_seconds=6.0)
    # 100 steps, a look before the first and after every 10: 50 s, 11 looks of 3 s, 6 s to begin
    assert told.minutes(settings(steps=100, validate_every=10)) == pytest.approx(89 / 60)
    # the last look comes after the last step, whenever that is
    assert told.minutes(settings(steps=101, validate_every=10)) == pytest.approx(92.5 / 60)


def test_a_look_is_reckoned_for_all_objects_that_are_held_out(monkeypatch, base):
    cases = []
    for case in balls(3):
        labels = case.labels.copy()
        labels[8:][labels[8:] > 0] = 5  # half of the ball is another object
        cases.append(Labelled(case.volume, labels))
    now = [0.0]

    def clicked(predictor, it):
        now[0] += 3
        return clicks_on(predictor, it)

    clicks_on = validation.clicks_on
    monkeypatch.setattr(validation, "clicks_on", clicked)
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: now[0])
    assert finish(rehearse(settings(objects=5), cases, base)).look_seconds == 6
    assert finish(rehearse(settings(objects=1), cases, base)).look_seconds == 3


def test_patches_that_a_frozen_encoder_sees_once_count_once(monkeypatch, base):
    recipe = recipes.recipe_of(small_base(settings()).spec)
    monkeypatch.setitem(recipes._RECIPES, "compact", replace(recipe, fixed=6))
    steps, spent = [], iter([9.0, 5.0, 1.0])
    now = [0.0]
    advance = Tuner.advance

    def timed(self, number):
        steps.append(number)
        now[0] += next(spent)
        return advance(self, number)

    monkeypatch.setattr(Tuner, "advance", timed)
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: now[0])
    told = finish(rehearse(settings(accumulate=2), balls(3), base))
    assert steps == [1, 2, 2]  # the second one again, with patches that are known
    # 4 s longer for two patches that are new; there are 6 for each of two balls
    assert told.step_seconds == 1 and told.begin_seconds == 24


@pytest.mark.parametrize("at", ["done", "closed", "failed"])
def test_the_network_is_freed(monkeypatch, base, at):
    threads = threading.active_count()
    if at == "failed":
        monkeypatch.setattr(Tuner, "advance", lambda self, _: (float("nan"), 0.1))
        with pytest.raises(ValueError, match="no number in the first steps"):
            finish(rehearse(settings(), balls(3), base))
    elif at == "closed":
        events = rehearse(settings(), balls(3), base)
        next(events), next(events)
        assert len(base.models) == 1
        events.close()
    else:
        finish(rehearse(settings(), balls(3), base))
    gc.collect()
    assert not len(base.models) and threading.active_count() == threads


def test_full_memory_is_a_sentence_with_what_to_try(monkeypatch, base):
    def full(self, number):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(Tuner, "advance", full)
    told = finish(rehearse(settings(), balls(3), base))
    assert not told.fits and told.step_seconds == 0
    assert told.sentence.startswith("There is not enough memory to tune compact on cpu; close")
    told = finish(rehearse(settings(model="sam3d_adapter_kits"), balls(3), base))
    assert "choose compact" in told.sentence and "checkpointing" in told.sentence
    gc.collect()
    assert not len(base.models)


def test_other_errors_are_not_hidden(monkeypatch, base):
    def broken(self, number):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Tuner, "advance", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        finish(rehearse(settings(), balls(3), base))
    with pytest.raises(ValueError, match="no labelled volume"):
        finish(rehearse(settings(), [], base))


def test_memory_is_that_of_the_rehearsal(monkeypatch, base):
    advance, look, looked = Tuner.advance, Peak._look, threading.Event()

    def seen(self):
        look(self)
        looked.set()

    def greedy(self, number):
        held = torch.ones(50_000_000)  # 200 MB
        for _ in range(2):  # the first look may have begun before
            looked.clear()
            assert looked.wait(10)
        assert held.numel()
        return advance(self, number)

    monkeypatch.setattr(Peak, "_look", seen)
    monkeypatch.setattr(Tuner, "advance", greedy)
    told = finish(rehearse(settings(), balls(3), base))
    assert 180e6 < told.peak_bytes < 1.5e9
