"""The layer of probabilities, made of logits that anyone can compute."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from napari_sam3d._tests.plugin.conftest import RADIUS, BallPredictor
from napari_sam3d.engine.prediction import Prediction, probability
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.volume import Grid

SHAPE = (24, 40, 44)
AT = (12, 20, 22)


def steepness(shape, center) -> np.ndarray:
    """Logits that fall by 2 per voxel from a ball outwards, float32."""
    far = sum((i - c) ** 2 for i, c in zip(np.indices(shape), center, strict=True)) ** 0.5
    return (2 * (RADIUS - far)).astype(np.float32)


class Graded(BallPredictor):
    """Grades the voxels about its ball; 5 more on each side than are in the ball."""

    def predict(self, volume, prompts, previous=None, cancelled=lambda: False) -> Prediction:
        found = super().predict(volume, prompts, previous, cancelled)
        z, y, x = (slice(s.start - 5, s.stop + 5) for s in found.window)
        logits = steepness(SHAPE, prompts.points[-1].position_voxel)[z, y, x]
        return replace(found, patch=volume.grid.window((z, y, x)), logits=logits)


@pytest.fixture
def viewer(real_viewer):
    return real_viewer()


@pytest.fixture
def image(viewer):
    data = np.zeros(SHAPE, np.int16)
    return viewer.add_image(data, name="ct", scale=(3, 0.8, 0.8), translate=(4, 5, -6))


@pytest.fixture
def dock(viewer, image, loader):
    loader.predictor = Graded(loader.predictor.settings)
    widget = SegmentWidget(viewer, loader)
    yield widget
    widget.teardown()
    widget.deleteLater()


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def expected_is(layer, image, center) -> bool:
    """Whether each voxel of the layer is the logistic function of the logit where it lies."""
    if layer is None:
        return False
    start = np.rint(image.world_to_data(layer.data_to_world((0, 0, 0)))).astype(int)
    where = tuple(slice(a, a + n) for a, n in zip(start, layer.data.shape, strict=True))
    truth = 1 / (1 + np.exp(-steepness(SHAPE, center)))
    inside = truth > 0.02
    outside = inside.copy()
    outside[where] = False
    near = np.allclose(layer.data, truth[where], atol=0.001)
    return near and not outside.any() and layer.data.size < 0.2 * inside.size


def test_it_lies_on_its_voxels_and_follows_the_object(viewer, image, dock, qtbot, loader) -> None:
    dock.session.prompt_layer.add(AT)
    qtbot.waitUntil(lambda: dock.session.labels.data.any())
    assert names(viewer)[:2] == ["ct", "ct_seg"]
    dock.probability.box.setChecked(True)
    qtbot.waitUntil(lambda: expected_is(dock.probability.layer, image, AT))
    layer = dock.probability.layer
    assert names(viewer)[:3] == ["ct", "ct_prob", "ct_seg"]
    assert layer.data.dtype == np.float16 and tuple(layer.contrast_limits) == (0, 1)
    assert viewer.layers.selection.active == dock.session.prompt_layer.layer
    assert [image.name for image in dock.image.box.choices if image is not None] == ["ct"]
    dock.session.prompt_layer.add((12, 20, 25))
    qtbot.waitUntil(lambda: expected_is(layer, image, (12, 20, 25)))
    dock.session.undo()
    qtbot.waitUntil(lambda: expected_is(layer, image, AT))
    before, calls = layer.data, len(loader.predictor.calls)
    dock.set_value(replace(dock.value(), threshold=0.9))
    qtbot.waitUntil(lambda: "0.9" in dock.controls.status.text())
    assert layer.data is before and len(loader.predictor.calls) == calls
    image.scale = (2, 1, 1)
    dock.session.prompt_layer.add((12, 20, 19))
    qtbot.waitUntil(lambda: expected_is(dock.probability.layer, image, (12, 20, 19)))
    dock.session.new_object()
    qtbot.waitUntil(lambda: "ct_prob" not in names(viewer))
    dock.session.select(1)
    qtbot.waitUntil(lambda: expected_is(dock.probability.layer, image, (12, 20, 19)))


def test_it_goes_with_its_tick_and_the_tick_goes_with_it(viewer, image, dock, qtbot) -> None:
    dock.session.prompt_layer.add(AT)
    dock.probability.box.setChecked(True)
    qtbot.waitUntil(lambda: "ct_prob" in names(viewer))
    dock.probability.box.setChecked(False)
    qtbot.waitUntil(lambda: "ct_prob" not in names(viewer))
    dock.probability.box.setChecked(True)
    qtbot.waitUntil(lambda: "ct_prob" in names(viewer))
    viewer.layers.remove(dock.probability.layer)
    assert not dock.probability.box.isChecked()
    dock.probability.box.setChecked(True)
    qtbot.waitUntil(lambda: "ct_prob" in names(viewer))
    viewer.layers.remove(image)
    qtbot.waitUntil(lambda: "ct_prob" not in names(viewer))


def test_closing_the_dock_takes_it_away(viewer, image, dock, qtbot) -> None:
    dock.session.prompt_layer.add(AT)
    dock.probability.box.setChecked(True)
    qtbot.waitUntil(lambda: "ct_prob" in names(viewer))
    dock.probability.close_layer()
    assert names(viewer) == ["ct", "ct_seg", dock.session.prompt_layer.layer.name]
    dock.probability = type("Gone", (), {"close_layer": lambda self: None})()


def test_yes_or_no_is_a_sentence(viewer, image, dock, qtbot, monkeypatch) -> None:
    predict = Graded.predict
    monkeypatch.setattr(Graded, "predict", lambda *args: replace(predict(*args), graded=False))
    dock.probability.box.setChecked(True)
    dock.session.prompt_layer.add(AT)
    qtbot.waitUntil(lambda: "there is no probability to show" in dock.controls.status.text())
    assert "ct_prob" not in names(viewer)


def test_a_large_one_does_not_stall_the_window(viewer, image, dock, qtbot) -> None:
    section, session = dock.probability, dock.session
    session.prompt_layer.add(AT)
    section.box.setChecked(True)
    qtbot.waitUntil(lambda: section.layer is not None)
    block = np.random.default_rng(0).random((192, 192, 192), np.float32).astype(np.float16)
    gaps = []
    for first in range(5):
        large, window = block.copy(), (slice(first, first + 192),) * 3
        began = time.thread_time()
        section._show(large, window)
        gaps.append(time.thread_time() - began)
    assert min(gaps) < 0.05


def test_what_views_say_are_probabilities_already() -> None:
    grid = Grid.from_spacing((8, 8, 8), (1, 1, 1))
    logits = np.full((8, 8, 8), -20, np.float32)
    logits[2:4, 2:4, 2:4] = [[[0.0, 1.0]] * 2] * 2
    it = Prediction(np.zeros((0, 0, 0), bool), (slice(0, 0),) * 3, grid, logits, 0.5)
    for views in ((), ("one",)):
        block, window = probability(replace(it, views=views), grid)
        assert [(s.start, s.stop) for s in window] == [(1, 5)] * 3
        np.testing.assert_allclose(block[1:3, 1:3, 2], 0.7311, atol=0.001)
        assert block[0].max() < 0.001
    block, window = probability(replace(it, logits=np.full((8, 8, 8), -9, np.float32)), grid)
    assert block.shape == (0, 0, 0)
