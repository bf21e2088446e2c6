"""Every row of the catalog names a model that can be had."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import napari_sam3d
from napari_sam3d.catalog import MODELS, ModelSpec, model_spec
from napari_sam3d.engine.orientation import Orientation
from napari_sam3d.settings import InferenceSettings

PACKAGE = Path(napari_sam3d.__file__).parent
WHEEL_LIMIT = 25_000_000
each_model = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)


def test_rows_are_filed_under_their_names():
    assert all(name == spec.name for name, spec in MODELS.items())
    assert model_spec("compact") is MODELS["compact"]


def test_an_unknown_model_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"no model called 'sam4'; known models: .*compact"):
        model_spec("sam4")


def test_the_default_model_exists_and_works_offline():
    assert model_spec(InferenceSettings().model).weights.shipped


@each_model
def test_a_row_is_complete(spec: ModelSpec):
    assert spec.title and spec.citation and spec.weights.licence
    assert spec.way in {"following", "fixed", "slices", "classes"}
    assert spec.prompts and spec.prompts <= {"foreground", "background", "mask", "box", "automatic"}
    assert (spec.way in ("following", "fixed")) <= (min(spec.patch_shape) >= 1)
    assert (spec.way == "fixed") <= (spec.spacing_mm is not None)
    assert ("automatic" in spec.prompts) == bool(spec.classes) == (spec.way == "classes")
    Orientation(spec.axes)


@each_model
def test_weights_are_shipped_or_can_be_had(spec: ModelSpec):
    weights = spec.weights
    if weights.shipped:
        file = PACKAGE / "engine" / "models" / weights.file
        assert file.is_file() and file.stat().st_size <= WHEEL_LIMIT
        assert hashlib.sha256(file.read_bytes()).hexdigest() == weights.sha256
    elif weights.url is not None:
        assert weights.url.startswith("https://") and weights.url.endswith(weights.file)
        assert weights.sha256 is not None
    else:
        assert weights.page.startswith("https://") and weights.file == f"{spec.name}.safetensors"
    assert weights.sha256 is None or len(weights.sha256) == 64


def test_every_model_has_a_file_of_its_own():
    files = [spec.weights.file for spec in MODELS.values()]
    assert len(set(files)) == len(files)
