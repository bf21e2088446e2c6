"""A predictor that takes no time, in place of the networks."""

from __future__ import annotations

import pytest

from napari_sam3d._tests.engine.batch import balls


@pytest.fixture
def predictor(monkeypatch):
    return balls.stand_in(monkeypatch)
