"""The tables of the dock, by real clicks in real viewers."""

from __future__ import annotations

import csv
import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QColorDialog, QFileDialog, QLineEdit

from napari_sam3d._tests.nifti_files import AFFINE, forms, nifti, put
from napari_sam3d._tests.plugin.conftest import SHAPE, ball, canvas_click, object_is, open_dock
from napari_sam3d._tests.plugin.files.test_writer import open_layer
from napari_sam3d.plugin.dock import measuring
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.session.measure import measure
from napari_sam3d.volume import Grid

FIRST, SECOND = (12, 20, 22), (6, 8, 8)


@pytest.fixture
def image(viewer):
    return viewer.add_image(
        np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE), name="ct", scale=(2, 1, 1)
    )


def press(widget) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def cell_click(table, line: int, column: int) -> None:
    at = table.visualItemRect(table.item(line, column)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)


def unfold(section, qtbot) -> None:
    press(section.toggleButton())
    qtbot.waitUntil(lambda: section.content().height() > 100)


def two_objects(viewer, image, dock, qtbot) -> None:
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))
    press(dock.controls.new)
    canvas_click(viewer, SECOND, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, SECOND), 2))
    qtbot.waitUntil(lambda: dock.overview.objects.table.currentRow() == 1)


def truth(dock, image, number):
    mask = np.asarray(dock.session.labels.data) == number
    return measure(mask, image.data, Grid.from_spacing(SHAPE, image.scale).affine)


def shown(dock):
    return [(row.number, row.title, row.measures) for row in dock.overview.objects.value()]


def as_painted(dock, image) -> bool:
    rows = dock.overview.objects.value()
    return all(row.measures == truth(dock, image, row.number) for row in rows)


def test_the_table_follows_clicks_undo_and_paint(viewer, image, dock, qtbot) -> None:
    unfold(dock.overview.object_section, qtbot)
    two_objects(viewer, image, dock, qtbot)
    qtbot.waitUntil(lambda: len(shown(dock)) == 2 and as_painted(dock, image))
    texts = [dock.overview.objects.table.item(0, column).text() for column in range(6)]
    found = truth(dock, image, 1)
    assert found.volume_ml == pytest.approx(123 * 2 / 1000)
    assert texts[:5] == ["1", "Object 1", "", "0.246", f"{found.diameter_mm:.1f}"]
    assert float(texts[5]) == pytest.approx(found.mean, rel=0.01)
    press(dock.controls.undo)
    qtbot.waitUntil(lambda: dock.overview.objects.table.item(1, 3).text() == "–")
    press(dock.controls.redo)
    qtbot.waitUntil(lambda: dock.overview.objects.table.item(1, 3).text() == "0.246")
    labels = dock.session.labels
    labels.selected_label = 1
    labels.brush_size = 4
    labels.paint((20, 33, 35), 1)
    assert (labels.data[20] == 1).any()
    qtbot.waitUntil(lambda: shown(dock)[0][2].voxels > 123 and as_painted(dock, image))
    labels.undo()
    qtbot.waitUntil(lambda: shown(dock)[0][2].voxels == 123 and as_painted(dock, image))
    labels.redo()
    qtbot.waitUntil(lambda: shown(dock)[0][2].voxels > 123 and as_painted(dock, image))


def test_a_row_continues_its_object_and_a_name_is_typed(viewer, image, dock, qtbot) -> None:
    unfold(dock.overview.object_section, qtbot)
    two_objects(viewer, image, dock, qtbot)
    table = dock.overview.objects.table
    cell_click(table, 0, 3)
    assert dock.session.current == 1
    assert dock.controls.objects.currentText() == "Object 1"
    cell_click(table, 0, 1)  # a double click begins with a click
    at = table.visualItemRect(table.item(0, 1)).center()
    QTest.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    editor = table.findChild(QLineEdit)
    editor.selectAll()
    QTest.keyClicks(editor, "Liver")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.session.title(1) == "Liver")
    assert dock.controls.objects.currentText() == "Liver"
    qtbot.waitUntil(lambda: [row[1] for row in shown(dock)] == ["Liver", "Object 2"])
    canvas_click(viewer, (12, 20, 26), image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST) | ball(SHAPE, (12, 20, 26))))


def test_an_open_editor_survives_a_mask_that_arrives(viewer, image, dock, qtbot) -> None:
    unfold(dock.overview.object_section, qtbot)
    two_objects(viewer, image, dock, qtbot)
    table = dock.overview.objects.table
    table.editItem(table.item(0, 1))
    QTest.keyClicks(table.findChild(QLineEdit), "Half a na")
    dock.session.prompt_layer.add((6, 8, 12))
    expected = ball(SHAPE, SECOND) | ball(SHAPE, (6, 8, 12))
    qtbot.waitUntil(lambda: object_is(dock, expected, 2) and as_painted(dock, image))
    assert table.findChild(QLineEdit).text() == "Half a na"


def test_an_object_is_deleted_after_a_question(viewer, image, dock, qtbot, monkeypatch) -> None:
    unfold(dock.overview.object_section, qtbot)
    two_objects(viewer, image, dock, qtbot)
    dock.session.labels.data[22, 38, 40] = 2  # painted far from its mask
    asked, answers = [], [False, True, True]
    monkeypatch.setattr(
        questions, "allow", lambda text, *_: (asked.append(text), answers.pop(0))[1]
    )
    dock.overview.objects.delete.trigger()
    assert set(dock.session.objects) == {1, 2} and (dock.session.labels.data == 2).any()
    dock.overview.objects.delete.trigger()
    assert asked[0].startswith("Object 2 goes with its points and its mask.")
    assert set(dock.session.objects) == {1} and dock.session.current == 1
    assert not (dock.session.labels.data == 2).any() and object_is(dock, ball(SHAPE, FIRST))
    assert len(dock.session.prompt_layer.points()) == 1
    qtbot.waitUntil(lambda: len(shown(dock)) == 1)
    dock.overview.objects.delete.trigger()
    assert not dock.session.labels.data.any() and not dock.session.used()
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(lambda: object_is(dock, ball(SHAPE, FIRST)))


def test_an_object_is_locked_recoloured_and_classified(
    viewer, image, dock, qtbot, monkeypatch
) -> None:
    unfold(dock.overview.object_section, qtbot)
    two_objects(viewer, image, dock, qtbot)
    objects, table = dock.overview.objects, dock.overview.objects.table
    assert table.isColumnHidden(2)
    for line, text in ((0, "Vessel"), (1, "ve")):
        cell_click(table, line, 0)
        objects.classify.trigger()
        editor = table.findChildren(QLineEdit)[-1]
        QTest.keyClicks(editor, text)
        if line:
            assert editor.completer().currentCompletion() == "Vessel"
            editor.setText(editor.completer().currentCompletion())
        QTest.keyClick(editor, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda number=line + 1: dock.session.objects[number].category == "Vessel")
    qtbot.waitUntil(lambda: [row.category for row in objects.value()] == ["Vessel"] * 2)
    assert not table.isColumnHidden(2)
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#ff0000"))
    objects.recolor.trigger()
    assert dock.session.color(2) == (1, 0, 0)
    objects.lock.trigger()
    assert dock.session.objects[2].locked
    qtbot.waitUntil(lambda: objects.value()[1].locked and objects.lock.isChecked())
    cell_click(table, 0, 0)
    assert not objects.lock.isChecked()
    cell_click(table, 1, 0)
    canvas_click(viewer, (6, 8, 12), image)
    assert dock.controls.status.text().startswith("Object 2 is locked; unlock it in the table")
    objects.delete.trigger()
    assert 2 in dock.session.objects and len(dock.session.prompt_layer.points()) == 1
    objects.lock.trigger()
    canvas_click(viewer, (6, 8, 12), image)
    expected = ball(SHAPE, SECOND) | ball(SHAPE, (6, 8, 12))
    qtbot.waitUntil(lambda: object_is(dock, expected, 2))


def test_the_menu_of_a_row_stands_where_it_is_clicked(viewer, image, dock, qtbot) -> None:
    unfold(dock.overview.object_section, qtbot)
    two_objects(viewer, image, dock, qtbot)
    objects, table = dock.overview.objects, dock.overview.objects.table
    at = table.visualItemRect(table.item(0, 1)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.RightButton, pos=at)
    table.customContextMenuRequested.emit(at)
    qtbot.waitUntil(objects.menu.isVisible)
    assert dock.session.current == 1
    assert [a.text() for a in objects.menu.actions() if not a.isSeparator()] == [
        "Rename",
        "Class...",
        "Colour...",
        "Locked",
        "Delete...",
    ]
    objects.menu.close()


def test_the_answer_about_a_deleted_object_is_dropped(viewer, image, dock, loader, qtbot) -> None:
    loader.predictor.go.clear()
    canvas_click(viewer, FIRST, image)
    qtbot.waitUntil(loader.predictor.started.is_set)
    dock.session.delete(1)
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: not dock.controls.busy.isVisible())
    assert not dock.session.labels.data.any()


def test_the_csv_has_what_is_painted_now(viewer, image, dock, qtbot, monkeypatch, tmp_path) -> None:
    two_objects(viewer, image, dock, qtbot)
    dock.session.rename(2, "Größe")
    dock.session.classify(2, "growth")
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "table"), "Table (*.csv)")
    )
    unfold(dock.overview.object_section, qtbot)
    press(dock.overview.objects.export)
    assert dock.controls.status.text() == "Table saved in table.csv."
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        _, first, second = csv.reader(file)
    found = truth(dock, image, 2)
    assert first[:4] == ["1", "Object 1", "", "0.246"] and second[:3] == ["2", "Größe", "growth"]
    assert [float(text) for text in second[3:]] == pytest.approx(
        [found.volume_ml, found.diameter_mm, found.mean, found.voxels], rel=1e-5
    )


def test_the_window_lives_while_the_csv_is_measured(
    viewer, image, dock, qtbot, monkeypatch, tmp_path
) -> None:
    two_objects(viewer, image, dock, qtbot)
    threads = []

    def slow(*args):
        threads.append(threading.current_thread())
        return measure(*args)

    monkeypatch.setattr(measuring, "measure", slow)
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "table"), "Table (*.csv)")
    )
    dock.overview.objects.export.click()
    assert (tmp_path / "table.csv").exists()
    assert len(threads) == 2 and threading.main_thread() not in threads


def test_points_are_listed_looked_at_and_deleted(viewer, image, dock, qtbot) -> None:
    unfold(dock.overview.prompt_section, qtbot)
    canvas_click(viewer, FIRST, image)
    canvas_click(viewer, (15, 20, 26), image)
    canvas_click(viewer, (12, 20, 18), image, control=True)
    a, b, c = ball(SHAPE, FIRST), ball(SHAPE, (15, 20, 26)), ball(SHAPE, (12, 20, 18))
    qtbot.waitUntil(lambda: object_is(dock, (a | b) & ~c))
    prompts = dock.overview.prompts
    qtbot.waitUntil(lambda: [row.positive for row in prompts.value()] == [True, True, False])
    cell_click(prompts.table, 1, 0)
    assert viewer.dims.current_step[0] == 15
    cell_click(prompts.table, 0, 2)
    assert viewer.dims.current_step[0] == 12
    viewer.dims.set_current_step(0, 3)
    cell_click(prompts.table, 0, 2)
    assert viewer.dims.current_step[0] == 12
    cell_click(prompts.table, 1, 0)
    QTest.keyClick(prompts.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: object_is(dock, a & ~c))
    assert len(dock.session.prompt_layer.points()) == 2
    qtbot.waitUntil(lambda: len(prompts.value()) == 2)
    press(dock.controls.undo)
    qtbot.waitUntil(lambda: object_is(dock, (a | b) & ~c))
    qtbot.waitUntil(lambda: len(prompts.value()) == 3)
    cell_click(prompts.table, 2, 0)
    press(prompts.delete)
    qtbot.waitUntil(lambda: object_is(dock, a | b))


def test_in_3d_the_slice_of_a_point_waits_for_the_2d_view(viewer, image, dock, qtbot) -> None:
    canvas_click(viewer, (5, 20, 22), image)
    viewer.dims.set_current_step(0, 18)
    viewer.dims.ndisplay = 3
    dock.session.look_at(0)
    assert viewer.dims.current_step[0] == 18
    viewer.dims.ndisplay = 2
    assert viewer.dims.current_step[0] == 5


def test_positions_are_those_of_the_file(viewer, loader, qtbot, tmp_path) -> None:
    stored = np.zeros(SHAPE[::-1], np.int16)
    path = put(tmp_path / "ct.nii.gz", nifti(stored, **forms(AFFINE, "both")))
    layer = viewer.add_layer(open_layer(path, as_labels=False))
    dock = open_dock(viewer, loader, qtbot)
    shape = dock.session.volume.grid.shape
    voxel = tuple(n // 3 for n in shape)
    canvas_click(viewer, voxel, layer)
    qtbot.waitUntil(lambda: len(dock.overview.prompts.value()) == 1)
    source = dock.session.volume.source
    ijk = np.append(source.to_stored(np.array(voxel, float)), 1)
    assert dock.overview.prompts.value()[0].ras_mm == pytest.approx((AFFINE @ ijk)[:3])


def test_another_image_begins_with_empty_tables(viewer, image, dock, qtbot) -> None:
    unfold(dock.overview.object_section, qtbot)
    two_objects(viewer, image, dock, qtbot)
    qtbot.waitUntil(lambda: as_painted(dock, image))
    other = viewer.add_image(np.zeros((10, 12, 14)), name="other")
    qtbot.waitUntil(lambda: other in dock.images.choices)
    dock.images.value = other
    qtbot.waitUntil(lambda: not shown(dock) and not dock.overview.prompts.value())
    dock.images.value = image
    qtbot.waitUntil(lambda: len(shown(dock)) == 2 and as_painted(dock, image))


def test_one_table_is_open_at_a_time(dock, qtbot) -> None:
    unfold(dock.overview.prompt_section, qtbot)
    unfold(dock.overview.object_section, qtbot)
    assert not dock.overview.prompt_section.isExpanded()
    unfold(dock.overview.prompt_section, qtbot)
    assert not dock.overview.object_section.isExpanded()
