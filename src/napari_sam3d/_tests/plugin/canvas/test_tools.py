"""Boxes and strokes by a real mouse on the canvas, at voxels computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_sam3d._tests.plugin.conftest import canvas_key
from napari_sam3d._tests.plugin.view3d import (
    PLACE,
    drag,
    look_along,
    mouse,
    pixel_of,
    press,
    release,
    scene,
)
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.prompts import Box, Point, Scribble

BLOB = (7, 18, 20)


class Work:
    """A session in a viewer with a screen, and what is said in it."""

    def __init__(self, viewer) -> None:
        self.viewer = viewer
        self.image = viewer.add_image(scene(), name="ct", contrast_limits=(0, 1), **PLACE)
        self.session = Session(viewer)
        self.session.set_image(self.image)
        self.notices: list[str] = []
        self.session.notice.connect(self.notices.append)

    def see(self, axis: int, at: int) -> None:
        """Show a slice across an axis."""
        self.viewer.dims.ndisplay = 2
        self.viewer.dims.order = (axis, *(a for a in range(3) if a != axis))
        there = np.array([5, 5, 5])
        there[axis] = at
        self.viewer.dims.set_point(range(3), self.image.data_to_world(there))

    def see_3d(self) -> None:
        self.viewer.dims.order = (0, 1, 2)
        self.viewer.dims.ndisplay = 3
        look_along(self.viewer, (1, 0.3, -0.4))
        QApplication.processEvents()  # before it is laid out and drawn, the mouse turns nothing
        self.viewer.screenshot(flash=False)

    def at(self, *voxels):
        return [pixel_of(self.viewer, self.image, voxel) for voxel in voxels]

    def mouse(self, *voxels, **how) -> None:
        mouse(self.viewer, *self.at(*voxels), **how)

    @property
    def prompts(self):
        return self.session.object.prompts

    @property
    def camera(self):
        return self.viewer.scene.camera

    @property
    def lines(self) -> int:
        """How many there are in the layer of boxes and strokes."""
        marks = self.session.prompt_layer.marks.layer
        return 0 if marks is None else len(marks.data)


@pytest.fixture
def work(real_viewer):
    work = Work(real_viewer(show=True))
    yield work
    work.session.close()


@pytest.mark.parametrize(
    ("axis", "start", "end", "box"),
    [
        # 20 x 30 voxels of 0.8 mm: 16 mm are 5.3 slices of 3 mm
        (0, (10, 40, 11), (10, 21, 40), Box((8, 21, 11), (12, 40, 40))),
        # 5 slices of 3 mm, 30 voxels: 15 mm are 18.75 voxels, 9 to both sides
        (1, (3, 30, 11), (7, 30, 40), Box((3, 21, 11), (7, 39, 40))),
    ],
)
def test_a_rectangle_in_a_slice_is_a_box(work, axis, start, end, box) -> None:
    work.session.set_tool("box")
    work.see(axis, start[axis])
    view = work.camera.center, work.camera.zoom
    way = work.at(start, np.mean([start, end], axis=0), end)
    press(work.viewer, way[0])
    drag(work.viewer, way[1])
    assert work.lines == 4 and not work.camera.mouse_pan
    drag(work.viewer, way[2])
    assert work.prompts.box is None
    release(work.viewer, way[2])
    assert work.prompts.box == box and work.lines == 4
    assert work.session.prompt_layer.box_axis == axis
    assert (work.camera.center, work.camera.zoom, work.camera.mouse_pan) == (*view, True)
    work.session.undo()
    assert work.prompts.box is None and work.lines == 0


@pytest.mark.parametrize("axis", [0, 2])
def test_a_fast_stroke_has_no_gaps_and_ctrl_is_the_other_kind(work, axis) -> None:
    work.session.set_tool("scribble")
    start, end = ((10, 20, 15), (10, 20, 45)) if axis == 0 else ((4, 20, 15), (4, 50, 15))
    work.see(axis, start[axis])
    view = work.camera.center
    way = [tuple(it) for it in np.linspace(start, end, 31).tolist()]
    work.mouse(start, end)
    assert work.prompts.scribbles == (Scribble(tuple(way), True),)
    work.mouse(end, start, modifier="ControlModifier")
    assert work.prompts.scribbles[1:] == (Scribble(tuple(way[::-1]), False),)
    assert work.lines == 60 and work.camera.center == view and work.camera.mouse_pan
    work.mouse(start)  # without a move it is a point
    assert work.prompts.points == (Point(start),) and len(work.prompts.scribbles) == 2


def test_two_corners_in_slices_across_other_axes_and_in_3d(work) -> None:
    work.session.set_tool("box")
    work.see(0, 10)
    work.mouse((10, 21, 11))
    assert work.lines == 4 and work.prompts.box is None
    work.see(1, 50)
    work.mouse((3, 50, 40))
    assert work.prompts.box == Box((3, 21, 11), (10, 50, 40))
    work.mouse((9, 50, 40))
    work.see_3d()
    work.mouse(BLOB)
    assert work.prompts.box == Box((7, 18, 20), (9, 50, 40))
    assert work.lines == 12


def test_escape_gives_up_and_is_free_otherwise(work) -> None:
    heard = []
    work.viewer.bind_key("Escape", heard.append)
    work.session.set_tool("box")
    work.see(0, 10)
    work.mouse((10, 21, 11))
    canvas_key(work.viewer, "Escape")
    assert not heard and work.lines == 0
    work.mouse((10, 40, 41))  # a first corner, not the second
    assert work.prompts.box is None and work.lines == 4
    canvas_key(work.viewer, "Escape")
    canvas_key(work.viewer, "Escape")
    assert len(heard) == 1
    start, end, beyond = work.at((10, 10, 10), (10, 20, 20), (10, 30, 30))
    press(work.viewer, start)
    drag(work.viewer, end)
    canvas_key(work.viewer, "Escape")
    drag(work.viewer, beyond)
    assert work.lines == 0 and work.camera.mouse_pan
    release(work.viewer, beyond)
    assert work.prompts.box is None and len(heard) == 1


def test_in_3d_a_drag_turns_and_a_stroke_is_a_point(work, qtbot) -> None:
    for tool in ("box", "scribble"):
        work.session.set_tool(tool)
        work.see_3d()
        before = work.camera.angles
        ((x, y),) = work.at(BLOB)
        mouse(work.viewer, (x, y), (x + 20, y + 10), (x + 40, y + 20))
        # the camera tells where it looks when it is drawn
        qtbot.waitUntil(lambda b=before: not np.allclose(work.camera.angles, b, atol=1))
        assert work.prompts.box is None and not work.prompts.points
    look_along(work.viewer, (1, 0.3, -0.4))
    work.mouse(BLOB)
    work.mouse((16, 40, 22), modifier="ControlModifier")
    assert work.prompts.points == (Point(BLOB), Point((16, 40, 22), False))
    assert len([it for it in work.notices if it.startswith("Strokes are drawn in slices")]) == 1


def test_what_is_refused_leaves_the_drag_to_the_view(work) -> None:
    prompts = work.session.prompt_layer
    prompts.no_box, prompts.takes_negative = "No box.", False
    work.see(0, 10)
    for tool, how in (("box", {}), ("scribble", {"modifier": "ControlModifier"})):
        work.session.set_tool(tool)
        work.mouse((10, 20, 20), (10, 30, 30), **how)
    assert work.notices == ["No box.", "This model takes positive points only."]
    assert work.camera.mouse_pan and work.prompts.said == type(work.prompts)().said


@pytest.mark.parametrize("tool", ["box", "scribble"])
def test_the_layer_is_deleted_in_mid_stroke(work, tool) -> None:
    work.session.set_tool(tool)
    work.see(0, 10)
    start, end = work.at((10, 20, 20), (10, 30, 30))
    press(work.viewer, start)
    drag(work.viewer, end)
    layer = work.session.prompt_layer.layer
    work.viewer.layers.remove(layer)
    assert work.camera.mouse_pan and layer.mouse_pan
    release(work.viewer, end)
    work.session.sweep()
    assert [it.name for it in work.viewer.layers] == ["ct", work.session.labels.name]
    work.session.new_object()
    assert work.session.prompt_layer.tool == tool
    mouse(work.viewer, start, end)
    assert (work.prompts.box is not None) == (tool == "box")
    assert len(work.prompts.scribbles) == (tool == "scribble")


def test_two_viewers_draw_each_for_itself(real_viewer) -> None:
    # with two canvases on the screen vispy 0.17 draws into the wrong one, without any plugin
    one, other = Work(real_viewer(show=False)), Work(real_viewer(show=True))
    for work in (one, other):
        work.session.set_tool("box")
        work.see(0, 10)
    one.mouse((10, 21, 11))
    other.mouse((10, 40, 11), (10, 21, 40))
    assert other.prompts.box == Box((8, 21, 11), (12, 40, 40)) and one.prompts.box is None
    one.mouse((10, 40, 40))
    assert one.prompts.box == Box((8, 21, 11), (12, 40, 40))
    for work in (one, other):
        work.session.close()
        assert list(work.viewer.layers) == [work.image, work.viewer.layers["ct_seg"]]
