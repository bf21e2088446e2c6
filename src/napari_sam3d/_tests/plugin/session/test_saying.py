"""Boxes, scribbles and masks to start from, in a session without a window."""

from __future__ import annotations

import random

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_sam3d._tests.plugin.conftest import BallPredictor, ball
from napari_sam3d.catalog import MODELS
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.prompts import Box, Found, Point, Said, Scribble
from napari_sam3d.settings import InferenceSettings

SHAPE = (16, 24, 28)
BOX = Box((4, 5, 6), (7, 9, 12))
STROKE = Scribble(((8, 12, 6), (8, 12, 12), (8, 12, 18)))


@pytest.fixture
def session() -> Session:
    viewer = ViewerModel()
    it = Session(viewer)
    it.set_image(viewer.add_image(np.zeros(SHAPE, np.int16), name="ct"))
    it.notices, it.asked = [], []
    it.notice.connect(it.notices.append)
    return it


def answer_all(session: Session) -> None:
    while (request := session.pending()) is not None:
        session.asked.append(request)
        predictor = BallPredictor(InferenceSettings())
        session.accept(request, predictor.predict(request.volume, request.prompts))


def masks(session: Session, mask: np.ndarray, **named) -> Labels:
    """Another Labels layer of the viewer."""
    return session._viewer.add_labels(mask.astype(np.uint8), **named)


def box_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[4:8, 5:10, 6:13] = True
    return mask


def stroke_mask() -> np.ndarray:
    return np.logical_or.reduce([ball(SHAPE, at) for at in STROKE.positions_voxel])


def test_a_box_is_a_step_like_a_point(session) -> None:
    session.prompt_layer.boxed.emit(BOX)
    answer_all(session)
    np.testing.assert_array_equal(session.labels.data == 1, box_mask())
    session.set_box(Box((0, 0, 0), (1, 1, 1)))
    answer_all(session)
    assert session.labels.data.sum() == 8
    session.undo()
    np.testing.assert_array_equal(session.labels.data == 1, box_mask())
    session.undo()
    assert not session.labels.data.any()
    session.redo()
    assert session.object.prompts.box == BOX and len(session.asked) == 2


def test_a_scribble_is_a_step_like_a_point(session) -> None:
    session.prompt_layer.scribbled.emit(STROKE)
    session.prompt_layer.scribbled.emit(Scribble(((8, 12, 18),), positive=False))
    answer_all(session)
    expected = stroke_mask() & ~ball(SHAPE, (8, 12, 18))
    np.testing.assert_array_equal(session.labels.data == 1, expected)
    session.remove_prompt(1)
    answer_all(session)
    np.testing.assert_array_equal(session.labels.data == 1, stroke_mask())
    assert session.object.prompts.scribbles == (STROKE,)


def test_prompts_of_all_kinds_are_asked_at_once_and_removed_one_by_one(session) -> None:
    session.prompt_layer.add((8, 12, 24))
    session.set_box(BOX)
    session.add_scribble(STROKE)
    answer_all(session)
    (request,) = session.asked
    assert request.prompts.words() == "1 point, a box, 1 scribble"
    for index, left in ((1, "1 point, 1 scribble"), (0, "1 scribble"), (0, "no prompts")):
        session.remove_prompt(index)
        assert session.object.prompts.words() == left
    assert not session.labels.data.any()
    with pytest.raises(IndexError):
        session.remove_prompt(0)


def test_a_point_added_to_a_box_goes_on_from_its_answer(session) -> None:
    session.set_box(BOX)
    answer_all(session)
    answer = session.object.shown
    session.prompt_layer.add((8, 12, 24))
    assert session.pending().previous is answer
    session.set_box(None)
    assert session.pending().previous is None


def test_only_a_negative_scribble_asks_for_something_positive(session) -> None:
    session.add_scribble(Scribble(STROKE.positions_voxel, positive=False))
    assert session.pending() is None and "positive" in session.notices[-1]
    session.set_box(BOX)
    assert session.pending() is not None


def test_the_table_shows_the_slice_of_a_box_and_of_a_scribble(session) -> None:
    session.set_box(BOX)
    session.add_scribble(STROKE)
    session.look_at(0)
    assert session._viewer.dims.point == (5, 7, 9)
    session.look_at(1)
    assert session._viewer.dims.point == (8, 12, 12)


@pytest.mark.parametrize("name", ["sam_med3d_turbo", "ma_sam_btcv", "sam3d_adapter_kits"])
def test_the_prompt_layer_knows_of_models_without_a_box(session, name) -> None:
    session.set_model(MODELS[name])
    said = session.prompt_layer.no_box
    assert (said == "") == ("box" in MODELS[name].prompts)
    assert said.startswith(f"{name} takes no box") or not said


def test_a_mask_of_another_layer_becomes_an_object(session) -> None:
    session.prompt_layer.add((8, 12, 24))
    answer_all(session)
    before = session.labels.data.copy()
    other = masks(session, 3 * ball(SHAPE, (8, 12, 20)), name="from a file")
    assert session.start_from(other, 3) == 2 == session.current
    assert session.title(2) == "from a file 3" and session.pending() is None
    own = ball(SHAPE, (8, 12, 20)) & (before == 0)
    np.testing.assert_array_equal(session.labels.data, before + 2 * own)
    session.undo()
    np.testing.assert_array_equal(session.labels.data, before)
    session.redo()
    np.testing.assert_array_equal(session.labels.data == 2, own)
    assert (other.data == 3).sum() == ball(SHAPE, (8, 12, 20)).sum()


def test_what_is_missing_for_a_run_is_said(session) -> None:
    with pytest.raises(ValueError, match="Add a positive point first"):
        session.require_point()
    session.set_model(MODELS["medsam"])
    with pytest.raises(ValueError, match="medsam takes a box and no clicks"):
        session.require_point()
    session.start_from(masks(session, ball(SHAPE, (8, 12, 14))), 1)
    with pytest.raises(ValueError, match="it says what to change"):
        session.require_point()
    session.set_box(BOX)
    session.require_point()


@pytest.mark.parametrize("positive", [True, False])
def test_prompts_change_the_mask_that_they_start_from(session, positive) -> None:
    start = ball(SHAPE, (8, 12, 14), 6)
    session.start_from(masks(session, start), 1)
    session.prompt_layer.add((8, 12, 20), positive)
    answer_all(session)
    previous, part = session.asked[-1].previous, ball(SHAPE, (8, 12, 20))
    assert isinstance(previous, Found)
    np.testing.assert_array_equal(previous.mask, start[previous.window])
    expected = start | part if positive else start & ~part
    np.testing.assert_array_equal(session.labels.data == session.current, expected)
    session.undo()
    np.testing.assert_array_equal(session.labels.data == session.current, start)
    session.clear()
    session.prompt_layer.add((8, 12, 20))
    assert session.pending().previous is None  # the mask was cleared, too


def test_what_was_erased_by_hand_is_missing_in_the_start(session) -> None:
    start = ball(SHAPE, (8, 12, 14), 6)
    session.start_from(masks(session, start), 1)
    labels = session.labels
    labels.brush_size = 3
    labels.paint((8, 12, 14), 0)
    erased = start & (labels.data == 0)
    assert erased.sum() > 4
    session.prompt_layer.add((8, 12, 20))
    previous = session.pending().previous
    np.testing.assert_array_equal(previous.mask, (start & ~erased)[previous.window])
    answer_all(session)
    assert not labels.data[erased].any()


def test_what_is_painted_in_the_own_layer_becomes_an_object_where_it_is(session) -> None:
    session.labels.data[BOX.voxels()[0][0] : 8, 5:10, 6:13] = 7
    before = session.labels.data.copy()
    assert session.start_from(session.labels, 7) == 7 == session.current
    np.testing.assert_array_equal(session.labels.data, before)
    session.undo()  # there is nothing to take back
    np.testing.assert_array_equal(session.labels.data, before)
    session.prompt_layer.add((8, 12, 20))
    answer_all(session)
    np.testing.assert_array_equal(session.labels.data == 7, box_mask() | ball(SHAPE, (8, 12, 20)))
    session.undo()
    np.testing.assert_array_equal(session.labels.data, before)


def test_an_object_goes_on_from_how_it_looks(session) -> None:
    for x in (8, 14):
        session.prompt_layer.add((8, 12, x))
        answer_all(session)
    before = session.labels.data.copy()
    session.rename(1, "liver")
    assert session.start_from(session.labels, 1) == 1
    assert session.object.prompts.said == Said(start=session.object.prompts.start)
    assert len(session.prompt_layer.layer.data) == 0 and session.title(1) == "liver"
    session.prompt_layer.add((8, 12, 14), positive=False)
    answer_all(session)
    cut = (before == 1) & ~ball(SHAPE, (8, 12, 14))
    np.testing.assert_array_equal(session.labels.data == 1, cut)
    session.undo(), session.undo()
    np.testing.assert_array_equal(session.labels.data, before)
    assert len(session.prompt_layer.layer.data) == 2 and session.pending() is None


def test_masks_that_cannot_be_started_from_are_a_sentence(session) -> None:
    other = masks(session, ball(SHAPE, (8, 12, 14)), name="seg")
    elsewhere = masks(session, np.ones((4, 4, 4)), name="knee")
    shifted = masks(session, np.ones(SHAPE), name="moved", translate=(1, 0, 0))
    for layer, label, words in (
        (other, 2, "seg has no voxel with the label 2"),
        (other, 0, "The label 0 of seg is the background"),
        (elsewhere, 1, "knee does not have the voxels of ct"),
        (shifted, 1, "moved does not have the voxels of ct"),
    ):
        with pytest.raises(ValueError, match=words):
            session.start_from(layer, label)
    assert not session.objects and not session.labels.data.any()
    session.start_from(other, 1)
    with pytest.raises(ValueError, match="Other objects hold all voxels of the label 1 of seg"):
        session.start_from(other, 1)
    session.hand.overwrite = True
    assert session.start_from(other, 1) == 2
    assert not (session.labels.data == 1).any()


def test_the_object_has_the_name_of_its_label(session) -> None:
    features = {"index": [0, 4], "name": ["background", "spleen"]}
    other = masks(session, 4 * ball(SHAPE, (8, 12, 14)), name="seg", features=features)
    assert session.title(session.start_from(other, 4)) == "spleen"


def operate(session: Session, chance: random.Random, sources: list[Labels]) -> int | None:
    """One operation of a user; the object that it changed by a step of its history."""
    inside = [[chance.randrange(n) for n in SHAPE] for _ in range(4)]
    prompts = session.object.prompts
    what = chance.choice(
        ["point"] * 5 + ["box", "box", "scribble", "scribble", "remove", "move", "clear", "start"]
    )
    if chance.random() < 0.15:
        session.new_object()
    elif chance.random() < 0.15 and session.objects:
        session.select(chance.choice(sorted(session.objects)))
    prompts, before = session.object.prompts, set(session.objects)
    if what == "point":
        session.prompt_layer.add(inside[0], chance.random() < 0.6)
    elif what == "box":
        session.set_box(None if chance.random() < 0.2 else Box(tuple(inside[0]), tuple(inside[1])))
    elif what == "scribble":
        session.add_scribble(Scribble(tuple(map(tuple, inside)), chance.random() < 0.6))
    elif what == "remove" and prompts.parts:
        session.remove_prompt(chance.randrange(len(prompts.parts)))
    elif what == "move" and prompts.points:
        layer = session.prompt_layer.layer
        layer.data = np.array([inside[0], *layer.data[1:]], float)
    elif what == "clear":
        session.clear()
    elif what == "start":
        source = chance.choice([*sources, session.labels])
        try:
            session.start_from(source, chance.choice([int(n) for n in np.unique(source.data)]))
        except ValueError:
            return None
        if session.current not in before or source is not session.labels:
            return session.current if session.object.prompts.past else None
        prompts = session.objects[session.current].prompts.undo()
    return session.current if session.object.prompts != prompts else None


@pytest.mark.parametrize("seed", range(6))
def test_undoing_50_operations_comes_back_to_the_start(session, seed) -> None:
    chance = random.Random(seed)
    sources = [
        masks(session, 2 * ball(SHAPE, (8, 12, 14), 5) + ball(SHAPE, (3, 4, 4))),
        masks(session, ball(SHAPE, (12, 6, 20), 4)),
    ]
    labels = session.labels
    session.arm()
    labels.brush_size = 3
    labels.paint((8, 12, 14), 1)  # of the first object, by hand
    labels.paint((3, 20, 20), 9)  # of none
    start = labels.data.copy()
    changed: list[int] = []
    while len(changed) < 50:
        number = operate(session, chance, sources)
        answer_all(session)
        changed += [] if number is None else [number]
    end = labels.data.copy()
    assert len(set(changed)) > 1 and (end != start).any()
    for number in reversed(changed):
        session.select(number)
        session.undo()
        answer_all(session)
    np.testing.assert_array_equal(labels.data, start)
    assert not any(it.prompts.past or it.prompts.parts for it in session.objects.values())
    for number in changed:
        session.select(number)
        session.redo()
        answer_all(session)
    np.testing.assert_array_equal(labels.data, end)
    layer = session.prompt_layer
    assert layer.points() == tuple(
        Point(tuple(map(float, p.position_voxel)), p.positive)
        for p in session.object.prompts.points
    )
