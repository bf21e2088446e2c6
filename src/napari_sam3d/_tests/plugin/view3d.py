"""The 3D view in tests: scenes whose formula is known, lines of sight, and a real mouse."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

SHAPE = (24, 60, 60)
PLACE = {"scale": (3, 0.8, 0.8), "translate": (-40, 12, 5)}
"""Of the image in the world, in millimetres."""
BLOBS = {(7, 18, 20): 1.0, (16, 40, 22): 0.85, (11, 34, 45): 0.7}
"""Centres in voxels, and how bright they are there."""
SIGMA = np.array([1.5, 5, 5])

DIRECTIONS = [
    *np.eye(3),
    *-np.eye(3),
    *((z, y, x) for z in (-1, 1) for y in (-0.8, 0.9) for x in (-1.1, 0.7)),
]
"""Along which the camera looks; from all six sides, and from eight corners."""


def brightness(points: np.ndarray) -> np.ndarray:
    """The scene: a sum of Gaussians, at voxel coordinates (..., 3)."""
    return sum(
        top * np.exp(-0.5 * (((points - np.array(center)) / SIGMA) ** 2).sum(-1))
        for center, top in BLOBS.items()
    )


def scene() -> np.ndarray:
    return brightness(np.moveaxis(np.indices(SHAPE), 0, -1)).astype(np.float32)


def canvas_of(viewer: Any) -> Any:
    # which pixel shows a voxel is not public; the plugin itself never asks
    return getattr(viewer, "__wrapped__", viewer).window._qt_viewer.canvas


def look_along(viewer: Any, direction: Any, perspective: float = 0) -> None:
    """Turn the camera, with the whole scene in view."""
    direction = np.array(direction, float)
    up = (0, -1, 0) if abs(direction[1]) < np.abs(direction).max() else (0, 0, -1)
    viewer.scene.camera.perspective = perspective
    viewer.scene.camera.set_view_direction(view_direction=direction, up_direction=up)


def pixel_of(viewer: Any, layer: Any, voxel: Any) -> tuple[int, int]:
    """The pixel of the canvas, (x, y), on which a voxel is drawn."""
    canvas = canvas_of(viewer)
    world = np.array(layer.data_to_world(voxel))[-viewer.dims.ndim :]
    shown = [axis - viewer.dims.ndim for axis in viewer.dims.displayed]
    at = (canvas.view.transform * canvas.view.scene.transform).map(world[shown][::-1])
    x, y = np.rint(at[:2] / at[3]).astype(int)
    return int(x), int(y)


def line_through(viewer: Any, layer: Any, pixel: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where the line of sight of a pixel enters the box of a 3D layer, and where it leaves."""
    canvas = canvas_of(viewer)
    transform = canvas.view.transform * canvas.view.scene.transform
    # the depths of any two points in view lie on the line
    depths = [transform.map(np.array(layer.data_to_world(v))[::-1]) for v in ((0, 0, 0), SHAPE)]
    ends = [transform.imap((*pixel, at[2] / at[3])) for at in depths]
    a, b = (np.asarray(layer.world_to_data((e[:3] / e[3])[::-1])) for e in ends)
    if np.linalg.norm(b - a) < 1e-6:
        e = transform.imap((*pixel, depths[0][2] / depths[0][3] + 1e-3))
        b = np.asarray(layer.world_to_data((e[:3] / e[3])[::-1]))
    with np.errstate(divide="ignore"):
        ts = np.array([(-0.5 - a) / (b - a), (np.array(SHAPE) - 0.5 - a) / (b - a)])
    near, far = ts.min(0).max(), ts.max(0).min()
    ends = [a + near * (b - a), a + far * (b - a)]
    toward = np.array(viewer.scene.camera.calculate_nd_view_direction(3, (0, 1, 2)))
    world = np.subtract(*(np.array(layer.data_to_world(end)) for end in ends[::-1]))
    return tuple(ends if world @ toward > 0 else ends[::-1])


def mouse(
    viewer: Any,
    pixel: tuple[int, int],
    *more: tuple[int, int],
    button: str = "LeftButton",
    modifier: str = "NoModifier",
) -> None:
    """A real press at a pixel, moves over the others, and a release at the last."""
    press(viewer, pixel, button, modifier)
    for at in more:
        drag(viewer, at, button, modifier)
    release(viewer, (pixel, *more)[-1], button, modifier)


def press(viewer: Any, pixel: Any, button="LeftButton", modifier="NoModifier") -> None:
    _at(viewer, "mousePress", pixel, button, modifier)


def release(
    viewer: Any, pixel: tuple[int, int], button="LeftButton", modifier="NoModifier"
) -> None:
    _at(viewer, "mouseRelease", pixel, button, modifier)


def drag(viewer: Any, pixel: Any, button="LeftButton", modifier="NoModifier") -> None:
    from qtpy.QtCore import Qt

    which, held = getattr(Qt.MouseButton, button), getattr(Qt.KeyboardModifier, modifier)
    hover(viewer, pixel, which, held)


def _at(viewer: Any, do: str, pixel: tuple[int, int], button: str, modifier: str) -> None:
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    which, held = getattr(Qt.MouseButton, button), getattr(Qt.KeyboardModifier, modifier)
    getattr(QTest, do)(canvas_of(viewer).native, which, held, QPoint(*pixel))


def hover(viewer: Any, pixel: tuple[int, int], button: Any = None, held: Any = None) -> None:
    """A real move of the mouse; QTest's own can hold no button."""
    from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    canvas = canvas_of(viewer)
    native = canvas.native
    place = QPointF(native.mapToGlobal(QPoint(*pixel)))
    button = button or Qt.MouseButton.NoButton
    held = held or Qt.KeyboardModifier.NoModifier
    move = QMouseEvent(QEvent.Type.MouseMove, QPointF(*pixel), place, button, button, held)
    before = viewer.cursor.position
    canvas._scene_canvas._backend._last_time = 0  # else vispy drops what comes within 10 ms
    QApplication.sendEvent(native, move)
    until = time.monotonic() + 30
    while viewer.cursor.position == before and time.monotonic() < until:
        QApplication.processEvents()  # napari itself hears of it within 5 ms
