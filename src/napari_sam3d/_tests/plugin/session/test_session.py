"""Objects, prompts and layers, in a viewer model without a window."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks

from napari_sam3d._tests.plugin.conftest import BallPredictor, ball
from napari_sam3d.plugin.session.objects import Object
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.prompts import Point, Prompts, Said
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SHAPE = (20, 24, 28)
SCALE, TRANSLATE = (3.0, 1.0, 0.5), (-10.0, 5.0, 2.0)


@pytest.fixture
def viewer() -> ViewerModel:
    model = ViewerModel()
    model.add_image(
        np.zeros(SHAPE, np.int16),
        name="ct",
        scale=SCALE,
        translate=TRANSLATE,
        units=("mm",) * 3,
        axis_labels=("I", "P", "L"),
        metadata={"kept": 1},
    )
    return model


@pytest.fixture
def session(viewer: ViewerModel) -> Session:
    it = Session(viewer)
    it.notices = []
    it.notice.connect(lambda sentence: it.notices.append(sentence))
    it.set_image(viewer.layers["ct"])
    return it


def answer_all(session: Session) -> int:
    """Answer what the session asks, as a worker would; returns how often."""
    n = 0
    while (request := session.pending()) is not None:
        predictor = BallPredictor(InferenceSettings())
        prediction = predictor.predict(request.volume, request.prompts, request.previous)
        assert session.accept(request, prediction)
        n += 1
    return n


def click(session: Session, position: tuple[float, ...], positive: bool = True) -> None:
    session.prompt_layer.add(np.array(position), positive)


def shown(session: Session, object_id: int = 1) -> np.ndarray:
    return session.labels.data == object_id


def test_choosing_an_image_is_enough_to_click(viewer, session) -> None:
    kinds = [type(layer) for layer in viewer.layers]
    assert kinds == [Image, Labels, Points]
    assert viewer.layers.selection.active is session.prompt_layer.layer
    assert str(session.prompt_layer.layer.mode) == "add"
    assert session.labels.data.dtype == np.uint8


def test_our_layers_lie_on_the_image(session) -> None:
    for layer in (session.labels, session.prompt_layer.layer):
        np.testing.assert_array_equal(layer.scale, SCALE)
        np.testing.assert_array_equal(layer.translate, TRANSLATE)
        assert layer.units == session.image.units
        assert tuple(layer.axis_labels) == ("I", "P", "L")
    assert session.labels.metadata["kept"] == 1


def test_a_point_becomes_a_mask(session) -> None:
    click(session, (10, 12, 14))
    assert answer_all(session) == 1
    np.testing.assert_array_equal(shown(session), ball(SHAPE, (10, 12, 14)))
    assert session.pending() is None


def test_large_masks_are_written_alike(session, monkeypatch) -> None:
    monkeypatch.setattr("napari_sam3d.plugin.session.mask_layer._UNDOABLE", 10)
    session.labels.data[10, 12, 15] = 9
    click(session, (10, 12, 14))
    answer_all(session)
    click(session, (10, 12, 18), positive=False)
    answer_all(session)
    expected = 1 * (ball(SHAPE, (10, 12, 14)) & ~ball(SHAPE, (10, 12, 18)))
    expected[10, 12, 15] = 9
    np.testing.assert_array_equal(session.labels.data, expected)


def test_a_click_means_the_voxel_under_it(viewer, session) -> None:
    viewer.dims.set_point(0, 3.0 * 7 - 10)
    event = {"button": 1, "pos": np.zeros(2), "view_direction": None, "dims_displayed": [1, 2]}
    where = np.array((7.2, 11.4, 14.6)) * SCALE + TRANSLATE
    for kind, act in (
        ("mouse_press", mouse_press_callbacks),
        ("mouse_release", mouse_release_callbacks),
    ):
        act(
            session.prompt_layer.layer,
            read_only_mouse_event(type=kind, modifiers=["Control"], position=tuple(where), **event),
        )
    assert session.object.prompts.points == (Point((7, 11, 15), False),)


@pytest.mark.parametrize("button", [2, 3])
def test_other_buttons_place_nothing(session, button) -> None:
    event = {"button": button, "pos": np.zeros(2), "modifiers": [], "position": (0, 10, 10)}
    layer = session.prompt_layer.layer
    mouse_press_callbacks(layer, read_only_mouse_event(type="mouse_press", **event))
    mouse_release_callbacks(layer, read_only_mouse_event(type="mouse_release", **event))
    assert len(layer.data) == 0


def test_a_point_outside_is_refused(session) -> None:
    click(session, (10, 12, 28))
    assert session.notices == ["That point is outside ct."]
    assert session.pending() is None and len(session.prompt_layer.layer.data) == 0


def test_only_negative_points_ask_for_a_positive_one(session) -> None:
    click(session, (10, 12, 14), positive=False)
    assert session.pending() is None
    assert "positive" in session.notices[-1]
    with pytest.raises(ValueError, match="positive point first"):
        session.require_point()


def test_a_refined_mask_gets_the_one_before(session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    before = session.object.shown
    click(session, (10, 12, 16), positive=False)
    assert session.pending().previous is before
    session.prompt_layer.layer.data = np.array([(5, 5, 5), (10, 12, 16)], float)
    assert session.pending().previous is None


def test_moving_and_deleting_points_changes_the_mask(session) -> None:
    click(session, (10, 12, 14))
    click(session, (10, 12, 20))
    answer_all(session)
    layer = session.prompt_layer.layer
    layer.data = np.array([(5, 5, 5), (10, 12, 20)], float)
    answer_all(session)
    expected = ball(SHAPE, (5, 5, 5)) | ball(SHAPE, (10, 12, 20))
    np.testing.assert_array_equal(shown(session), expected)
    layer.selected_data = {0}
    layer.remove_selected()
    answer_all(session)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, (10, 12, 20)))


def test_relabelling_a_point_counts(session) -> None:
    click(session, (10, 12, 14))
    click(session, (10, 12, 18))
    features = session.prompt_layer.layer.features.copy()
    features.loc[1, "label"] = "negative"
    session.prompt_layer.layer.features = features
    assert [p.positive for p in session.object.prompts.points] == [True, False]


def test_undo_and_redo_without_the_model(session) -> None:
    states = [shown(session)]
    for position in ((10, 12, 14), (10, 12, 18), (8, 6, 5)):
        click(session, position)
        answer_all(session)
        states.append(shown(session))
    for state in states[-2::-1]:
        session.undo()
        np.testing.assert_array_equal(shown(session), state)
        assert session.pending() is None
    session.undo()
    for state in states[1:]:
        session.redo()
        np.testing.assert_array_equal(shown(session), state)
        assert session.pending() is None
    assert len(session.prompt_layer.layer.data) == 3


def test_points_look_like_what_they_mean(session) -> None:
    click(session, (10, 12, 14), positive=False)
    click(session, (10, 12, 18))
    layer = session.prompt_layer.layer
    red, lime = (1, 0, 0, 1), (0, 1, 0, 1)
    for _ in range(2):  # as clicked, and as shown again after undo and redo
        np.testing.assert_allclose(layer.face_color, [red, lime])
        assert [str(s) for s in layer.symbol] == ["hbar", "cross"]
        session.undo()
        session.redo()


def test_clear_can_be_undone(session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    session.clear()
    assert not session.labels.data.any() and len(session.prompt_layer.layer.data) == 0
    session.undo()
    np.testing.assert_array_equal(shown(session), ball(SHAPE, (10, 12, 14)))


def test_an_object_never_takes_voxels_of_another(session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    assert session.new_object() == 2
    assert len(session.prompt_layer.layer.data) == 0
    click(session, (10, 12, 17))
    answer_all(session)
    first, second = ball(SHAPE, (10, 12, 14)), ball(SHAPE, (10, 12, 17))
    np.testing.assert_array_equal(shown(session, 1), first)
    np.testing.assert_array_equal(shown(session, 2), second & ~first)
    session.undo()
    np.testing.assert_array_equal(session.labels.data, first)


def test_a_painted_label_is_no_object_of_ours(session) -> None:
    session.labels.data[0, 0, 0] = 7
    click(session, (10, 12, 14))
    assert session.new_object() == 8


def test_an_empty_object_is_not_left_for_another(session) -> None:
    assert session.new_object() == session.new_object() == 1


def test_object_left_before_its_answer_gets_it(session) -> None:
    click(session, (10, 12, 14))
    session.new_object()
    click(session, (4, 5, 6))
    assert session.pending().object_id == 2
    assert answer_all(session) == 2
    np.testing.assert_array_equal(shown(session, 1), ball(SHAPE, (10, 12, 14)))
    session.select(1)
    np.testing.assert_array_equal(session.prompt_layer.layer.data, [(10, 12, 14)])


def test_an_answer_to_older_points_is_not_shown(session) -> None:
    click(session, (10, 12, 14))
    request = session.pending()
    click(session, (10, 12, 18))
    predictor = BallPredictor(InferenceSettings())
    assert not session.accept(request, predictor.predict(request.volume, request.prompts))
    assert not session.labels.data.any()
    session.undo()
    np.testing.assert_array_equal(shown(session), ball(SHAPE, (10, 12, 14)))


def test_more_objects_than_a_byte_holds(session) -> None:
    session.select(300)
    click(session, (10, 12, 14))
    answer_all(session)
    assert session.labels.data.dtype == np.uint16
    np.testing.assert_array_equal(shown(session, 300), ball(SHAPE, (10, 12, 14)))


def test_deleted_layers_come_back_with_what_they_showed(viewer, session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    before = session.labels.data.copy()
    viewer.layers.remove(session.labels)
    viewer.layers.remove(session.prompt_layer.layer)
    assert len(session.notices) == 2
    session.new_object()
    np.testing.assert_array_equal(session.labels.data, before)
    click(session, (4, 5, 6))
    answer_all(session)
    assert set(np.unique(session.labels.data)) == {0, 1, 2}
    assert [type(layer) for layer in viewer.layers] == [Image, Labels, Points]


def test_renamed_layers_are_still_ours(viewer, session) -> None:
    for layer in list(viewer.layers):
        layer.name = "x" + layer.name
    click(session, (10, 12, 14))
    assert answer_all(session) == 1 and len(viewer.layers) == 3


def test_removing_everything_at_once(viewer, session) -> None:
    click(session, (10, 12, 14))
    viewer.layers.select_all()
    viewer.layers.remove_selected()
    assert len(viewer.layers) == 0 and session.image is None and session.pending() is None
    with pytest.raises(ValueError, match="no 3D image"):
        session.new_object()


def test_another_image_and_back(viewer, session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    first = session.labels
    session.set_image(viewer.add_image(np.zeros((9, 9, 9)), name="other"))
    assert session.labels is not first and not session.objects
    session.set_image(viewer.layers["ct"])
    assert session.labels is first
    np.testing.assert_array_equal(session.prompt_layer.layer.data, [(10, 12, 14)])
    assert session.pending() is None
    click(session, (10, 12, 18))
    answer_all(session)
    expected = ball(SHAPE, (10, 12, 14)) | ball(SHAPE, (10, 12, 18))
    np.testing.assert_array_equal(shown(session), expected)


def test_a_second_session_goes_on_where_the_first_stopped(viewer, session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    session.close()
    assert [type(layer) for layer in viewer.layers] == [Image, Labels]
    second = Session(viewer)
    second.set_image(viewer.layers["ct"])
    second.undo()
    assert not second.labels.data.any() and len(viewer.layers) == 3


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Image(np.zeros((8, 8)), name="flat"), "flat has 2 dimensions"),
        (Image(np.zeros((8, 8, 8, 3)), rgb=True, name="colour"), "colour is a colour image"),
        (Image(np.zeros((8, 8, 8)), name="tilted", rotate=(10, 0, 0)), "tilted is rotated"),
    ],
)
def test_an_unfit_image_is_refused_and_nothing_is_lost(viewer, session, layer, said) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    viewer.add_layer(layer)
    with pytest.raises(ValueError, match=said):
        session.set_image(layer)
    assert session.image is viewer.layers["ct"] and session.labels.data.any()
    click(session, (10, 12, 18))
    assert answer_all(session) == 1


def test_layers_follow_when_the_image_moves(viewer, session) -> None:
    session.image.scale = (2, 2, 2)
    for layer in (session.labels, session.prompt_layer.layer):
        np.testing.assert_array_equal(layer.scale, (2, 2, 2))
    assert session.volume.grid.spacing == (2, 2, 2)
    click(session, (10, 12, 14))
    assert answer_all(session) == 1


def test_a_moved_image_is_asked_anew_and_its_masks_stay(viewer, session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    click(session, (10, 12, 18))
    answer_all(session)
    both = shown(session).copy()
    assert session.to_recut(True) is not None
    session.image.scale = (2, 2, 2)
    assert session.pending() is None and session.to_recut(True) is None
    np.testing.assert_array_equal(shown(session), both)
    session.undo()
    assert session.pending().previous is None and answer_all(session) == 1
    np.testing.assert_array_equal(shown(session), ball(SHAPE, (10, 12, 14)))
    click(session, (10, 12, 18))
    assert session.pending().previous is not None and answer_all(session) == 1


def test_new_image_data_is_used(viewer, session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    session.image.data = np.ones(SHAPE)
    assert session.volume.data.all() and session.labels.data.any()
    session.image.data = np.ones((9, 9, 9))
    assert session.labels.data.shape == (9, 9, 9) and not session.objects


def test_close_leaves_stock_layers_and_no_callback(viewer, session) -> None:
    layer = session.prompt_layer.layer
    session.close()
    layer.mode = "add"
    assert all(f.__module__.startswith("napari.") for f in layer.mouse_drag_callbacks)
    viewer.layers.remove(viewer.layers["ct"])
    assert session.notices == []


def loaded(*positions: tuple[float, ...], name: str = "") -> Object:
    return Object(Prompts().become(Said(tuple(Point(p) for p in positions))), name=name)


def test_added_objects_are_segmented_in_turn(viewer, session) -> None:
    numbers = session.add_objects({4: loaded((10, 12, 14), name="left"), 9: loaded((4, 5, 6))})
    assert numbers == {4: 4, 9: 9} and session.current == 4
    assert [session.title(n) for n in (4, 9)] == ["left", "Object 9"]
    np.testing.assert_array_equal(session.prompt_layer.layer.data, [(10, 12, 14)])
    assert answer_all(session) == 2
    np.testing.assert_array_equal(shown(session, 4), ball(SHAPE, (10, 12, 14)))
    np.testing.assert_array_equal(shown(session, 9), ball(SHAPE, (4, 5, 6)))
    session.undo()
    assert not shown(session, 4).any() and len(session.prompt_layer.layer.data) == 0
    session.redo()
    np.testing.assert_array_equal(shown(session, 4), ball(SHAPE, (10, 12, 14)))


def test_added_objects_take_nothing_from_those_that_are_there(session) -> None:
    click(session, (10, 12, 14))
    answer_all(session)
    session.labels.data[0, 0, 0] = 3  # painted by hand
    before = session.labels.data.copy()
    both = {1: loaded((4, 5, 6)), 2: loaded((15, 5, 6)), 3: loaded((4, 18, 6))}
    assert session.add_objects(both) == {1: 4, 2: 2, 3: 5}
    answer_all(session)
    np.testing.assert_array_equal(session.labels.data[before > 0], before[before > 0])
    assert session.objects[1].prompts.points == (Point((10, 12, 14)),)
    assert set(np.unique(session.labels.data)) == {0, 1, 2, 3, 4, 5}


def test_a_cleared_object_keeps_its_number(session) -> None:
    """Its points come back with Undo, so nothing else may be where they were."""
    click(session, (10, 12, 14))
    session.clear()
    assert session.add_objects({1: loaded((4, 5, 6))}) == {1: 2}


def test_masks_never_count_as_read_from_a_label_file(viewer) -> None:
    """Else they would be saved over it without a question."""
    source = {"path": "/data/x_seg.nii.gz", "is_labels": True}
    image = viewer.add_image(np.zeros((4, 4, 4)), metadata={"napari_sam3d": source})
    session = Session(viewer)
    session.set_image(image)
    assert session.labels.metadata["napari_sam3d"] == {**source, "is_labels": False}
    assert image.metadata["napari_sam3d"]["is_labels"]


def test_an_image_whose_masks_no_memory_holds_is_refused(viewer, session) -> None:
    huge = (10**6, 10**6, 10**6)
    volume = Volume(da.zeros(huge, chunks=10**6, dtype=np.uint8), Grid.from_spacing(huge, (1,) * 3))
    image = viewer.add_image(np.zeros(SHAPE), name="huge")
    session._to_volume = lambda layer: replace(volume, name=layer.name)
    before, layers = session.image, len(viewer.layers)
    with pytest.raises(ValueError, match="huge is too large: its masks would need 1e\\+09 GB"):
        session.set_image(image)
    assert session.image is before and len(viewer.layers) == layers
