"""The demo with a screen: what it opens is the dock at work, not a picture of it."""

from __future__ import annotations

import napari
import numpy as np
import pytest

from napari_sam3d.cli import main
from napari_sam3d.cli.demo import no_screen
from napari_sam3d.engine import predictor as engine
from napari_sam3d.samples import load_sample

pytestmark = pytest.mark.skipif(no_screen() is not None, reason="there is no screen")


class VoxelPredictor:
    """Stands in for a network: the voxel that was clicked first."""

    def predict(self, volume, prompts, previous=None, cancelled=lambda: False):
        z, y, x = (int(c) for c in prompts.points[0].position_voxel)
        window = (slice(z, z + 1), slice(y, y + 1), slice(x, x + 1))
        mask, grid = np.ones((1, 1, 1), bool), volume.grid.window(window)
        return engine.Prediction(mask, window, grid, mask.astype(np.float32), 1.0, 0.0)


def test_a_sample_is_segmented_by_the_dock(make_napari_viewer, qtbot, monkeypatch):
    viewer = make_napari_viewer()
    monkeypatch.setattr(engine, "load_predictor", lambda settings, progress: VoxelPredictor())
    monkeypatch.setattr(napari, "Viewer", lambda title: viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    assert main(["demo", "brain", "--threshold", "0.4"]) == 0

    (dock,) = viewer.window.dock_widgets.values()
    assert dock.value().threshold == 0.4
    clicked = load_sample("brain").click_voxel
    points = next(layer for layer in viewer.layers if isinstance(layer, napari.layers.Points))
    labels = next(layer for layer in viewer.layers if isinstance(layer, napari.layers.Labels))
    np.testing.assert_array_equal(points.data, [clicked])
    assert viewer.dims.point[0] == pytest.approx(labels.data_to_world(clicked)[0])
    qtbot.waitUntil(lambda: np.count_nonzero(labels.data) == 1, timeout=20_000)
    assert labels.data[tuple(int(c) for c in clicked)] == 1
