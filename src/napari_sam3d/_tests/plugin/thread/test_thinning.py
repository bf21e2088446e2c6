"""Steps come in hundreds a second; an eye follows ten, and misses nothing that counts."""

from __future__ import annotations

import itertools

import numpy as np

from napari_sam3d.engine.training.events import Looking, Preview, Saved, Step, Validated
from napari_sam3d.plugin.thread.thinning import EVERY_S, Thinned


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(number: int, loss: float = 1.0) -> Step:
    return Step(number, loss, 1e-3, 0.01)


def test_fast_steps_are_told_together() -> None:
    told: list = []
    clock = Clock()
    tell = Thinned(told.append, clock)
    for number in range(1, 101):
        tell(step(number, float(number)))
        clock.now += 0.01
    assert told[0] == step(1, 1.0)
    gaps = {b.step - a.step for a, b in itertools.pairwise(told)}
    assert gaps <= {round(EVERY_S / 0.01), round(EVERY_S / 0.01) + 1} and 9 <= len(told) <= 11
    assert told[1].loss == sum(range(2, told[1].step + 1)) / (told[1].step - 1)
    assert abs(told[1].seconds - 0.01) < 1e-9


def test_nothing_else_is_lost_or_overtaken() -> None:
    told: list = []
    tell = Thinned(told.append, Clock())  # all at the same moment
    looks = [Looking(3, done, 9) for done in range(1, 10)]
    validated, saved = Validated(3, (0.5,), (0.4,), True), Saved(3, "best")
    for event in (step(1), step(2), step(3), *looks, validated, saved, step(4)):
        tell(event)
    assert told == [step(1), step(3), looks[-1], validated, saved]
    tell.flush()
    assert told[-1] == step(4)
    tell.flush()
    assert len(told) == 6


def test_slow_steps_are_told_as_they_are() -> None:
    told: list = []
    clock = Clock()
    tell = Thinned(told.append, clock)
    events = [step(1), step(2), Looking(2, 1, 2), Looking(2, 2, 2), step(3)]
    for event in events:
        clock.now += 1
        tell(event)
        assert told[-1] == event
    assert told == events


def test_no_mask_of_a_look_is_lost() -> None:
    told: list = []
    tell = Thinned(told.append, Clock())  # all at the same moment
    mask = np.ones((1, 1, 1), bool)
    found = [Preview("a", label, mask, (slice(0, 1),) * 3, 1.0) for label in (1, 2, 3)]
    looks = [Looking(3, number, 3, it) for number, it in enumerate(found, 1)]
    for event in (step(3), *looks):
        tell(event)
    assert told[-3:] == looks
