"""Settings refuse what their fields do not allow."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest

from napari_sam3d.settings import InferenceSettings, TrainSettings


def test_defaults_are_the_documented_ones():
    assert asdict(InferenceSettings()) == {
        "model": "compact",
        "device": "auto",
        "precision": "auto",
        "threshold": 0.5,
        "slices": "auto",
        "keep_clicked": False,
        "fill_holes": False,
        "smooth_mm": 0.0,
        "adapter": "",
    }


@pytest.mark.parametrize("threshold", [0.01, 0.5, 0.99])
def test_values_in_range_are_taken(threshold):
    assert InferenceSettings(threshold=threshold).threshold == threshold


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"threshold": 0}, "threshold is 0; it must be 0.01 to 0.99"),
        ({"threshold": 1.5}, "threshold is 1.5; it must be 0.01 to 0.99"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"smooth_mm": -1}, "smooth_mm is -1; it must be 0.0 to 10.0"),
        ({"precision": "fp8"}, "precision is 'fp8'; it can be one of auto, fp32, bf16, fp16"),
    ],
)
def test_other_values_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        InferenceSettings(**wrong)
    with pytest.raises(ValueError, match=sentence):
        replace(InferenceSettings(), **wrong)


def test_settings_are_values():
    settings = InferenceSettings()
    with pytest.raises(FrozenInstanceError):
        settings.model = "other"
    assert settings == InferenceSettings() and hash(settings) == hash(InferenceSettings())


@pytest.mark.parametrize(
    ("settings", "total"),
    [({}, 300), ({"effort": "quick"}, 100), ({"effort": "long"}, 2000), ({"steps": 7}, 7)],
)
def test_the_effort_says_how_many_steps_unless_they_are_given(settings, total):
    assert TrainSettings(**settings).total == total


@pytest.mark.parametrize("wrong", [{"effort": "huge"}, {"accumulate": 0}, {"rate": float("nan")}])
def test_other_settings_of_a_training_are_refused(wrong):
    with pytest.raises(ValueError, match=f"TrainSettings.{next(iter(wrong))} is"):
        TrainSettings(**wrong)


@pytest.mark.parametrize("settings", [InferenceSettings, TrainSettings])
def test_every_limit_is_one_that_is_checked(settings):
    for declared in fields(settings):
        assert set(declared.metadata) <= {"min", "max", "step", "choices", "label", "visible"}
