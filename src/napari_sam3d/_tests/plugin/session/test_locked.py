"""Locked objects, their colours and classes, in a viewer model without a window."""

from __future__ import annotations

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils import DirectLabelColormap

from napari_sam3d._tests.plugin.conftest import BallPredictor, ball
from napari_sam3d._tests.plugin.session.test_hand_watch import AT, SHAPE, SQUARE, paint
from napari_sam3d._tests.plugin.session.test_session import answer_all, click, shown
from napari_sam3d.io.label_names import LabelName, read_label_names, write_label_names
from napari_sam3d.plugin.files.combine import by_category
from napari_sam3d.plugin.session.names import categories_of, colors_of, show_colors
from napari_sam3d.plugin.session.objects import Object
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.plugin.unsaved.autosave import Autosave
from napari_sam3d.settings import InferenceSettings

NEAR = (10, 12, 17)
RED = (1.0, 0.0, 0.0, 1.0)


def new_session() -> Session:
    viewer = ViewerModel()
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    it = Session(viewer)
    it.notices = []
    it.notice.connect(lambda sentence: it.notices.append(sentence))
    it.set_image(viewer.layers["ct"])
    return it


@pytest.fixture
def session() -> Session:
    it = new_session()
    click(it, AT)
    answer_all(it)
    it.rename(1, "Liver")
    return it


def is_locked(session: Session) -> bool:
    sentence = "Liver is locked; unlock it in the table of objects to change it."
    return session.notices.pop() == sentence and not session.notices


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_other_object_takes_its_voxels(session, overwrite) -> None:
    session.hand.overwrite = overwrite
    session.lock(1, True)
    session.new_object()
    click(session, NEAR)
    answer_all(session)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, AT))
    np.testing.assert_array_equal(shown(session, 2), ball(SHAPE, NEAR) & ~ball(SHAPE, AT))
    session.undo()
    np.testing.assert_array_equal(shown(session), ball(SHAPE, AT))
    assert not shown(session, 2).any()


def test_what_it_lost_before_does_not_come_back(session) -> None:
    session.hand.overwrite = True
    session.new_object()
    click(session, NEAR)
    answer_all(session)
    rest = ball(SHAPE, AT) & ~ball(SHAPE, NEAR)
    session.lock(1, True)
    session.undo()
    np.testing.assert_array_equal(shown(session), rest)


def test_clicks_steps_and_settings_are_refused(session) -> None:
    click(session, NEAR)
    answer_all(session)
    before = shown(session).copy()
    session.lock(1, True)
    click(session, (10, 12, 20))
    assert is_locked(session) and len(session.prompt_layer.points()) == 2
    for step in (session.undo, session.redo, session.clear, lambda: session.remove_prompt(0)):
        step()
        if step != session.redo:
            assert is_locked(session)
        session.notices.clear()
    session.prompt_layer.layer.selected_data = {0}
    session.prompt_layer.layer.remove_selected()
    assert is_locked(session) and len(session.prompt_layer.points()) == 2
    session.forget_answers()
    assert session.pending() is None
    for refused in (session.require_point, lambda: session.delete(1)):
        with pytest.raises(ValueError, match="Liver is locked; unlock it"):
            refused()
    np.testing.assert_array_equal(shown(session), before)


def test_an_answer_on_its_way_comes_after_unlocking(session) -> None:
    click(session, NEAR)
    session.lock(1, True)
    assert session.pending() is None
    asked = []
    session.prompts_changed.connect(lambda: asked.append(session.pending()))
    session.lock(1, False)
    (request,) = asked
    assert request.object_id == 1
    session.lock(1, True)
    late = BallPredictor(InferenceSettings()).predict(request.volume, request.prompts)
    assert not session.accept(request, late)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, AT))
    session.lock(1, False)
    answer_all(session)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, AT) | ball(SHAPE, NEAR))


def test_the_brush_still_changes_it_and_the_next_object_takes_clicks(session) -> None:
    session.lock(1, True)
    paint(session, SQUARE, 0)
    assert not shown(session)[SQUARE].any()
    session.new_object()
    click(session, (3, 4, 4))
    assert answer_all(session) == 1
    session.select(1)
    click(session, NEAR)
    assert is_locked(session)
    session.lock(1, False)
    click(session, NEAR)
    assert answer_all(session) == 1


def rgba(session: Session, number: int) -> tuple[float, ...]:
    return tuple(session.labels.get_color(number).tolist())


def test_a_colour_is_the_objects_and_all_others_keep_theirs(session) -> None:
    before = session.labels.colormap.map(np.arange(1, 256))
    session.recolor(1, "#ff0000")
    after = session.labels.colormap.map(np.arange(1, 256))
    assert tuple(after[0]) == RED and session.color(1) == RED[:3]
    np.testing.assert_array_equal(after[1:], before[1:])
    session.undo()
    assert rgba(session, 1) == RED
    session.objects[300] = Object(color="#0000ff")
    session.select(300)
    assert rgba(session, 300) == (0, 0, 1, 1) and rgba(session, 1) == RED
    np.testing.assert_allclose([rgba(session, 2), rgba(session, 246)], before[[1, 245]])
    meta = session.labels.as_layer_data_tuple()[1]
    assert colors_of(meta)([1]) == {1: RED}


def test_colours_of_a_layer_with_its_own_are_kept() -> None:
    own = DirectLabelColormap(color_dict={None: "transparent", 1: "green", 2: "blue"})
    layer = Labels(np.zeros((2, 2, 2), np.uint8), colormap=own)
    show_colors(layer, {1: Object(color="#ff0000"), 2: Object(color="no colour")})
    assert tuple(layer.get_color(1)) == RED and tuple(layer.get_color(2)) == (0, 0, 1, 1)


def test_a_removed_layer_comes_back_in_its_colours(session) -> None:
    session.recolor(1, "#ff0000")
    session._viewer.layers.remove(session.labels)
    session.select(1)
    assert rgba(session, 1) == RED


def test_all_of_it_is_resumed(session, tmp_path) -> None:
    autosave = Autosave(session, InferenceSettings, tmp_path, patience_s=60)
    session.lock(1, True)
    session.recolor(1, "#ff0000")
    session.classify(1, " large  organ ")
    autosave.save()
    autosave.close()
    later = new_session()
    autosave = Autosave(later, InferenceSettings, tmp_path, patience_s=60)
    autosave.save()
    autosave.resume()
    it = later.objects[1]
    assert (it.name, it.category, it.locked) == ("Liver", "large organ", True)
    assert rgba(later, 1) == RED
    click(later, NEAR)
    assert is_locked(later)
    autosave.close()


def test_objects_of_a_class_become_one_label() -> None:
    labels = np.array([[[0, 1, 2, 3, 4, 3]]], np.uint8)
    made, ids = by_category(labels, {3: "vessel", 2: "vessel", 4: "tumour"})
    assert made.tolist() == [[[0, 1, 2, 2, 4, 2]]] and made.dtype == np.uint8
    assert ids == {2: 2, 3: 2, 4: 4} and labels[0, 0, 3] == 3


def test_classes_are_in_the_file_of_names(session, tmp_path) -> None:
    session.classify(1, "organ")
    assert categories_of({"metadata": session.labels.metadata}) == {1: "organ"}
    path = tmp_path / "x.nii.gz"
    names = (LabelName(1, "Liver", RED, 2.0, "organ"), LabelName(2, "Other"))
    text = write_label_names(path, names).read_text()
    assert [row.get("class") for row in json.loads(text)["labels"]] == ["organ", None]
    assert read_label_names(path) == names
    (tmp_path / "x.labels.json").write_text(text.replace('"organ"', "3"))
    with pytest.raises(ValueError, match="the class of label 1 is no text"):
        read_label_names(path)
