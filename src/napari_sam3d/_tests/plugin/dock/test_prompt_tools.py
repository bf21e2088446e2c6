"""The tools in the dock, and the depth of a box."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam3d.plugin.dock.prompt_tools import PromptTools
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.prompts import Box

BOX = Box((4, 10, 12), (14, 44, 50))


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def session(viewer):
    session = Session(viewer)
    session.set_image(viewer.add_image(np.zeros((24, 60, 60), np.float32), name="ct"))
    return session


@pytest.fixture
def tools(session, qtbot):
    tools = PromptTools(session)
    qtbot.addWidget(tools)
    return tools


def test_the_tool_stays_with_other_images_and_new_layers(viewer, session, tools) -> None:
    assert session.prompt_layer.tool == "point" and tools.buttons["point"].isChecked()
    viewer.layers.selection.active = session.image
    tools.buttons["box"].click()
    assert [it.isChecked() for it in tools.buttons.values()] == [False, True, False]
    assert session.prompt_layer.tool == "box"
    assert viewer.layers.selection.active == session.prompt_layer.layer  # the mouse is its
    viewer.layers.remove(session.prompt_layer.layer)
    session.new_object()
    assert session.prompt_layer.tool == "box"
    session.set_image(viewer.add_image(np.zeros((4, 5, 6), np.float32)))
    assert session.prompt_layer.tool == "box"
    tools.buttons["scribble"].click()
    assert session.prompt_layer.tool == "scribble"
    assert all(it.toolTip() for it in (*tools.buttons.values(), tools.first, tools.last))


def test_the_slices_of_the_box_that_is_there(session, tools, qtbot) -> None:
    assert tools.depth.isHidden()
    session.set_box(BOX)
    assert not tools.depth.isHidden()
    assert (tools.first.value(), tools.last.value()) == (4, 14)
    tools.first.setValue(99)
    assert tools.first.value() == 14  # not behind the last
    tools.first.setValue(3)
    tools.last.setValue(99)
    assert tools.last.value() == 23
    assert session.object.prompts.box == BOX  # until the user pauses
    deeper = Box((3, 10, 12), (23, 44, 50))
    qtbot.waitUntil(lambda: session.object.prompts.box == deeper)
    session.undo()
    assert session.object.prompts.box == BOX and tools.last.value() == 14
    session.new_object()
    assert tools.depth.isHidden()
    session.select(1)
    tools.remove.click()
    assert session.object.prompts.box is None and tools.depth.isHidden()


def test_the_slices_are_those_across_which_it_was_drawn(session, tools, qtbot) -> None:
    box = session.prompt_layer._tools.box
    box.corner(np.array((4.0, 10, 12)), 2)
    box.corner(np.array((14.0, 44, 50)), 2)
    assert session.object.prompts.box == BOX
    assert (tools.first.value(), tools.last.value()) == (12, 50)
    tools.last.setValue(51)
    qtbot.waitUntil(lambda: session.object.prompts.box == Box((4, 10, 12), (14, 44, 51)))


def test_another_object_before_the_pause_keeps_its_own_box(session, tools, qtbot) -> None:
    session.set_box(BOX)
    session.new_object()
    session.set_box(Box((1, 1, 1), (2, 2, 2)))
    tools.last.setValue(9)
    session.select(1)
    tools.last.setValue(15)
    qtbot.waitUntil(lambda: session.object.prompts.box == Box((4, 10, 12), (15, 44, 50)))
    assert session.objects[2].prompts.box == Box((1, 1, 1), (2, 2, 2))
