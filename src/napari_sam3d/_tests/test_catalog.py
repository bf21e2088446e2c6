"""Every row of the catalog names a model that can be had."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import pytest

import napari_sam3d
from napari_sam3d.catalog import MODELS, ModelSpec, model_spec
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
    assert model_spec(InferenceSettings().model).weights.url is None


@each_model
def test_a_row_is_complete(spec: ModelSpec):
    assert spec.title and spec.citation and spec.weights.licence
    assert len(spec.patch_shape) == 3 and min(spec.patch_shape) >= 1
    assert "foreground" in spec.prompts
    assert spec.prompts <= {"foreground", "background", "mask"}


@each_model
def test_downloads_have_a_checksum(spec: ModelSpec):
    if spec.weights.url is not None:
        assert spec.weights.url.startswith("https://")
        assert spec.weights.sha256 is not None and len(spec.weights.sha256) == 64


@each_model
def test_the_network_can_be_imported(spec: ModelSpec):
    module, _, name = spec.family.partition(":")
    assert isinstance(getattr(importlib.import_module(module), name), type)


@each_model
def test_shipped_weights_are_there_and_small(spec: ModelSpec):
    if spec.weights.url is None:
        file = PACKAGE / "engine" / "models" / spec.weights.file
        assert file.is_file() and file.stat().st_size <= WHEEL_LIMIT
        if spec.weights.sha256 is not None:
            assert hashlib.sha256(file.read_bytes()).hexdigest() == spec.weights.sha256
