"""What the dock takes of napari while it is open, and that it gives everything back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes, Surface, Tracks, Vectors
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QLineEdit, QPushButton

from napari_sam3d._tests.plugin.conftest import (
    SHAPE,
    ball,
    canvas_click,
    canvas_key,
    object_is,
    open_dock,
)
from napari_sam3d.plugin.dock.keys import KEYS, Keys

CLASSES = (ViewerModel, Layer, Image, Labels, Points, Shapes, Surface, Tracks, Vectors)
MOUSE = ("drag", "move", "wheel", "double_click")
LOOKS = ("mode", "cursor", "cursor_size", "help", "visible", "mouse_pan", "mouse_zoom", "editable")
FIRST = (12, 20, 22)


@pytest.fixture
def image(viewer):
    """Among layers of the user's, of all kinds that have many keys."""
    viewer.add_labels(np.zeros((8, 8, 8), np.uint8), name="mine").mode = "paint"
    viewer.add_points(np.ones((2, 3)), name="points").mode = "select"
    viewer.add_shapes(ndim=3, name="shapes").mode = "add_rectangle"
    return viewer.add_image(np.zeros(SHAPE, np.int16), name="ct", scale=(2, 1, 1))


def bindings(viewer: Any, layers: list[Layer]) -> dict[str, dict[str, Any]]:
    """What every key does, by where napari keeps it: classes, viewer, layers and menus."""
    keymaps = {cls.__name__: cls.class_keymap for cls in CLASSES}
    keymaps |= {layer.name: layer.keymap for layer in layers}
    found = {where: {str(k): f for k, f in keymap.items()} for where, keymap in keymaps.items()}
    for name in ("file", "view", "layers", "plugins", "window", "help"):
        actions = getattr(viewer.window, f"{name}_menu").actions()
        found[f"menu {name}"] = {it.text(): it.shortcut().toString() for it in actions}
    return found


def behaviour(viewer: Any, layers: list[Layer]) -> dict[str, Any]:
    """Mouse callbacks, modes and cursors."""
    found = {
        f"{it} {kind}": list(getattr(it, f"mouse_{kind}_callbacks"))
        for it in (viewer, *layers)
        for kind in MOUSE
    }
    return found | {
        f"{layer} {name}": str(getattr(layer, name)) for layer in layers for name in LOOKS
    }


def listeners(viewer: Any) -> list[str]:
    """Functions of ours that napari calls when something changes."""
    sources = [viewer, viewer.layers, viewer.layers.selection, viewer.dims, viewer.cursor]
    found = []
    for source in (*sources, viewer.scene.camera, *viewer.layers):
        for name, emitter in source.events.emitters.items():
            for it in emitter.callbacks:
                where = type(it[0]()).__module__ if isinstance(it, tuple) else it.__module__
                if where.startswith("napari_sam3d"):
                    found.append(f"{source}.{name}: {it}")
    return found


def test_nothing_of_the_users_changes_while_the_dock_is_open_and_after(
    viewer, image, loader, qtbot
) -> None:
    layers = list(viewer.layers)
    keys, mouse = bindings(viewer, layers), behaviour(viewer, layers)
    dims, theme, title = viewer.dims.order, viewer.theme, viewer.title
    dock = open_dock(viewer, loader, qtbot)
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))
    ours = [layer for layer in viewer.layers if layer not in layers]
    assert {type(getattr(it, "__wrapped__", it)).__name__ for it in ours} >= {"Labels", "Points"}
    assert bindings(viewer, layers) == keys and behaviour(viewer, layers) == mouse
    assert set(map(str, viewer.keymap)) == set(KEYS.values())
    for layer in layers:  # as it is when the user works on it
        viewer.layers.selection.active = layer
        canvas_key(viewer, "N")
    assert bindings(viewer, layers) == keys and behaviour(viewer, layers) == mouse
    assert listeners(viewer)
    dock.session.set_tool("scribble")
    dock.probability.box.click()
    viewer.window.remove_dock_widget(dock)
    assert dock.runner.worker.wait(5)
    assert bindings(viewer, layers) == keys and behaviour(viewer, layers) == mouse
    assert not viewer.keymap and listeners(viewer) == []
    assert (viewer.dims.order, viewer.theme, viewer.title) == (dims, theme, title)
    (left,) = [layer for layer in viewer.layers if layer not in layers]
    callbacks = [f for kind in MOUSE for f in getattr(left, f"mouse_{kind}_callbacks")]
    assert [f for f in callbacks if f.__module__.startswith("napari_sam3d")] == []
    assert not left.keymap
    viewer.layers.selection.active = image
    assert viewer.cursor.style == image.cursor


@pytest.mark.parametrize("active", ["mine", "points", "shapes", "ct"])
def test_our_keys_work_on_every_layer(viewer, image, loader, qtbot, active) -> None:
    dock = open_dock(viewer, loader, qtbot)
    canvas_click(viewer, FIRST, image)
    viewer.layers.selection.active = viewer.layers[active]
    canvas_key(viewer, "G")
    assert dock.controls.negative.isChecked()
    canvas_key(viewer, "N")
    assert dock.session.current == 2
    assert viewer.layers.selection.active == dock.session.prompt_layer.layer


def test_keys_do_nothing_where_something_is_typed(viewer, image, loader, qtbot) -> None:
    dock = open_dock(viewer, loader, qtbot)
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))
    typed = [w for w in dock.findChildren(QAbstractSpinBox) if w.isVisible()]
    typed += [w for w in dock.findChildren(QLineEdit) if w.isVisible()]
    assert typed
    field = QLineEdit()
    viewer.window.add_dock_widget(field, name="of another plugin")
    for widget in (*typed, field):
        widget.setFocus()
        for key in (Qt.Key.Key_N, Qt.Key.Key_G, Qt.Key.Key_Escape):
            QTest.keyClick(widget, key)
    assert field.text() == "ng"
    assert dock.session.current == 1 and dock.controls.positive.isChecked()
    assert object_is(dock, ball(SHAPE, FIRST))
    assert "Cancelled" not in dock.controls.status.text()


def test_escape_cancels_from_the_mask_layer_and_from_the_dock(viewer, image, loader, qtbot) -> None:
    dock = open_dock(viewer, loader, qtbot)
    loader.predictor.go.clear()
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(loader.predictor.started.is_set)
    labels = dock.session.labels
    viewer.layers.selection.active = labels
    assert set(map(str, labels.keymap)) == {"Escape"}
    canvas_key(viewer, "Escape")
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 1)
    assert not labels.keymap  # else it would keep napari from giving up a polygon
    loader.predictor.started.clear()
    dock.controls.segment.click()
    qtbot.waitUntil(loader.predictor.started.is_set)
    QTest.keyClick(dock.controls.segment, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: loader.predictor.cancelled == 2)


@pytest.mark.parametrize("where", ["viewer", "preferences"])
def test_a_key_of_the_users_is_left_alone(where) -> None:
    pressed: list[str] = []
    viewer = ViewerModel()
    kept = dict(ViewerModel.class_keymap)
    theirs = viewer if where == "viewer" else ViewerModel
    theirs.bind_key("N", lambda viewer: pressed.append("theirs"))
    try:
        keys = Keys(viewer, {name: lambda: pressed.append("ours") for name in KEYS})
        bound = {str(key): action for key, action in viewer.keymap.items()}
        assert set(bound) - {"N"} == {"G", "Escape"}
        bound["G"](viewer)
        assert ("N" in bound) == (where == "viewer")
        assert pressed == ["ours"]
        keys.close()
        assert set(map(str, viewer.keymap)) == ({"N"} if where == "viewer" else set())
    finally:
        ViewerModel.class_keymap = kept


def test_keys_are_shown_where_they_help(viewer, image, loader, qtbot) -> None:
    dock = open_dock(viewer, loader, qtbot)
    tooltips = " ".join(b.toolTip() for b in dock.findChildren(QPushButton))
    tooltips += dock.controls.positive.toolTip()
    assert all(f"key {key}" in tooltips for key in ("N", "G", "Esc"))
    assert all(key in dock.guide.keys.text() for key in ("N", "G", "Esc", "Ctrl"))
