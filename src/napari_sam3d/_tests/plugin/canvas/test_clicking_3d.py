"""Clicks in the 3D view of a real dock: what they place, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points

from napari_sam3d._tests.plugin.conftest import ball, canvas_click, canvas_key, object_is, open_dock
from napari_sam3d._tests.plugin.view3d import (
    PLACE,
    SHAPE,
    drag,
    hover,
    look_along,
    mouse,
    pixel_of,
    press,
    release,
    scene,
)
from napari_sam3d.plugin.canvas.cursor import describe
from napari_sam3d.plugin.canvas.later_slice import LaterSlice
from napari_sam3d.plugin.canvas.prompt_layer import PromptLayer
from napari_sam3d.plugin.layers.convert import volume_from_layer

FIRST, SECOND, THIRD = (7, 18, 20), (16, 40, 22), (11, 34, 45)


@pytest.fixture
def image(viewer):
    return viewer.add_image(scene(), name="ct", contrast_limits=(0, 1), **PLACE)


@pytest.fixture
def dock(viewer, image, loader, qtbot):
    widget = open_dock(viewer, loader, qtbot)
    viewer.dims.ndisplay = 3
    look_along(viewer, (1, 0.3, -0.4))
    return widget


def points(dock):
    return [(p.position_voxel, p.positive) for p in dock.session.prompt_layer.points()]


def test_a_click_is_a_mask_and_the_2d_view_comes_to_it(viewer, image, dock, qtbot) -> None:
    mouse(viewer, pixel_of(viewer, image, FIRST))
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))
    mouse(viewer, pixel_of(viewer, image, SECOND), modifier="ControlModifier")
    assert points(dock) == [(FIRST, True), (SECOND, False)]
    viewer.dims.ndisplay = 2
    np.testing.assert_allclose(viewer.dims.point, image.data_to_world(SECOND))
    canvas_click(viewer, THIRD, image)
    assert points(dock)[2:] == [(THIRD, True)]
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    np.testing.assert_allclose(viewer.dims.point, image.data_to_world(THIRD))
    viewer.dims.ndisplay = 3
    look_along(viewer, (1, 0, 0))
    canvas_key(viewer, "Ctrl+Z")
    canvas_key(viewer, "Ctrl+Z")
    assert points(dock) == [(FIRST, True)]
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))


def test_the_mask_is_refined_on_its_surface(viewer, image, dock, qtbot) -> None:
    mouse(viewer, pixel_of(viewer, image, FIRST))
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))
    look_along(viewer, (1, 0, 0))
    mouse(viewer, pixel_of(viewer, image, FIRST), modifier="ControlModifier")
    assert points(dock)[1] == ((FIRST[0] - 3, *FIRST[1:]), False)
    dock.session.new_object()  # its mask is not there yet: the image is meant
    mouse(viewer, pixel_of(viewer, image, FIRST))
    assert points(dock) == [(FIRST, True)]


def test_a_drag_turns_the_view_and_other_buttons_add_nothing(viewer, image, dock, qtbot) -> None:
    x, y = pixel_of(viewer, image, FIRST)
    before = viewer.scene.camera.angles
    mouse(viewer, (x, y), (x + 20, y + 10), (x + 40, y + 20), (x + 60, y + 30))
    # the camera tells where it looks when it is drawn
    qtbot.waitUntil(lambda: not np.allclose(viewer.scene.camera.angles, before, atol=1))
    x, y = pixel_of(viewer, image, FIRST)
    mouse(viewer, (x, y), (x + 30, y), (x, y))  # there and back
    for button in ("RightButton", "MiddleButton"):
        mouse(viewer, pixel_of(viewer, image, FIRST), button=button)
    assert points(dock) == []
    x, y = pixel_of(viewer, image, FIRST)
    mouse(viewer, (x, y), (x + 2, y - 2), (x + 1, y))
    assert len(points(dock)) == 1


def test_nothing_there_and_a_hidden_image_are_said(viewer, image, dock) -> None:
    mouse(viewer, (3, 3))
    assert dock.controls.status.text().startswith("Nothing of ct is seen there")
    image.visible = False
    mouse(viewer, pixel_of(viewer, image, FIRST))
    assert dock.controls.status.text().startswith("ct is hidden")
    assert points(dock) == []


def test_of_several_images_the_chosen_one_is_clicked(viewer, image, dock, qtbot) -> None:
    other = viewer.add_image(np.ones((30, 30, 30), np.uint8) * 9, name="other", scale=(9, 9, 9))
    dock.session.arm()
    mouse(viewer, pixel_of(viewer, image, FIRST))
    assert points(dock) == [(FIRST, True)]
    qtbot.waitUntil(lambda: other in dock.images.choices)
    dock.images.value = other
    assert dock.session.image == other
    mouse(viewer, pixel_of(viewer, image, FIRST))
    ((voxel, _),) = points(dock)
    assert min(voxel) == 0 or max(voxel) == 29  # a face of the other


def dot(dock) -> list[float]:
    """The voxel at which a dot is drawn, and the colour of it; empty without one."""
    marks = dock.session.prompt_layer.marks.layer
    if marks is None or not len(marks.data):
        return []
    world = marks.data_to_world((marks.data[:, 0] + marks.data[:, 1] / 2).mean(0))
    voxel = np.round(dock.session.prompt_layer.layer.world_to_data(world), 2)
    return [*voxel.tolist(), *marks.edge_color[0, :2].tolist()]


def test_a_dot_shows_what_a_click_would_take(viewer, image, dock, qtbot) -> None:
    hover(viewer, pixel_of(viewer, image, FIRST))
    qtbot.waitUntil(lambda: dot(dock) == [*FIRST, 0, 1])
    assert viewer.layers.selection.active == dock.session.prompt_layer.layer
    said = dock.cursor.text()
    assert said == describe(viewer, image, np.array(image.data_to_world(FIRST)))
    hover(viewer, (3, 3))
    qtbot.waitUntil(lambda: not dot(dock))
    assert not dock.cursor.text()
    dock.session.set_positive(False)
    hover(viewer, pixel_of(viewer, image, SECOND))
    qtbot.waitUntil(lambda: dot(dock) == [*SECOND, 1, 0])
    x, y = pixel_of(viewer, image, SECOND)
    press(viewer, (x, y))
    assert not dot(dock)
    drag(viewer, (x + 30, y))
    release(viewer, (x + 30, y))
    assert not dot(dock) and not points(dock)
    hover(viewer, pixel_of(viewer, image, FIRST))
    qtbot.waitUntil(lambda: bool(dot(dock)))
    viewer.layers.selection.active = image  # a click would move the view
    assert not dot(dock)
    viewer.dims.ndisplay = 2


def test_everything_is_given_back() -> None:
    image = Image(scene(), **PLACE)
    prompts = PromptLayer(image, volume_from_layer(image))
    plain = Points(ndim=3)
    plain.mode = "add"
    prompts.arm()
    prompts.layer.mode = "select"
    prompts.arm()
    assert len(prompts.layer.mouse_drag_callbacks) == len(plain.mouse_drag_callbacks)
    assert len(prompts.layer.mouse_move_callbacks) == len(plain.mouse_move_callbacks) + 1
    prompts.close()
    prompts.layer.mode = "add"
    for name in ("mouse_drag_callbacks", "mouse_move_callbacks", "cursor", "cursor_size"):
        assert getattr(prompts.layer, name) == getattr(plain, name)


def test_the_slices_of_other_axes_stay() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 6, 7, 8)))
    viewer.dims.set_point(0, 2)
    viewer.dims.ndisplay = 3
    later = LaterSlice(viewer)
    later.show(np.array([1, 5, 6]))
    viewer.dims.ndisplay = 2
    assert viewer.dims.point == (2, 1, 5, 6)
    later.show(np.array([3, 0, 0]))
    later.close()
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    assert viewer.dims.point == (2, 1, 5, 6)
