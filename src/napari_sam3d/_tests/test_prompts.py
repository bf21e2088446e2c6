from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam3d.prompts import Box, Found, Point, Prompts, Said, Scribble
from napari_sam3d.volume import Grid

FIRST, SECOND = Point((1, 2, 3)), Point((0, 1, 2), positive=False)
BOX, STROKE = Box((0, 0, 0), (3, 3, 3)), Scribble(((1, 1, 1), (1, 1, 2)))


def test_add_keeps_the_old_value():
    empty = Prompts()
    one = empty.add(FIRST)
    assert empty.points == ()
    assert one.points == (FIRST,)


def test_remove_by_index():
    both = Prompts().add(FIRST).add(SECOND)
    assert both.remove(0).points == (SECOND,)
    with pytest.raises(IndexError):
        both.remove(2)


def test_undo_and_redo_walk_the_same_way():
    both = Prompts().add(FIRST).add(SECOND)
    back = both.undo().undo()
    assert back.points == ()
    assert back.undo() is back
    assert back.redo().redo() == both
    assert both.redo() is both


def test_a_new_step_ends_the_way_forward():
    prompts = Prompts().add(FIRST).undo().add(SECOND)
    assert prompts.redo().points == (SECOND,)


def test_become_is_one_step_and_none_without_change():
    prompts = Prompts().add(FIRST)
    assert prompts.become(Said((FIRST,))) is prompts
    assert prompts.become(Said((SECOND, FIRST))).undo().points == (FIRST,)


positions = st.tuples(*[st.integers(0, 9).map(float)] * 3)
scribbles = st.builds(
    Scribble, st.lists(positions, min_size=1, max_size=30).map(tuple), st.booleans()
)
steps = st.one_of(
    st.builds(Point, positions, st.booleans()),
    st.builds(Box, positions, positions),
    scribbles,
    st.sampled_from(["remove", "clear", "start", "undo", "redo"]),
)


def after(prompts, step):
    said = prompts.said
    match step:
        case Point():
            return prompts.add(step)
        case Box():
            return prompts.become(replace(said, box=step))
        case Scribble():
            return prompts.become(replace(said, scribbles=(*said.scribbles, step)))
        case "remove":
            return prompts.remove(len(said.parts) // 2) if said.parts else prompts
        case "clear":
            return prompts.become(Said())
        case "start":
            return prompts.become(Said(start=Found("", "", np.ones((1, 1, 1), bool), ())))
    return getattr(prompts, step)()


@given(st.lists(steps, max_size=30))
def test_undoing_all_comes_back_to_nothing_and_redoing_to_the_end(many):
    prompts = Prompts()
    seen = [prompts.said]
    for step in many:
        before, prompts = prompts, after(prompts, step)
        if step not in ("undo", "redo"):
            # one step, or none when nothing became different
            assert prompts is before or (prompts.undo().said == before.said and not prompts.future)
        seen.append(prompts.said)
    now = prompts
    for _ in many:
        prompts = prompts.undo()
        assert prompts.said in seen
    assert prompts.said == Said() and not prompts.past
    for _ in range(len(prompts.future) - len(now.future)):
        prompts = prompts.redo()
    assert prompts == now


@given(st.lists(steps, max_size=12), st.data())
def test_removing_a_part_leaves_the_others(many, data):
    prompts = Prompts()
    for step in many:
        prompts = after(prompts, step)
    if prompts.parts:
        index = data.draw(st.integers(0, len(prompts.parts) - 1))
        left = (*prompts.parts[:index], *prompts.parts[index + 1 :])
        assert prompts.remove(index).parts == left
        assert prompts.remove(index).start is prompts.start
    with pytest.raises(IndexError):
        prompts.remove(len(prompts.parts))


@given(scribbles)
def test_a_scribble_becomes_a_few_of_its_positions_with_both_ends(scribble):
    points = scribble.points()
    places = [point.position_voxel for point in points]
    assert len(points) == min(8, len(scribble.positions_voxel))
    assert places[0] == scribble.positions_voxel[0] and places[-1] == scribble.positions_voxel[-1]
    assert {point.positive for point in points} == {scribble.positive}
    where = iter(scribble.positions_voxel)
    assert all(place in where for place in places)  # in their order
    assert scribble.middle() in scribble.positions_voxel


def test_scribbles_become_points_after_the_clicks():
    stroke = Scribble(tuple((0.0, 0.0, float(x)) for x in range(15)), positive=False)
    places, labels = Prompts((FIRST,), scribbles=(stroke,)).arrays()
    assert places[:, 2].tolist() == [3, 0, 2, 4, 6, 8, 10, 12, 14]
    assert labels.tolist() == [1] + 8 * [0]


def test_what_begins_something_is_part_of_it_from_its_beginning():
    found = Found("", "", np.ones((1, 1, 1), bool), ())
    both = Said((FIRST, SECOND), BOX, (STROKE,), found)
    for part in (both, Said(start=found), Said((FIRST,), start=found), Said((), BOX, start=found)):
        assert part.begins(both)
    for other in (
        Said((SECOND,), start=found),
        Said((FIRST,)),
        Said((), Box((0, 0, 0), (1, 1, 1)), start=found),
        Said((), None, (STROKE, STROKE), found),
    ):
        assert not other.begins(both)
    assert not both.begins(replace(both, box=None))


def test_what_says_where_the_object_is():
    no = Scribble(STROKE.positions_voxel, positive=False)
    assert Said((FIRST,)).locates and Said(box=BOX).locates and Said(scribbles=(no, STROKE)).locates
    assert not Said((SECOND,), scribbles=(no,)).locates
    assert not Said(start=Found("", "", np.ones((1, 1, 1), bool), ())).locates


def test_words_count_what_there_is():
    assert Said().words() == "no prompts"
    assert Said((FIRST,)).words() == "1 point"
    assert Said((FIRST, SECOND), BOX, (STROKE,)).words() == "2 points, a box, 1 scribble"


def test_the_middle_of_a_box_is_a_voxel_of_it():
    assert Box((4, 9, 2), (7, 5, 2)).middle() == (5, 7, 2)


def test_check_names_the_point_and_the_image():
    grid = Grid.from_spacing((4, 4, 4), (1, 1, 1))
    Prompts().add(FIRST).check(grid, "scan")
    with pytest.raises(ValueError, match=r"\(9, 0, 0\) is outside scan"):
        Prompts().add(Point((9, 0, 0))).check(grid, "scan")
    with pytest.raises(ValueError, match="positive"):
        Prompts().add(SECOND).check(grid, "scan")
    with pytest.raises(ValueError, match=r"corner \(4, 4, 4\) is outside scan"):
        Prompts(box=Box((0, 0, 0), (4, 4, 4))).check(grid, "scan")
    with pytest.raises(ValueError, match=r"scribble at \(1, 2, 9\) is outside scan"):
        Prompts(scribbles=(Scribble(((1, 2, 3), (1, 2, 9))),)).check(grid, "scan")


def test_arrays_have_sam_labels():
    positions, labels = Prompts().add(FIRST).add(SECOND).arrays()
    assert positions.tolist() == [[1, 2, 3], [0, 1, 2]]
    assert labels.tolist() == [1, 0]
    assert Prompts().arrays()[0].shape == (0, 3)
