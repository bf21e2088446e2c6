"""The dock on layers whose arrays are not in memory, in 2D, in 3D and through time."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_sam3d._tests.plugin.conftest import ball, canvas_click
from napari_sam3d._tests.plugin.view3d import look_along, mouse, pixel_of
from napari_sam3d._tests.spy_array import SpyArray
from napari_sam3d.plugin.segment_widget import SegmentWidget

SHAPE = (32, 40, 48)
MIDDLE = tuple(n // 2 for n in SHAPE)
RADIUS = 6
"""Of the bright ball in the middle."""


def spy(*shape: int) -> SpyArray:
    chunks = (*(1,) * (len(shape) - 3), 8, 8, 8)
    return SpyArray(shape, chunks, radius=RADIUS * shape[-1] / SHAPE[-1])


def layer_on(viewer, kind: str):
    options = {"contrast_limits": (0, 255), "name": kind}
    if kind == "dask":
        array = spy(*SHAPE)
        return viewer.add_image(da.from_array(array, chunks=array.chunks), **options)
    if kind == "levels":
        levels = [spy(*SHAPE), spy(*(n // 2 for n in SHAPE))]
        return viewer.add_image(levels, multiscale=True, **options)
    if kind == "series":
        return viewer.add_image(spy(3, *SHAPE), **options)
    return viewer.add_image(spy(*SHAPE), **options)


@pytest.mark.parametrize("kind", ["dask", "like zarr", "levels", "series"])
def test_a_click_in_2d_and_one_in_3d(real_viewer, loader, qtbot, kind) -> None:
    viewer = real_viewer(show=True)
    image = layer_on(viewer, kind)
    leading = (1,) if kind == "series" else ()
    viewer.dims.set_point(0, 1)
    dock = SegmentWidget(viewer, loader)
    viewer.window.add_dock_widget(dock, name="Segment")
    qtbot.waitUntil(dock.isVisible)
    corner = (8, 10, 12)
    canvas_click(viewer, (*leading, *corner), image)
    expected = ball(SHAPE, corner)
    qtbot.waitUntil(lambda: np.array_equal(dock.session.labels.data == 1, expected))
    viewer.dims.ndisplay = 3
    look_along(viewer, (1, 0.2, -0.3))
    mouse(viewer, pixel_of(viewer, image, (*leading, *MIDDLE)))
    qtbot.waitUntil(lambda: len(dock.session.object.prompts.points) == 2)
    found = np.array(dock.session.object.prompts.points[1].position_voxel)
    assert np.linalg.norm(found - MIDDLE) <= RADIUS + 2  # where the ball is first bright
    expected |= ball(SHAPE, tuple(found))
    qtbot.waitUntil(lambda: np.array_equal(dock.session.labels.data == 1, expected))
