"""Going on from masks that are there already, by the controls of the dock."""

from __future__ import annotations

import numpy as np

from napari_sam3d._tests.plugin.conftest import SHAPE, ball, canvas_click, object_is, sentences
from napari_sam3d.engine.prediction import Prediction

START = ball(SHAPE, (12, 20, 22), 7)


def offered(dock) -> list[str]:
    box = dock.start_from.layers
    return [box.itemText(i) for i in range(box.count())]


def test_a_mask_of_a_file_is_corrected_by_clicks(viewer, image, dock, loader, qtbot) -> None:
    other = viewer.add_labels((4 * START).astype(np.uint8), name="seg", scale=(2, 1, 1))
    other.selected_label = 4
    part = dock.start_from
    qtbot.waitUntil(lambda: part.layers.currentText() == "seg" and part.label.value() == 4)
    part.start.click()
    assert object_is(dock, START)
    said = dock.controls.status.text()
    assert said == "seg 4 starts from seg, label 4: prompts change it now."
    assert loader.predictor.calls == []
    canvas_click(viewer, (12, 20, 29), image, control=True)
    cut = START & ~ball(SHAPE, (12, 20, 29))
    qtbot.waitUntil(lambda: object_is(dock, cut))
    prompts, previous = loader.predictor.calls[-1]
    assert isinstance(previous, Prediction) and previous.trusted and len(prompts.points) == 1
    np.testing.assert_array_equal(previous.full(SHAPE), START)
    canvas_click(viewer, (12, 20, 10), image)
    qtbot.waitUntil(lambda: object_is(dock, cut | ball(SHAPE, (12, 20, 10))))
    for _ in range(3):
        dock.controls.undo.click()
    assert not dock.session.labels.data.any()
    np.testing.assert_array_equal(other.data == 4, START)


def test_the_layers_follow_the_viewer(viewer, image, dock, qtbot) -> None:
    assert offered(dock) == ["ct_seg"]
    viewer.add_labels(np.zeros(SHAPE, np.uint8), name="one")
    two = viewer.add_labels(np.zeros(SHAPE, np.uint8), name="two")
    qtbot.waitUntil(lambda: offered(dock) == ["ct_seg", "one", "two"])
    dock.start_from.layers.setCurrentIndex(2)
    two.selected_label = 9
    assert dock.start_from.label.value() == 9
    dock.start_from.label.setValue(7)  # stays, whatever becomes of other layers
    two.name = "renamed"
    qtbot.waitUntil(lambda: dock.start_from.layers.currentText() == "renamed")
    viewer.layers.move(len(viewer.layers) - 1, 0)
    qtbot.waitUntil(lambda: offered(dock) == ["renamed", "ct_seg", "one"])
    assert dock.start_from.layers.currentText() == "renamed"
    assert dock.start_from.label.value() == 7
    viewer.layers.remove(two)
    qtbot.waitUntil(lambda: dock.start_from.layers.currentText() == "one")
    two.selected_label = 3
    assert dock.start_from.label.value() == 1
    viewer.layers.clear()
    qtbot.waitUntil(lambda: offered(dock) == [] and not dock.start_from.start.isEnabled())


def test_a_mask_that_is_no_start_is_a_sentence(viewer, image, dock, qtbot) -> None:
    viewer.add_labels(np.ones((4, 4, 4), np.uint8), name="knee")
    qtbot.waitUntil(lambda: dock.start_from.layers.currentText() == "knee")
    dock.start_from.start.click()
    assert sentences()[-1].startswith("knee does not have the voxels of ct")
    dock.start_from.layers.setCurrentIndex(offered(dock).index("ct_seg"))
    dock.start_from.start.click()
    assert sentences()[-1].startswith("ct_seg has no voxel with the label 1")
    assert not dock.session.objects


def test_what_is_painted_by_hand_goes_on_where_it_is(viewer, image, dock, qtbot) -> None:
    dock.session.labels.data_setitem(np.nonzero(START), 5)
    dock.start_from.label.setValue(5)
    dock.start_from.start.click()
    assert dock.session.current == 5
    canvas_click(viewer, (12, 20, 10), image)
    qtbot.waitUntil(lambda: object_is(dock, START | ball(SHAPE, (12, 20, 10)), 5))
    dock.controls.undo.click()
    assert object_is(dock, START, 5)
