import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam3d.prompts import Point, Prompts, Said
from napari_sam3d.volume import Grid

FIRST, SECOND = Point((1, 2, 3)), Point((0, 1, 2), positive=False)


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


@given(st.lists(st.sampled_from(["add", "remove", "undo", "redo"]), max_size=20))
def test_undoing_all_comes_back_to_nothing(steps):
    prompts = Prompts()
    for step in steps:
        if step == "add":
            prompts = prompts.add(FIRST)
        elif step == "remove" and prompts.points:
            prompts = prompts.remove(0)
        elif step in ("undo", "redo"):
            prompts = getattr(prompts, step)()
    now = prompts
    for _ in steps:
        prompts = prompts.undo()
    assert prompts.points == ()
    for _ in range(len(prompts.future) - len(now.future)):
        prompts = prompts.redo()
    assert prompts == now


def test_check_names_the_point_and_the_image():
    grid = Grid.from_spacing((4, 4, 4), (1, 1, 1))
    Prompts().add(FIRST).check(grid, "scan")
    with pytest.raises(ValueError, match=r"\(9, 0, 0\) is outside scan"):
        Prompts().add(Point((9, 0, 0))).check(grid, "scan")
    with pytest.raises(ValueError, match="positive"):
        Prompts().add(SECOND).check(grid, "scan")


def test_arrays_have_sam_labels():
    positions, labels = Prompts().add(FIRST).add(SECOND).arrays()
    assert positions.tolist() == [[1, 2, 3], [0, 1, 2]]
    assert labels.tolist() == [1, 0]
    assert Prompts().arrays()[0].shape == (0, 3)
