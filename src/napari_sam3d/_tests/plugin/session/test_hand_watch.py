"""Painting and prompting in turns: what the user set by hand, and where objects meet."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam3d._tests.plugin.conftest import ball, canvas_click, canvas_key
from napari_sam3d._tests.plugin.session.test_session import answer_all, click, shown
from napari_sam3d._tests.plugin.view3d import canvas_of, pixel_of
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.plugin.session.session import Session

SHAPE = (20, 24, 28)
AT = (10, 12, 14)
SQUARE = (slice(10, 11), slice(11, 15), slice(12, 16))
"""16 voxels inside the ball around `AT`."""
CORNER = (slice(2, 3), slice(3, 7), slice(3, 7))
"""16 voxels outside of it."""


@pytest.fixture
def session() -> Session:
    viewer = ViewerModel()
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    it = Session(viewer)
    it.set_image(viewer.layers["ct"])
    return it


def paint(session: Session, window, value: int) -> None:
    """One stroke of the polygon tool along the edge of a window in a slice."""
    z, y, x = window
    corners = [(y.start, x.start), (y.start, x.stop - 1), (y.stop - 1, x.stop - 1)]
    corners.append((y.stop - 1, x.start))
    session.labels.paint_polygon([(z.start, *corner) for corner in corners], value)
    assert (session.labels.data[window] == value).all()


def with_square(mask: np.ndarray, window, value: bool) -> np.ndarray:
    mask = mask.copy()
    mask[window] = value
    return mask


@pytest.mark.parametrize("undoable", [10, 200_000])
def test_what_was_erased_and_painted_stays(session, monkeypatch, undoable) -> None:
    monkeypatch.setattr("napari_sam3d.plugin.session.mask_layer._UNDOABLE", undoable)
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    paint(session, CORNER, 1)
    click(session, (10, 12, 17))
    answer_all(session)
    expected = ball(SHAPE, AT) | ball(SHAPE, (10, 12, 17))
    expected = with_square(with_square(expected, SQUARE, False), CORNER, True)
    np.testing.assert_array_equal(shown(session), expected)
    click(session, (2, 4, 4), positive=False)  # also against what the model says there
    answer_all(session)
    assert shown(session)[CORNER].all()


def test_undo_and_redo_of_a_prompt_keep_hand_edits(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    paint(session, CORNER, 1)
    first = shown(session).copy()
    click(session, (10, 12, 17))
    answer_all(session)
    second = shown(session).copy()
    session.undo()
    np.testing.assert_array_equal(shown(session), first)
    session.redo()
    np.testing.assert_array_equal(shown(session), second)
    session.clear()
    assert np.count_nonzero(shown(session)) == 16 and shown(session)[CORNER].all()
    session.undo()
    np.testing.assert_array_equal(shown(session), second)


def test_edits_of_one_object_do_not_leak_to_another(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    session.new_object()
    click(session, (10, 13, 14))
    answer_all(session)
    assert shown(session, 2)[SQUARE].all()  # erased from the first, free for the second
    expected = with_square(ball(SHAPE, AT), SQUARE, False)
    np.testing.assert_array_equal(shown(session, 1), expected)
    assert not session.hand.edits.about(2)


def test_undo_and_redo_of_the_brush_are_seen(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    paint(session, CORNER, 1)
    session.labels.undo()
    session.labels.undo()
    assert len(session.hand.edits.undone) == 2
    session.labels.redo()
    click(session, (10, 12, 17))
    answer_all(session)
    expected = with_square(ball(SHAPE, AT) | ball(SHAPE, (10, 12, 17)), SQUARE, False)
    np.testing.assert_array_equal(shown(session), expected)


def test_a_hidden_mask_layer_is_seen_before_the_next_mask(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    session.labels.visible = False
    session.labels.undo()
    click(session, (10, 12, 17))
    answer_all(session)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, AT) | ball(SHAPE, (10, 12, 17)))


def test_masks_are_no_hand_edits(session) -> None:
    for number, at in enumerate([AT, (4, 5, 5), (15, 18, 20)], start=1):
        session.new_object()
        click(session, at)
        answer_all(session)
        assert shown(session, number).any()
    session.undo()
    assert not session.hand.edits.done


@pytest.mark.parametrize("how", ["unlocked", "forgotten"])
def test_hand_edits_can_be_given_up(session, how) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    paint(session, CORNER, 1)
    if how == "unlocked":
        session.hand.keep = False
    else:
        session.hand.forget(1)
    assert not shown(session)[SQUARE].any() and shown(session)[CORNER].all()  # not yet
    click(session, (10, 12, 17))
    answer_all(session)
    np.testing.assert_array_equal(shown(session), ball(SHAPE, AT) | ball(SHAPE, (10, 12, 17)))
    assert not session.hand.edits.about(1)


def test_the_next_prompt_starts_from_the_edited_mask(session) -> None:
    click(session, AT)
    answer = session.pending()
    answer_all(session)
    assert answer is not None and answer.previous is None
    click(session, (10, 12, 17))
    whole = session.pending().previous
    paint(session, (slice(0, 1), slice(0, 4), slice(0, 4)), 1)
    edited = session.pending().previous
    # the model of these tests has a patch of one voxel, in the corner that was painted
    assert (whole.logits, edited.logits) == (0, 8)
    session.labels.undo()
    assert session.pending().previous is whole
    session.hand.keep = False
    assert session.pending().previous is whole


def test_objects_keep_or_overwrite(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, CORNER, 1)
    session.new_object()
    session.hand.overwrite = True
    click(session, (10, 12, 16))
    answer_all(session)
    first, second = ball(SHAPE, AT), ball(SHAPE, (10, 12, 16))
    np.testing.assert_array_equal(shown(session, 2), second)
    click(session, (2, 5, 5))
    answer_all(session)
    assert shown(session, 1)[CORNER].all()  # painted by hand
    session.undo()
    session.undo()
    np.testing.assert_array_equal(shown(session, 1), with_square(first, CORNER, True))
    session.hand.overwrite = False
    session.redo()
    np.testing.assert_array_equal(shown(session, 1), with_square(first, CORNER, True))
    np.testing.assert_array_equal(shown(session, 2), second & ~first)


def test_a_mask_layer_that_was_removed_comes_back_with_hand_edits(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    paint(session, CORNER, 1)
    before = session.labels.data.copy()
    session._viewer.layers.remove(session.labels)
    session.ensure_layers()
    np.testing.assert_array_equal(session.labels.data, before)
    assert len(session.hand.edits.done) == 2


def test_an_array_of_another_shape_in_the_mask_layer_breaks_nothing(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    session.labels.data = np.zeros((2, 2, 2), np.uint8)
    click(session, (10, 12, 17))
    answer_all(session)  # in a new layer
    expected = ball(SHAPE, AT) | ball(SHAPE, (10, 12, 17))
    np.testing.assert_array_equal(shown(session), with_square(expected, SQUARE, False))


def test_hand_edits_outlive_the_dock(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, SQUARE, 0)
    viewer, image = session._viewer, session.image
    session.close()
    again = Session(viewer)
    again.set_image(image)
    click(again, (10, 12, 17))
    answer_all(again)
    assert not shown(again)[SQUARE].any()


def test_a_mask_that_comes_in_the_middle_of_a_stroke_is_no_hand_edit(session) -> None:
    click(session, AT)
    with session.labels.block_history():  # as napari's brush does from press to release
        session.labels.paint((2, 4, 4), 1)
        answer_all(session)
    painted = session.hand.edits.state(1, tuple(slice(0, n) for n in SHAPE))
    assert painted is not None and painted[2].any() and not painted[5:].any()


def test_a_large_fill_is_seen_at_little_cost(session) -> None:
    labels = session.labels
    labels.n_edit_dimensions = 3
    labels.fill((0, 0, 0), 1)
    kept = sum(b.mask.nbytes + b.before.nbytes for b in session.hand.edits.done[0].blocks)
    assert kept <= 2 * labels.data.size
    click(session, AT)
    answer_all(session)
    assert shown(session).all()


@pytest.mark.parametrize("seed", range(10))
def test_prompts_undone_after_strokes_leave_the_strokes(session, seed) -> None:
    """What is left when all prompts are undone is what the same strokes leave without a prompt."""
    rng = np.random.default_rng(seed)
    prompts, painted = 0, np.zeros(SHAPE, bool)
    for _ in range(12):
        if rng.random() < 0.5:
            click(session, tuple(rng.integers(4, 16, 3)), positive=bool(prompts == 0))
            answer_all(session)
            prompts += 1
        else:
            corner = rng.integers(0, 14, 3)
            z, y, x = (slice(int(a), int(a) + n) for a, n in zip(corner, (1, 4, 4), strict=True))
            value = bool(rng.random() < 0.5)
            before = shown(session)[z, y, x].copy()
            paint(session, (z, y, x), int(value))
            # a voxel that was so already is not set: the model may still change it
            painted[z, y, x] = np.where(before != value, value, painted[z, y, x])
    for _ in range(prompts):
        session.undo()
    np.testing.assert_array_equal(shown(session), painted)


def test_an_object_that_is_deleted_takes_its_edits_along(session) -> None:
    click(session, AT)
    answer_all(session)
    paint(session, CORNER, 1)
    session.hand.delete(session.labels, 1, tuple(slice(0, n) for n in SHAPE))
    assert not session.labels.data.any() and not session.hand.edits.about(1)
    assert len(session.hand.edits.done) == 1  # the deletion is not a stroke


def stroke(viewer, image, start, end) -> None:
    """A real drag on the canvas."""
    canvas = canvas_of(viewer).native
    left = Qt.MouseButton.LeftButton
    ends = [QPoint(*pixel_of(viewer, image, voxel)) for voxel in (start, end)]
    QTest.mouseMove(canvas, ends[0])
    QTest.mousePress(canvas, left, pos=ends[0])
    for share in (0.25, 0.5, 0.75, 1):
        QTest.mouseMove(canvas, ends[0] + (ends[1] - ends[0]) * share)
    QTest.mouseRelease(canvas, left, pos=ends[1])


def test_strokes_on_the_canvas_survive_the_next_click(real_viewer, loader, qtbot) -> None:
    viewer = real_viewer(show=True)
    image = viewer.add_image(np.zeros(SHAPE, np.int16), name="ct", scale=(2, 1, 1))
    dock = SegmentWidget(viewer, loader)
    viewer.window.add_dock_widget(dock, name="Segment")
    qtbot.waitUntil(dock.isVisible)
    session, labels = dock.session, dock.session.labels
    canvas_click(viewer, AT, image)
    qtbot.waitUntil(lambda: shown(session).any())
    assert not dock.hand.forget.isEnabled()

    viewer.layers.selection.active = labels
    labels.brush_size, labels.mode = 7, "erase"
    stroke(viewer, image, (10, 12, 12), (10, 12, 16))
    erased = ball(SHAPE, AT) & ~shown(session)
    assert np.count_nonzero(erased) >= 16
    labels.mode = "paint"
    stroke(viewer, image, (10, 3, 5), (10, 3, 10))
    painted = shown(session) & ~ball(SHAPE, AT)
    assert np.count_nonzero(painted) >= 16
    assert len(session.hand.edits.done) == 2  # a drag is one stroke
    assert dock.hand.forget.isEnabled()

    viewer.layers.selection.active = session.prompt_layer.layer
    canvas_click(viewer, (10, 12, 17), image)
    both = ball(SHAPE, AT) | ball(SHAPE, (10, 12, 17))
    expected = (both & ~erased) | painted
    qtbot.waitUntil(lambda: np.array_equal(shown(session), expected))

    dock.hand.forget.click()
    assert not dock.hand.forget.isEnabled()
    session.forget_answers()
    qtbot.waitUntil(lambda: np.array_equal(shown(session), both))


def test_undo_of_a_stroke_by_key(real_viewer, loader, qtbot) -> None:
    viewer = real_viewer(show=True)
    image = viewer.add_image(np.zeros(SHAPE, np.int16), name="ct", scale=(2, 1, 1))
    dock = SegmentWidget(viewer, loader)
    viewer.window.add_dock_widget(dock, name="Segment")
    qtbot.waitUntil(dock.isVisible)
    labels = dock.session.labels
    viewer.layers.selection.active = labels
    labels.brush_size, labels.mode = 3, "paint"
    viewer.dims.set_point(range(3), image.data_to_world(AT))
    stroke(viewer, image, AT, (10, 12, 18))
    assert dock.session.hand.edits.about(1)
    canvas_key(viewer, "Ctrl+Z")
    assert not labels.data.any() and not dock.session.hand.edits.about(1)
    canvas_key(viewer, "Ctrl+Shift+Z")
    assert labels.data.any() and dock.session.hand.edits.about(1)


def test_the_choices_reach_the_session(real_viewer, loader, qtbot) -> None:
    viewer = real_viewer(show=False)
    viewer.add_image(np.zeros(SHAPE, np.int16), name="ct")
    dock = SegmentWidget(viewer, loader)
    qtbot.addWidget(dock)
    hand = dock.session.hand
    assert (hand.keep, hand.overwrite) == (True, False)
    assert all(w.toolTip() for w in (dock.hand.keep, dock.hand.forget, dock.hand.meet))
    dock.hand.keep.click()
    dock.hand.meet.setCurrentIndex(1)
    dock.hand.meet.activated.emit(1)
    assert (hand.keep, hand.overwrite) == (False, True)
    dock.teardown()
