"""A predictor that takes no time, in place of the networks."""

from __future__ import annotations

import pytest

from napari_sam3d._tests.engine.batch.balls import CubePredictor
from napari_sam3d.engine import predictor as engine
from napari_sam3d.engine.batch import segmenting


@pytest.fixture
def predictor(monkeypatch):
    cube = CubePredictor()
    monkeypatch.setattr(segmenting, "_loaded", {})
    monkeypatch.setattr(engine, "load_predictor", lambda settings, progress: cube)
    return cube
