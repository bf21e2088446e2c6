"""The protocol of MA-SAM: classes without a prompt, tight and relaxed boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam3d._tests.engine.evaluation.simple_predictors import SETTINGS, ByRule, bright
from napari_sam3d._tests.engine.test_ways import BrightClasses
from napari_sam3d.catalog import Intensity, model_spec
from napari_sam3d.engine.classes import ClassPredictor
from napari_sam3d.engine.evaluation.ma_sam import play_ma_sam, reference_box
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Box
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Grid, Volume

PLAY = EvaluationSettings(protocol="ma-sam")


def case_of(labels):
    data = (labels * 200).astype(np.int16)
    return Labelled(Volume(data, Grid.from_spacing(labels.shape, (1, 1, 1)), "case"), labels)


def two_labels():
    labels = np.zeros((12, 28, 28), np.uint8)
    labels[2:6, 4:14, 3:23] = 1
    labels[8:10, 16:20, 6:10] = 2
    return labels


def inside(volume, prompts):
    low, high = prompts.box.array()
    places = np.stack(np.indices(volume.grid.shape), -1)
    return ((places >= low) & (places <= high)).all(-1)


def test_each_box_is_a_prediction_of_its_own():
    labels = two_labels()
    predictor = ByRule(inside, frozenset({"foreground", "background", "box"}))
    played = list(play_ma_sam(predictor, case_of(labels), PLAY))
    rounds = [(1, "tight"), (1, "relaxed"), (2, "tight"), (2, "relaxed")]
    assert [(it.label, it.round) for it in played] == rounds
    assert all(previous is None for _, _, previous in predictor.asked)
    assert all(not prompts.points for _, prompts, _ in predictor.asked)
    for it in played[::2]:
        np.testing.assert_array_equal(it.mask, labels == it.label)
    assert played[0].said == (Box((2, 4, 3), (5, 13, 22)),)
    # 4, 10 and 20 voxels long: 5 % of them are 0.2, 0.5 and 1 voxel
    (relaxed,) = played[1].said
    np.testing.assert_allclose(relaxed.array(), [[1.8, 3.5, 2], [5.2, 13.5, 23]])


def test_boxes_do_not_leave_the_image():
    window = (slice(0, 40), slice(10, 30), slice(5, 6))
    assert reference_box(window, (40, 30, 6)) == Box((0, 10, 5), (39, 29, 5))
    relaxed = reference_box(window, (40, 30, 6), 0.05)
    np.testing.assert_allclose(relaxed.array(), [[0, 9, 4.95], [39, 29, 5]])


def classes(**changes):
    spec = replace(
        model_spec("ma_sam_btcv"),
        intensity=Intensity(kind="window", low=0, high=200),
        classes=("first", "second"),
        **changes,
    )
    return ClassPredictor(BrightClasses(), spec, SETTINGS)


def test_a_model_of_classes_is_asked_once_a_case_without_a_prompt():
    labels = two_labels()
    predictor = classes(prompts=frozenset({"automatic"}))
    played = list(play_ma_sam(predictor, case_of(labels), PLAY))
    assert [(it.label, it.round, it.said) for it in played] == [(1, "none", ()), (2, "none", ())]
    assert len(predictor.model.seen) == len(labels)  # a group about each slice, once
    np.testing.assert_array_equal(played[0].mask, labels > 0)  # it calls all that is bright 1
    assert not played[1].mask.any()
    assert played[0].seconds > 0 and played[1].seconds == 0


def test_mas_own_models_are_played_both_ways():
    labels = two_labels()
    played = list(play_ma_sam(classes(), case_of(labels), PLAY))
    names = [(it.label, it.round) for it in played]
    boxes = [(label, name) for label in (1, 2) for name in ("tight", "relaxed")]
    assert names == [(1, "none"), (2, "none"), *boxes]
    np.testing.assert_array_equal(played[2].mask, labels == 1)
    np.testing.assert_array_equal(played[4].mask, labels == 2)


def test_what_cannot_be_played_is_told():
    points = ByRule(bright)
    with pytest.raises(ValueError, match="by rule needs clicks"):
        next(play_ma_sam(points, case_of(two_labels()), PLAY))
    labels = two_labels() * 2
    predictor = classes()
    with pytest.raises(ValueError, match=r"case has the label 4, but ma_sam_btcv knows 1 to 2"):
        next(play_ma_sam(predictor, case_of(labels), PLAY))
    assert predictor.model.seen == []
