"""Which objects of a labelled volume are looked at, on volumes whose parts can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam3d.engine.evaluation.objects import choose, contrast
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Grid, Volume


def case(labels: np.ndarray, image: np.ndarray | None = None, names=()) -> Labelled:
    grid = Grid.from_spacing(labels.shape, (3, 1, 1))
    data = np.zeros(labels.shape, np.float32) if image is None else image
    return Labelled(Volume(data, grid, "scan"), labels, dict(names))


@pytest.fixture
def organs() -> Labelled:
    """Label 2 in two parts of 8 voxels and 1 voxel, label 5 in one of 4."""
    labels = np.zeros((6, 8, 8), np.int16)
    labels[0:2, 0:2, 0:2] = 2
    labels[5, 7, 7] = 2
    labels[3, 3:5, 3:5] = 5
    return case(labels, names={2: "kidney", 5: "liver"})


def test_every_class_is_an_object(organs):
    chosen, targets = choose(organs, EvaluationSettings())
    assert [(it.label, it.name, it.class_label) for it in targets] == [
        (2, "kidney", 2),
        (5, "liver", 5),
    ]
    assert np.array_equal(chosen.labels, organs.labels)
    assert targets[0].window == (slice(0, 6), slice(0, 8), slice(0, 8))


def test_every_part_is_an_object_when_instances_are_told_apart(organs):
    chosen, targets = choose(organs, EvaluationSettings(each="instance"))
    assert [(it.name, it.class_label) for it in targets] == [
        ("kidney 1", 2),
        ("kidney 2", 2),
        ("liver 1", 5),
    ]
    sizes = [int((chosen.labels == it.label).sum()) for it in targets]
    assert sizes == [8, 1, 4]
    assert np.array_equal(chosen.labels > 0, organs.labels > 0)


def test_parts_that_touch_at_a_corner_are_one():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 1
    _, targets = choose(case(labels), EvaluationSettings(each="instance"))
    assert [it.name for it in targets] == ["label 1 1"]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"labels": (5,)}, ["liver"]),
        ({"smallest": 5}, ["kidney"]),
        ({"smallest": 5, "each": "instance"}, ["kidney 1"]),
        ({"labels": (2, 9), "each": "instance"}, ["kidney 1", "kidney 2"]),
    ],
)
def test_others_are_background(organs, settings, names):
    chosen, targets = choose(organs, EvaluationSettings(**settings))
    assert [it.name for it in targets] == names
    assert set(np.unique(chosen.labels)) == {0, *(it.label for it in targets)}


def test_the_same_objects_are_drawn_every_time():
    labels = np.arange(60, dtype=np.int32).reshape(3, 4, 5)
    first = choose(case(labels), EvaluationSettings(objects=7))[1]
    second = choose(case(labels), EvaluationSettings(objects=7))[1]
    found = [it.label for it in first]
    assert found == [it.label for it in second] == sorted(found) and len(found) == 7


def test_a_case_without_objects_is_told(organs):
    with pytest.raises(ValueError, match="scan holds no object to look at"):
        choose(organs, EvaluationSettings(labels=(7,)))


def test_contrast_is_in_standard_deviations():
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[3:6, 3:6, 3:6] = 1
    rng = np.random.default_rng(0)
    image = rng.normal(10, 2, labels.shape) + 6.0 * labels
    (target,) = choose(case(labels), EvaluationSettings())[1]
    assert contrast(image, labels, target) == pytest.approx(3, abs=0.4)
    assert contrast(-image, labels, target) == pytest.approx(-3, abs=0.4)
    assert np.isnan(contrast(np.zeros(labels.shape), labels, target))


def test_an_object_that_fills_the_volume_has_no_contrast():
    labels = np.ones((3, 3, 3), np.uint8)
    (target,) = choose(case(labels), EvaluationSettings())[1]
    assert np.isnan(contrast(np.random.default_rng(0).random(labels.shape), labels, target))
