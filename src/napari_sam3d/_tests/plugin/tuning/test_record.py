"""What follows from the events of a training: curves, the best, the time left."""

from __future__ import annotations

import pytest

from napari_sam3d.engine.training.events import Looking, Started, Step, Validated
from napari_sam3d.plugin.tuning.record import Record, spoken


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def record(clock) -> Record:
    it = Record(50, clock)
    it.add(Started("femur", 0, 100, 10, ("a",), ("b",), False))
    return it


def test_the_time_left_is_that_of_steps_and_looks(record, clock) -> None:
    assert record.seconds_left is None
    clock.now = 10.0
    record.add(Validated(0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False))
    record.add(Step(1, 1.0, 1e-4, 2.0))
    # 99 steps of 2 s, and looks after 50 and 100 steps, of 10 s
    assert record.seconds_left == pytest.approx(99 * 2 + 2 * 10)
    assert record.where() == "Step 1 of 100 · 2 s a step · about 4 min left"


def test_the_best_look_counts_and_not_the_last(record) -> None:
    base = (0.5, 0.6, 0.7)
    record.add(Validated(0, base, base, False))
    assert record.scores() == "Dice before tuning 0.50 / 0.60 / 0.70"
    record.add(Validated(50, (0.4, 0.5, 0.6), base, False))
    assert record.scores().startswith("Dice 0.40 / 0.50 / 0.60 now; before tuning 0.50")
    record.add(Validated(100, (0.8, 0.8, 0.9), base, True))
    record.add(Validated(150, (0.7, 0.8, 0.9), base, False))
    assert record.scores().startswith("Best Dice 0.80 / 0.80 / 0.90, at step 100; before tuning")
    assert record.newest() == "Step 150: Dice 0.70 / 0.80 / 0.90 after 1, 3, 5 clicks."
    assert [look.step for look in record.looks] == [0, 50, 100, 150]


def test_a_resumed_training_goes_on_with_its_curves(clock) -> None:
    base = (0.5, 0.6, 0.7)
    past = (Validated(0, base, base, False), Step(1, 0.9, 1e-4, 2.0), Step(2, 0.7, 1e-4, 2.0))
    better = Validated(2, (0.6, 0.7, 0.8), base, True)
    record = Record(50, clock)
    record.add(Started("femur", 2, 100, 10, ("a",), ("b",), False, past=(*past, better)))
    assert [look.step for look in record.looks] == [0, 2]
    assert [step for step, _ in record.losses] == [1, 2]
    assert record.scores() == (
        "Best Dice 0.60 / 0.70 / 0.80, at step 2; before tuning 0.50 / 0.60 / 0.70"
    )


def test_a_network_without_clicks_has_one_dice(clock) -> None:
    record = Record(50, clock)
    record.add(Started("organs", 0, 100, 10, ("a",), ("b",), False, (0,)))
    record.add(Validated(50, (0.7,), (0.5,), True))
    assert record.newest() == "Step 50: Dice 0.70."
    assert record.scores() == "Best Dice 0.70, at step 50; before tuning 0.50"


def test_steps_that_are_told_together_weigh_as_many(record) -> None:
    one = Record()
    for number in range(1, 12):
        one.add(Step(number, 1.0 if number == 1 else 0.0, 0.0, 1.0))
    record.add(Step(1, 1.0, 0.0, 1.0))
    record.add(Step(11, 0.0, 0.0, 1.0))
    assert record.losses[-1][1] == pytest.approx(one.losses[-1][1])


def test_a_look_is_told_until_the_next_step(record) -> None:
    record.add(Looking(0, 2, 5))
    assert "looking at held-out object 2 of 5" in record.where()
    record.add(Step(1, 1.0, 0.0, 1.0))
    assert "held-out" not in record.where()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59, "59 s"), (90, "2 min"), (7200, "2.0 h")]
)
def test_times_are_spoken(seconds, words) -> None:
    assert spoken(seconds) == words
