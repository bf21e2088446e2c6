"""Points, boxes and scribbles together in the dock, and models that take only some of them."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam3d._tests.plugin.conftest import SHAPE, ball, canvas_click, object_is
from napari_sam3d.catalog import MODELS
from napari_sam3d.plugin.session import availability
from napari_sam3d.plugin.thread import predictors
from napari_sam3d.prompts import Box, Point, Said, Scribble

BOX = Box((4, 5, 6), (7, 9, 12))
STROKE = Scribble(((16, 30, 30), (16, 30, 36)), positive=False)


@pytest.fixture
def image(viewer):
    return viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")


def in_box() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[4:8, 5:10, 6:13] = True
    return mask


def rows(dock) -> list[tuple[str, bool]]:
    return [(row.kind, row.positive) for row in dock.overview.prompts.value()]


def choose(table, line: int) -> None:
    at = table.visualItemRect(table.item(line, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)


def test_all_kinds_wait_for_one_run_and_are_chosen_and_deleted_in_the_table(
    viewer, image, dock, loader, qtbot
) -> None:
    dock.controls.auto.setChecked(False)
    canvas_click(viewer, (16, 30, 33), image)
    dock.session.prompt_layer.boxed.emit(BOX)
    dock.session.prompt_layer.scribbled.emit(STROKE)
    placed = "1 point, a box, 1 scribble placed; press Segment"
    qtbot.waitUntil(lambda: placed in dock.controls.status.text())
    assert not loader.predictor.calls
    dock.controls.segment.click()
    stroke = ball(SHAPE, (16, 30, 30)) | ball(SHAPE, (16, 30, 36))
    qtbot.waitUntil(lambda: object_is(dock, (in_box() | ball(SHAPE, (16, 30, 33))) & ~stroke))
    assert len(loader.predictor.calls) == 1
    assert "(1 point, a box, 1 scribble)" in dock.controls.status.text()

    QTest.mouseClick(dock.overview.prompt_section.toggleButton(), Qt.MouseButton.LeftButton)
    table = dock.overview.prompts.table
    expected = [("Point", True), ("Box", True), ("Scribble", False)]
    qtbot.waitUntil(lambda: table.isVisible() and rows(dock) == expected)
    choose(table, 1)
    assert viewer.dims.point[0] == 5
    choose(table, 2)
    assert viewer.dims.point[0] == 16
    dock.controls.auto.setChecked(True)
    QTest.keyClick(table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: object_is(dock, in_box() | ball(SHAPE, (16, 30, 33))))
    qtbot.waitUntil(lambda: rows(dock) == expected[:2])
    choose(table, 1)
    dock.overview.prompts.delete.click()
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, (16, 30, 33))))
    for _ in range(2):
        dock.controls.undo.click()
    qtbot.waitUntil(lambda: rows(dock) == expected)


def test_a_model_of_boxes_is_asked_by_a_box_and_refuses_a_click(
    viewer, image, dock, loader, qtbot, monkeypatch
) -> None:
    monkeypatch.setattr(availability, "where", lambda spec: availability.Where.HERE)
    monkeypatch.setattr(predictors, "needs_download", lambda settings: False)
    dock.form.row("model").value = "medsam"
    assert dock.controls.auto.isEnabled() and not dock.controls.positive.isEnabled()
    canvas_click(viewer, (16, 30, 33), image)
    said = "medsam takes a box and no clicks: choose the tool Box and draw one."
    assert dock.controls.status.text() == said and not dock.session.objects
    assert dock.guide.text.text() == said
    dock.session.prompt_layer.boxed.emit(BOX)
    qtbot.waitUntil(lambda: object_is(dock, in_box()))
    assert loader.loads[-1].model == "medsam"


CLICKED, BOXED = Said((Point((1, 2, 3)),)), Said(box=BOX)


@pytest.mark.parametrize(
    ("name", "said", "can"),
    [
        ("compact", CLICKED, True),
        ("medsam", CLICKED, False),
        ("medsam", BOXED, True),
        ("ma_sam_btcv", Said(), False),
        ("ma_sam_btcv", BOXED, True),
        ("sam3d_adapter_auto_kits", BOXED, False),
    ],
)
def test_models_are_asked_about_what_they_take(name, said, can) -> None:
    assert availability.can_answer(MODELS[name], said) == can
