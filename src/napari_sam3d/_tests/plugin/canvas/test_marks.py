"""Boxes and strokes by hand-computed voxels, and the lines that show them."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam3d.plugin.canvas.box_tool import BoxTool, deep_box
from napari_sam3d.plugin.canvas.marks import Cut, box_lines, dot_lines, single_voxels, stroke_lines
from napari_sam3d.plugin.canvas.prompt_layer import PromptLayer
from napari_sam3d.plugin.canvas.scribble_tool import ScribbleTool, between
from napari_sam3d.plugin.layers.convert import volume_from_layer
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.prompts import Box, Point, Scribble
from napari_sam3d.volume import Grid

GRID = Grid.from_spacing((24, 60, 60), (3, 0.8, 0.8))
BOX = Box((4, 10, 12), (14, 44, 50))


def voxel(*zyx) -> np.ndarray:
    return np.array(zyx, float)


@pytest.mark.parametrize(
    ("start", "end", "axis", "low", "high"),
    [
        # 20 x 30 voxels of 0.8 mm: 16 mm are 5.3 slices of 3 mm
        ((10, 40, 11), (10, 21, 40), 0, (8, 21, 11), (12, 40, 40)),
        # 5 slices of 3 mm, 30 voxels: 15 mm are 18.75 voxels, 9 to both sides
        ((3, 30, 11), (7, 30, 40), 1, (3, 21, 11), (7, 39, 40)),
        # one voxel: no deeper than one slice
        ((10, 5, 5), (10, 5, 5), 0, (10, 5, 5), (10, 5, 5)),
        # 48 mm would be 16 slices, of which 2 are before the first; and beyond the last column
        ((6, 0, 0), (6, 59, 90), 0, (0, 0, 0), (14, 59, 59)),
    ],
)
def test_a_rectangle_is_as_deep_as_its_shorter_edge(start, end, axis, low, high) -> None:
    assert deep_box(voxel(*start), voxel(*end), axis, GRID) == Box(low, high)


def test_no_box_lies_outside() -> None:
    assert deep_box(voxel(24, 0, 0), voxel(24, 9, 9), 0, GRID) is None
    assert deep_box(voxel(3, -9, 0), voxel(3, -1, 9), 0, GRID) is None


@pytest.fixture
def heard():
    return {"drawn": [], "coming": [], "refused": []}


def listen(tool, heard):
    for name, words in heard.items():
        getattr(tool, name).connect(words.append)
    return tool


def test_two_corners_and_what_is_refused(heard) -> None:
    tool = listen(BoxTool(GRID, "ct", lambda: obstacle), heard)
    obstacle = "This model takes no box."
    tool.corner(voxel(1, 2, 3), 0)
    assert not tool.begin(voxel(1, 2, 3), 0, False)
    assert heard["refused"] == [obstacle] * 2 and not heard["coming"]
    obstacle = ""
    tool.corner(voxel(24, 2, 3), 0)
    assert heard["refused"].pop() == "That corner is outside ct."
    tool.corner(voxel(9, 2, 30), 0)
    tool.hover(voxel(1, 7, 3), 0)
    assert heard["coming"][-1] == Box((1, 2, 3), (9, 7, 30))
    tool.hover(None, None)
    assert heard["coming"][-1] == Box((9, 2, 30), (9, 2, 30))
    tool.corner(voxel(1, 7, 3), 2)
    assert heard["drawn"] == [Box((1, 2, 3), (9, 7, 30))]
    assert heard["coming"][-1] is None and tool.axis == 2
    # in one slice they are as a drag: 15 mm are 18.75 voxels
    tool.corner(voxel(3, 30, 11), 1)
    tool.corner(voxel(7, 30, 40), 1)
    assert heard["drawn"][1:] == [Box((3, 21, 11), (7, 39, 40))]


def test_a_stroke_has_no_gaps_and_stays_inside(heard) -> None:
    assert between(voxel(1, 2, 3), voxel(1, 2, 3)) == [(1, 2, 3)]
    assert between(voxel(1, 2, 3), voxel(1, 4, 7)) == [
        (1, 2, 3),
        (1, 3, 4),
        (1, 3, 5),
        (1, 4, 6),
        (1, 4, 7),
    ]
    tool = listen(ScribbleTool(GRID, "ct", lambda control: (not control, "")), heard)
    assert tool.begin(voxel(5, 1, 57), 0, True)
    for at in ((5, 1, 58), (5, 1, 63), (5, 3, 63), (5, 3, 58)):
        tool.move(voxel(*at))
    tool.end(True)
    columns = [(5, 1, 57), (5, 1, 58), (5, 1, 59), (5, 3, 59), (5, 3, 58)]
    assert heard["drawn"] == [Scribble(tuple(columns), False)]
    assert tool.begin(voxel(5, 1, -3), 0, False)
    tool.move(voxel(5, 9, -3))
    tool.end(True)
    assert heard["refused"] == ["That stroke is outside ct."] and len(heard["drawn"]) == 1


def test_a_box_is_12_edges_and_4_sides_of_a_slice() -> None:
    edges = box_lines(BOX)
    np.testing.assert_array_equal(np.ptp(edges, axis=1).max(0), (11, 35, 39))
    assert len(np.unique(edges, axis=0)) == 12
    assert edges.min() == 3.5 and edges.reshape(-1, 3).max(0).tolist() == [14.5, 44.5, 50.5]
    sides = box_lines(BOX, Cut(1, 44.4))
    assert sides.shape == (4, 2, 3) and (sides[..., 1] == 44.4).all()
    assert {tuple(end) for end in sides[..., [0, 2]].reshape(-1, 2).tolist()} == {
        (z, x) for z in (3.5, 14.5) for x in (11.5, 50.5)
    }
    assert len(box_lines(BOX, Cut(1, 44.6))) == 0


def test_a_stroke_is_lines_and_alone_a_dot() -> None:
    path = [(5, 1, 1), (5, 2, 2), (6, 3, 3), (5, 4, 4)]
    assert stroke_lines(path, Cut(0, 5.2)).tolist() == [[[5.2, 1, 1], [5.2, 2, 2]]]
    assert single_voxels(path, Cut(0, 5.2)).tolist() == [[5, 4, 4]]
    assert single_voxels(path, Cut(1, 3)).tolist() == [[6, 3, 3]]
    steps = stroke_lines(path[:3])  # 2 along y, 2 along x, 1 along z
    assert np.abs(steps[:, 1] - steps[:, 0]).sum(0).tolist() == [1, 2, 2]
    assert (np.abs(steps[:, 1] - steps[:, 0]).sum(1) == 1).all()
    assert single_voxels(path).size == 0 and single_voxels(path[:1]).tolist() == [[5, 1, 1]]
    ball = dot_lines(np.array([[1.0, 2, 3]]), 4)
    np.testing.assert_allclose(np.linalg.norm(ball - (1, 2, 3), axis=-1), 4)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def prompts(viewer):
    place = {"scale": (3, 0.8, 0.8), "translate": (-40, 12, 5)}
    image = viewer.add_image(np.zeros((24, 60, 60), np.float32), name="ct", **place)
    prompts = PromptLayer(image, volume_from_layer(image), viewer)
    viewer.add_layer(prompts.layer)
    prompts.arm()
    return prompts


def voxels_drawn(prompts) -> np.ndarray:
    """Ends of the lines that the marks layer holds, in voxels, (n, 2, 3)."""
    layer = prompts.marks.layer
    ends = np.stack([layer.data[:, 0], layer.data.sum(1)], axis=1)
    worlds = [layer.data_to_world(end) for end in ends.reshape(-1, 3)]
    return np.array([prompts.layer.world_to_data(it) for it in worlds]).reshape(-1, 2, 3)


def test_the_marks_follow_the_view_and_leave_it_alone(viewer, prompts) -> None:
    prompts.show((Point((1, 2, 3)),))
    assert list(viewer.layers) == [viewer.layers["ct"], prompts.layer]
    ranges, point = viewer.dims.range, viewer.dims.point
    prompts.show((), BOX, (Scribble(((9, 0, 0), (9, 0, 1)), False),))
    marks = prompts.marks.layer
    assert list(viewer.layers) == [viewer.layers["ct"], marks, prompts.layer]
    assert viewer.layers.selection.active == prompts.layer
    assert str(prompts.layer.mode) == "add"
    assert (viewer.dims.range, viewer.dims.point) == (ranges, point)
    for axis, order in enumerate(((0, 1, 2), (1, 0, 2), (2, 0, 1))):
        viewer.dims.order = order
        for at, count in ((BOX.low[axis], 4), (BOX.high[axis], 4), (BOX.high[axis] + 1, 0)):
            there = np.array([1, 30, 30])  # where no stroke is
            there[axis] = at
            viewer.dims.set_point(range(3), prompts.layer.data_to_world(there))
            drawn = voxels_drawn(prompts) if count else marks.data
            assert len(drawn) == count
            assert not count or np.allclose(drawn[..., axis], at)
    viewer.dims.order = (0, 1, 2)
    viewer.dims.set_point(range(3), prompts.layer.data_to_world((9, 30, 30)))
    np.testing.assert_allclose(voxels_drawn(prompts)[4], [(9, 0, 0), (9, 0, 1)], atol=1e-6)
    np.testing.assert_array_equal(marks.edge_color[:, 0], [0, 0, 0, 0, 1])  # red
    viewer.dims.ndisplay = 3
    assert len(marks.data) == 13
    assert viewer.dims.range == ranges


def test_the_marks_by_reference(viewer, prompts) -> None:
    prompts.show((), BOX)
    first = prompts.marks.layer
    first.name = "mine"
    prompts.show((), None)
    assert prompts.marks.layer == first and len(first.data) == 0
    prompts.show((), BOX)
    assert prompts.marks.layer == first and len(viewer.layers) == 3
    viewer.layers.remove(first)
    viewer.dims.ndisplay = 3
    assert len(viewer.layers) == 2
    prompts.show((), Box((1, 1, 1), (2, 2, 2)))
    assert prompts.marks.layer != first and len(viewer.layers) == 3
    prompts.close()
    assert len(prompts.marks.layer.data) == 0
    viewer.dims.ndisplay = 2  # and nobody hears of it


def test_the_image_moves_with_its_marks(viewer, prompts) -> None:
    prompts.show((), BOX)
    viewer.dims.ndisplay = 3
    before = voxels_drawn(prompts)
    prompts.layer.translate = (7, 8, 9)
    np.testing.assert_allclose(voxels_drawn(prompts), before, atol=1e-6)


def test_without_a_viewer_nothing_is_drawn() -> None:
    image = Image(np.zeros((4, 5, 6)))
    prompts = PromptLayer(image, volume_from_layer(image))
    prompts.show((), Box((0, 0, 0), (1, 1, 1)))
    assert prompts.layers == (prompts.layer,)
    with pytest.raises(ValueError, match=r"no tool 'pen'; there are point, box, scribble\."):
        prompts.tool = "pen"


def test_all_layers_are_removed_at_once(viewer) -> None:
    session = Session(viewer)
    session.set_image(viewer.add_image(np.zeros((24, 60, 60), np.float32), name="ct"))
    session.set_box(BOX)
    assert len(viewer.layers) == 4
    viewer.layers.select_all()
    viewer.layers.remove_selected()
    session.sweep()
    assert not viewer.layers and session.image is None


def test_in_a_series_the_marks_lie_in_the_volume(viewer) -> None:
    series = viewer.add_image(np.zeros((5, 24, 60, 60), np.float32), scale=(1, 3, 0.8, 0.8))
    image = Image(series.data[0], scale=(3, 0.8, 0.8))
    prompts = PromptLayer(image, volume_from_layer(image), viewer)
    viewer.add_layer(prompts.layer)
    prompts.show((), BOX)
    for axis, order in enumerate(((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2))):
        viewer.dims.order = order
        viewer.dims.set_point(range(4), series.data_to_world((3, 9, 30, 30)))
        drawn = voxels_drawn(prompts)
        assert len(drawn) == 4 and np.allclose(drawn[..., axis], (9, 30, 30)[axis])
    viewer.dims.order = (1, 2, 0, 3)  # time and columns: a box is no rectangle there
    assert len(prompts.marks.layer.data) == 0
