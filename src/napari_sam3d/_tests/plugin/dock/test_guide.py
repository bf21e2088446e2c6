"""The first use: what the guide says, when it goes, and how few actions a mask takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.settings import get_plugin_settings
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam3d._tests.plugin.conftest import (
    SHAPE,
    ball,
    canvas_click,
    canvas_key,
    object_is,
    open_dock,
)
from napari_sam3d.plugin.dock.guide import Guide, Progress, advice

FIRST, SECOND = (12, 20, 22), (6, 8, 8)
CORRECT = "Correct: click where"


@pytest.fixture
def settings(plugin_settings, npe2pm, manifest):
    npe2pm.register(manifest)
    return lambda: get_plugin_settings("napari-sam3d").guide


@pytest.mark.parametrize(
    ("at", "begins"),
    [
        (Progress(), "Open a 3D image"),
        (Progress(has_image=True), "Click on the object"),
        (Progress(has_image=True, obstacle="x needs a file of weights"), "x needs a file"),
        (Progress(has_image=True, no_clicks="Draw a box."), "Draw a box."),
        (Progress(has_image=True, prompts=1), "Its mask appears"),
        (Progress(has_image=True, prompts=1, masks=1), CORRECT),
        (Progress(has_image=True, no_clicks="Draw a box.", masks=3), CORRECT),
    ],
)
def test_it_says_the_next_step(at, begins) -> None:
    assert advice(at).startswith(begins)


def press(widget) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def test_it_leads_to_the_second_object_and_goes(viewer, settings, loader, qtbot) -> None:
    dock = open_dock(viewer, loader, qtbot)
    guide = dock.guide
    assert guide.text.isVisible() and guide.text.text().startswith("Open a 3D image")
    assert guide.open.isVisible() and guide.sample.isVisible() and not guide.keys.isVisible()
    image = viewer.add_image(np.zeros(SHAPE), name="ct")
    qtbot.waitUntil(lambda: guide.text.text().startswith("Click on the object"))
    assert not guide.open.isVisible() and not guide.sample.isVisible()
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(lambda: guide.text.text().startswith(CORRECT))
    assert settings().show
    canvas_key(viewer, "N")
    assert guide.text.isVisible()
    canvas_click(viewer, SECOND, image)
    qtbot.waitUntil(lambda: not guide.isVisible())
    assert not settings().show
    press(guide.help)
    assert guide.text.isVisible() and guide.keys.isVisible()
    guide.help.click()  # it is about to move down: a mouse would miss it
    assert not guide.isVisible()


def test_a_correction_is_enough(viewer, loader, qtbot) -> None:
    image = viewer.add_image(np.zeros(SHAPE), name="ct")
    dock = open_dock(viewer, loader, qtbot)
    canvas_click(viewer, FIRST, image)
    canvas_click(viewer, (12, 20, 25), image, control=True)
    qtbot.waitUntil(lambda: not dock.guide.isVisible())


def test_dismissal_is_remembered_and_can_be_taken_back(settings, qtbot) -> None:
    first = Guide()
    qtbot.addWidget(first)
    first.set_progress(Progress(has_image=True))
    assert not first.isHidden()
    press(first.dismiss)
    assert first.isHidden()
    assert "show: false" in get_plugin_settings("napari-sam3d").config_path.read_text()
    second = Guide()
    qtbot.addWidget(second)
    second.set_progress(Progress(has_image=True))
    assert second.isHidden()
    press(second.help)
    assert not second.isHidden()
    settings().show = True  # as the Preferences do
    third = Guide()
    qtbot.addWidget(third)
    third.set_progress(Progress(has_image=True))
    assert not third.isHidden()


def test_without_an_image_there_is_a_way_to_one_whoever_knows_how(settings, qtbot) -> None:
    settings().show = False
    guide = Guide()
    qtbot.addWidget(guide)
    guide.show()
    assert guide.open.isVisible() and guide.sample.isVisible() and not guide.text.isVisible()


class Actions:
    """Does what a user does, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, action: Callable, *args: object) -> None:
        self.count += 1
        action(*args)


def test_from_an_open_image_a_mask_takes_one_action(viewer, loader, qtbot) -> None:
    image = viewer.add_image(np.zeros(SHAPE), name="ct")
    dock = open_dock(viewer, loader, qtbot)
    user = Actions()
    user(canvas_click, viewer, FIRST, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))
    assert user.count == 1


def test_from_an_empty_viewer_a_mask_takes_two_actions(viewer, loader, qtbot) -> None:
    dock = open_dock(viewer, loader, qtbot)
    user = Actions()
    user(press, dock.guide.sample)
    qtbot.waitUntil(lambda: dock.session.image is not None)
    image = dock.session.image
    assert image.name == "phantom"
    voxel = tuple(n // 2 for n in image.data.shape)
    user(canvas_click, viewer, voxel, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(image.data.shape, voxel)))
    assert user.count == 2
    assert not dock.guide.sample.isVisible()
