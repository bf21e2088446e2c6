"""Rounds of the challenge with predictors that answer by a rule."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_sam3d._tests.engine.challenge_rule import challenge_click
from napari_sam3d._tests.engine.evaluation.simple_predictors import POINTS, ByRule
from napari_sam3d.engine.evaluation.boxes import challenge_box, generator_of, true_box
from napari_sam3d.engine.evaluation.cvpr25 import play_cvpr25
from napari_sam3d.engine.evaluation.results import Played
from napari_sam3d.engine.metrics import area_under, dice
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Box, Point, Prompts
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Grid, Volume

CLICKS = EvaluationSettings(box="none")


def case_of(labels: np.ndarray) -> Labelled:
    image = np.zeros(labels.shape, np.float32)
    grid = Grid.from_spacing(labels.shape, (3.0, 0.8, 0.8))
    return Labelled(Volume(image, grid, name="phantom"), labels)


def stamped(points: Sequence[Point], shape: tuple[int, ...]) -> np.ndarray:
    """Balls about the positive clicks, without smaller ones about the negative clicks."""
    out = np.zeros(shape, bool)
    for it in points:
        distance = sum((np.indices(shape)[i] - it.position_voxel[i]) ** 2 for i in range(3))
        out[distance <= (10 if it.positive else 4)] = it.positive
    return out


def stamping(volume: Volume, prompts: Prompts) -> np.ndarray:
    """As `stamped`, and the box where there is no click."""
    out = stamped(prompts.points, volume.grid.shape)
    if prompts.box is not None and not prompts.points:
        low, high = prompts.box.voxels()
        out[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = True
    return out


def nothing(volume: Volume, prompts: Prompts) -> np.ndarray:
    """An empty mask."""
    return np.zeros(volume.grid.shape, bool)


def knowing(truth: np.ndarray) -> ByRule:
    """Answers with the label under the first click."""

    def rule(volume: Volume, prompts: Prompts) -> np.ndarray:
        z, y, x = (int(c) for c in prompts.points[0].position_voxel)
        return truth == truth[z, y, x]

    return ByRule(rule)


def two_bars() -> np.ndarray:
    """Label 2, 3 x 3 x 13 voxels, and label 5 of 3 x 5 x 9 beside it."""
    labels = np.zeros((9, 14, 20), np.uint8)
    labels[3:6, 2:5, 3:16] = 2
    labels[3:6, 5:10, 3:12] = 5
    return labels


def played(predictor, labels: np.ndarray, how: EvaluationSettings = CLICKS) -> list[Played]:
    return list(play_cvpr25(predictor, case_of(labels), how))


def said(found: Sequence[Played]) -> list[tuple]:
    return [
        (it.round, it.label, [(*p.position_voxel, p.positive) for p in it.said]) for it in found
    ]


RECORDED = [
    ("1", 2, [(4, 3, 10, True)]),
    ("1", 5, [(4, 6, 10, True)]),
    ("2", 2, [(4, 3, 4, True)]),
    ("2", 5, [(4, 7, 5, True)]),
    ("3", 2, [(4, 1, 9, False)]),
    ("3", 5, [(5, 7, 2, False)]),
    ("4", 2, [(2, 2, 10, False)]),
    ("4", 5, [(5, 7, 4, True)]),
    ("5", 2, [(6, 2, 10, False)]),
    ("5", 5, [(7, 7, 4, False)]),
]


def test_clicks_of_a_fixed_predictor():
    """Derived by `plainly`, and recorded."""
    assert said(played(ByRule(stamping), two_bars())) == RECORDED


def plainly(labels: np.ndarray, clicks: int = 5) -> list[tuple]:
    """The rounds written down by the challenge's script, on whole arrays; lower labels win."""
    present = [it for it in np.unique(labels).tolist() if it > 0]
    given: dict[int, list[Point]] = {it: [] for it in present}
    segs, out = np.zeros_like(labels), []
    for number in range(1, clicks + 1):
        new = {it: challenge_click(segs == it, labels == it) for it in present}
        for it in present:
            given[it] += [new[it]] if new[it] else []
        segs = np.zeros_like(labels)
        for it in reversed(present):
            segs[stamped(given[it], labels.shape)] = it
        out += [(str(number), it, [new[it]] if new[it] else [], segs == it) for it in present]
    return out


@settings(max_examples=15, deadline=None)
@given(shape=st.tuples(*[st.integers(4, 16)] * 3), seed=st.integers(0, 2**31))
def test_rounds_are_those_of_the_script_written_plainly(shape, seed):
    fields = np.random.default_rng(seed).standard_normal((4, *shape))
    labels = np.stack([gaussian_filter(it, 2) for it in fields]).argmax(0).astype(np.uint8)
    if not labels.any():
        return
    found, expected = played(ByRule(stamping), labels), plainly(labels)
    assert [(it.round, it.label, list(it.said)) for it in found] == [it[:3] for it in expected]
    for it, (*_, mask) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(it.mask, mask)


def test_the_same_again():
    labels = two_bars()
    boxed = EvaluationSettings()
    for how in (CLICKS, boxed):
        one, other = (played(ByRule(stamping, POINTS | {"box"}), labels, how) for _ in range(2))
        assert said_all(one) == said_all(other)
        assert all((a.mask == b.mask).all() for a, b in zip(one, other, strict=True))


def said_all(found: Sequence[Played]) -> list[tuple]:
    return [(it.round, it.label, it.said) for it in found]


def test_a_perfect_and_an_empty_predictor():
    labels = two_bars()
    for predictor, area in ((knowing(labels), 4.0), (ByRule(nothing), 0.0)):
        found = played(predictor, labels)
        for label in (2, 5):
            rounds = [it for it in found if it.label == label]
            assert [it.round for it in rounds] == ["1", "2", "3", "4", "5"]
            assert area_under([dice(it.mask, labels == label) for it in rounds]) == area


def test_a_perfect_object_is_not_asked_again():
    labels = two_bars()
    predictor = knowing(labels)
    found = played(predictor, labels)
    assert len(predictor.asked) == 2
    assert all(it.said and it.seconds > 0 for it in found[:2])
    assert [(it.said, it.seconds) for it in found[2:]] == [((), 0.0)] * 8


def test_clicks_add_up_and_the_last_answer_is_handed_on():
    labels = two_bars()
    predictor = ByRule(stamping)
    case = case_of(labels)
    found = list(play_cvpr25(predictor, case, CLICKS))
    of_two = [it for it in found if it.label == 2]
    asked = predictor.asked[::2]  # both objects are asked in every round
    assert len(predictor.asked) == 10
    assert all(volume is case.volume for volume, _, _ in asked)
    heard = [point for it in of_two for point in it.said]
    assert [prompts.points for _, prompts, _ in asked] == [tuple(heard[:n]) for n in range(1, 6)]
    assert asked[0][2] is None
    for before, (_, _, previous) in pairwise(asked):
        assert (previous.mask == stamping(case.volume, before[1])).all()


def test_a_box_comes_first_for_models_that_take_one():
    labels = two_bars()
    predictor = ByRule(stamping, POINTS | {"box"})
    for kind in ("cvpr25", "true3d"):
        found = played(predictor, labels, EvaluationSettings(box=kind))
        rounds = [name for name, _ in groupby(found, key=lambda it: it.round)]
        assert rounds == ["box", "1", "2", "3", "4", "5"]
        reference = labels == 2
        expected = (
            true_box(reference)
            if kind == "true3d"
            else challenge_box(reference, generator_of("phantom", 2))
        )
        assert found[0].said == (expected,)
    boxes = [prompts.box for _, prompts, _ in predictor.asked[-10:]]
    assert None not in boxes  # a box stays beside the clicks
    for box, takes in (("none", POINTS | {"box"}), ("cvpr25", POINTS)):
        found = played(ByRule(stamping, takes), labels, EvaluationSettings(box=box))
        assert found[0].round == "1"


def test_the_boxes_of_a_file_of_the_challenge_come_before_drawn_ones():
    labels, takes = two_bars(), POINTS | {"box"}
    given = {5: Box((3, 5, 3), (4, 7, 7))}

    def rounds(boxes, kind="cvpr25"):
        predictor = ByRule(stamping, takes)
        how = EvaluationSettings(box=kind, clicks=1)
        return list(play_cvpr25(predictor, case_of(labels), how, boxes))

    two, five, first, _ = rounds(given)
    assert (two.round, two.said, two.mask.any()) == ("box", (), False)
    assert five.said == (given[5],) and five.mask.sum() == 2 * 3 * 5
    assert first.said == (challenge_click(two.mask, labels == 2),)
    # none in the file: no round of boxes
    assert [it.round for it in rounds({})] == ["1", "1"]
    assert rounds({}, "true3d")[1].said == rounds(given, "true3d")[1].said
    assert rounds(given, "true3d")[1].said == (true_box(labels == 5),)


def test_too_much_mask_gets_a_negative_click_where_the_model_takes_it():
    """The ball about the only click is larger than the object of a voxel."""
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, 4] = 1
    both = played(ByRule(stamping), labels, EvaluationSettings(box="none", clicks=2))
    assert both[0].said == (Point((4, 4, 4), True),)
    assert [it.positive for it in both[1].said] == [False]
    positive = ByRule(stamping, frozenset({"foreground"}))
    alone = played(positive, labels, EvaluationSettings(box="none", clicks=2))
    assert alone[1].said == () and alone[1].seconds == 0 and len(positive.asked) == 1
    assert (alone[1].mask == alone[0].mask).all()


def test_the_click_comes_from_the_labels_of_all_objects_together():
    """Both objects get all voxels, of which label 1 then has none."""
    labels = np.zeros((3, 3, 12), np.uint8)
    labels[..., :6], labels[..., 6:] = 1, 2

    class Greedy(ByRule):
        """Says that all is the object, for label 1 with less certainty."""

        def _predict(self, volume, prompts, previous, cancelled):
            found = super()._predict(volume, prompts, previous, cancelled)
            certain = 2 if prompts.points[0].position_voxel[2] < 6 else 4
            return replace(found, logits=found.mask * np.float32(certain))

    def everything(volume, prompts):
        return np.ones(volume.grid.shape, bool)

    found = played(Greedy(everything), labels, EvaluationSettings(box="none", clicks=2))
    assert not found[0].mask.any() and found[1].mask.all()
    one, two = found[2:]
    assert one.said[0].positive and one.said[0].position_voxel[2] < 6
    assert not two.said[0].positive and two.said[0].position_voxel[2] < 6


def test_a_model_of_boxes_alone_stays_with_its_box():
    labels = two_bars()
    boxes = ByRule(stamping, frozenset({"box"}))
    found = played(boxes, labels, EvaluationSettings(clicks=2))
    assert [it.round for it in found[::2]] == ["box", "1", "2"] and len(boxes.asked) == 2
    assert all((it.mask == found[0].mask).all() for it in found[::2])


@pytest.mark.parametrize(
    ("takes", "advice"), [("automatic", "another protocol"), ("box", "another box")]
)
def test_a_model_that_takes_nothing_is_refused(takes, advice):
    with pytest.raises(ValueError, match=f"takes no clicks; choose {advice}"):
        played(ByRule(stamping, frozenset({takes})), two_bars(), CLICKS)


def test_masks_are_given_one_by_one():
    """Nothing holds the masks that were yielded: of many objects they would fill the memory."""
    steps = play_cvpr25(ByRule(stamping), case_of(two_bars()), CLICKS)
    first = weakref.ref(next(steps).mask)
    next(steps)
    assert first() is None
