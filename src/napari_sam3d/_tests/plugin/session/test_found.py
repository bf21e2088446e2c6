"""What a model finds by itself becomes objects, and nothing that was there is lost."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam3d._tests.plugin.conftest import BallPredictor, ball
from napari_sam3d.catalog import MODELS
from napari_sam3d.plugin.session.found import add_found, request_all, split
from napari_sam3d.plugin.session.names import titles_of
from napari_sam3d.plugin.session.objects import Found
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.settings import InferenceSettings

SHAPE = (12, 20, 24)
MODEL = MODELS["ma_sam_btcv"]
SPLEEN, LIVER = ball(SHAPE, (6, 6, 6)), ball(SHAPE, (6, 12, 16))


@pytest.fixture
def session() -> Session:
    viewer = ViewerModel()
    it = Session(viewer)
    it.set_model(MODEL)
    it.set_image(viewer.add_image(np.zeros(SHAPE, np.int16), name="ct"))
    it.notices = []
    it.notice.connect(lambda sentence: it.notices.append(sentence))
    return it


def label_map() -> np.ndarray:
    return (1 * SPLEEN + 6 * LIVER).astype(np.uint8)


def find(session: Session) -> dict[int, Found]:
    return add_found(session, request_all(session), split(label_map(), MODEL))


def click(session: Session, position: tuple[float, ...], positive: bool = True) -> None:
    session.set_model(MODELS["compact"])
    session.prompt_layer.add(np.array(position), positive)
    while (request := session.pending()) is not None:
        predictor = BallPredictor(InferenceSettings())
        session.accept(request, predictor.predict(request.volume, request.prompts))


def test_a_label_map_is_split_into_named_masks() -> None:
    spleen, liver = split(label_map(), MODEL)
    assert (spleen.name, liver.name) == ("spleen", "liver") and spleen.model == "ma_sam_btcv"
    assert spleen.mask.shape == (7, 7, 7)
    np.testing.assert_array_equal(label_map()[liver.window] == 6, liver.mask)
    assert split(np.zeros(SHAPE, np.uint8), MODEL) == ()


def test_classes_become_named_objects(session) -> None:
    assert [it.name for it in find(session).values()] == ["spleen", "liver"]
    np.testing.assert_array_equal(session.labels.data, 1 * SPLEEN + 2 * LIVER)
    assert session.current == 1 and session.pending() is None
    assert titles_of({"metadata": session.labels.metadata}) == {1: "spleen", 2: "liver"}


def test_objects_that_are_there_keep_number_and_voxels(session) -> None:
    session.labels.data[:, :, :4] = 7  # painted by hand, into the spleen
    click(session, (6, 12, 13))
    clicked = session.labels.data == session.current
    session.set_model(MODEL)
    before = session.labels.data.copy()
    assert list(find(session)) == [8, 9]
    np.testing.assert_array_equal(session.labels.data[before != 0], before[before != 0])
    np.testing.assert_array_equal(session.labels.data == 9, LIVER & ~clicked)


def test_a_class_without_a_voxel_of_its_own_is_left_out(session) -> None:
    session.labels.data[:] = 3 * SPLEEN
    assert [it.name for it in find(session).values()] == ["liver"]
    session.labels.data[:] = 3
    session.objects.clear()
    assert find(session) == {} and (session.labels.data == 3).all()


def test_more_classes_than_a_byte_holds(session) -> None:
    session.labels.data[0, 0, 0] = 254
    assert list(find(session)) == [255, 256]
    np.testing.assert_array_equal(session.labels.data == 256, LIVER)


def test_undo_takes_back_all_that_was_found_and_redo_returns_it(session) -> None:
    find(session)
    whole = session.labels.data.copy()
    session.select(2)
    session.undo()
    assert not session.labels.data.any()
    session.undo()
    session.redo()
    np.testing.assert_array_equal(session.labels.data, whole)
    assert session.current == 2


def test_clear_removes_one_and_undo_brings_it_back(session) -> None:
    find(session)
    whole = session.labels.data.copy()
    session.clear()
    np.testing.assert_array_equal(session.labels.data, 2 * LIVER)
    assert not session.object.can_clear
    session.undo()
    np.testing.assert_array_equal(session.labels.data, whole)


def test_clicks_go_on_from_a_class_and_undo_returns_to_it(session) -> None:
    find(session)
    click(session, (6, 6, 9))
    both = SPLEEN | ball(SHAPE, (6, 6, 9))
    np.testing.assert_array_equal(session.labels.data == 1, both)
    session.select(2)
    session.undo()  # takes back what nobody has touched
    np.testing.assert_array_equal(session.labels.data, 1 * both)
    session.redo()
    session.select(1)
    session.undo()
    np.testing.assert_array_equal(session.labels.data, 1 * SPLEEN + 2 * LIVER)


def test_a_negative_point_alone_takes_its_part_away(session) -> None:
    find(session)
    click(session, (6, 6, 9), positive=False)
    np.testing.assert_array_equal(session.labels.data == 1, SPLEEN & ~ball(SHAPE, (6, 6, 9)))
    session.undo()
    np.testing.assert_array_equal(session.labels.data, 1 * SPLEEN + 2 * LIVER)


def test_all_is_found_once(session) -> None:
    find(session)
    with pytest.raises(ValueError, match="is there already"):
        request_all(session)
    session.undo()
    assert list(find(session)) == [1, 2]
    np.testing.assert_array_equal(session.labels.data, 1 * SPLEEN + 2 * LIVER)
    assert sorted(session.objects) == [1, 2]


def test_an_answer_for_another_image_is_dropped(session) -> None:
    request = request_all(session)
    session.image.data = np.ones(SHAPE, np.int16)
    assert add_found(session, request, split(label_map(), MODEL)) == {}
    assert not session.labels.data.any()


def test_a_deleted_mask_layer_comes_back_with_the_classes(session) -> None:
    find(session)
    before = session.labels.data.copy()
    session._viewer.layers.remove(session.labels)
    session.new_object()
    np.testing.assert_array_equal(session.labels.data, before)


def test_a_model_without_clicks_refuses_them(session) -> None:
    session.prompt_layer.add(np.array((6, 6, 6)))
    assert session.notices == ["ma_sam_btcv needs no clicks: press Segment."]
    assert session.objects == {} and len(session.prompt_layer.layer.data) == 0
