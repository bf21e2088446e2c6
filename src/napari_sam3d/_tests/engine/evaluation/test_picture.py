"""The picture of an evaluation: what is where, by its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from napari_sam3d._tests.engine.evaluation.scored import case, clicks, scored
from napari_sam3d.engine.evaluation.picture import _DICE, _MASK, _NSD, _REFERENCE, draw
from napari_sam3d.engine.evaluation.summary import summarise
from napari_sam3d.engine.evaluation.thumbnails import Thumbnail

AMBER, BLUE, YELLOW = _REFERENCE, _MASK, _NSD
LEFT, RIGHT = slice(0, 720), slice(745, 1600)  # columns of the curves, and of the thumbnails
UPPER, LOWER = slice(150, 470), slice(500, 810)  # rows of the worst and of the best


def square(dice: float, name: str = "liver", case_name: str = "case", aspect=1.0) -> Thumbnail:
    reference, mask = np.zeros((2, 40, 40), bool)
    reference[10:30, 10:30] = mask[15:35, 12:32] = True
    return Thumbnail(case_name, name, reference * np.uint8(200), reference, mask, dice, aspect)


def many(count: int, *dices: float):
    rising = dices or (0.2, 0.4, 0.6, 0.8, 0.9)
    return [
        case(f"{n}", scored("liver", 1, clicks(*(min(d + n / count / 10, 1) for d in rising))))
        for n in range(count)
    ]


def near(picture: np.ndarray, colour: str) -> np.ndarray:
    """Pixels of a colour."""
    return np.abs(picture[..., :3] - to_rgb(colour)).max(axis=-1) < 0.08


def groups(there: np.ndarray, gap: int) -> int:
    """Into how many groups of rows or columns pixels fall, at least `gap` apart."""
    where = np.flatnonzero(there)
    return int(where.size > 0) + int((np.diff(where) > gap).sum())


def test_rising_scores_are_a_rising_line_and_thumbnails_are_in_two_rows(tmp_path):
    found = [square(d) for d in np.linspace(0.1, 0.9, 11)]
    summary = summarise("cvpr25", 2.0, many(11))
    picture = imread(draw(summary, found, tmp_path / "a.png", "compact by cvpr25"))
    assert picture.shape[:2] == (900, 1600)
    rows, columns = np.nonzero(near(picture[230:790, LEFT], BLUE))
    assert np.corrcoef(rows, columns)[0, 1] < -0.9
    for row in (UPPER, LOWER):
        outlines = near(picture[row, RIGHT], AMBER)
        assert groups(outlines.any(axis=0), 20) == 4
        # as large as it was: 20 of 40 pixels of a square
        high = np.flatnonzero(outlines.any(axis=1))
        wide = np.flatnonzero(outlines[:, :200].any(axis=0))
        assert np.ptp(high) == pytest.approx(np.ptp(wide), abs=3)
        # what was found lies lower than what was to be found
        lower = np.nonzero(near(picture[row, RIGHT], BLUE))[0].mean()
        assert lower > np.nonzero(outlines)[0].mean() + 8
    assert near(picture[:, LEFT], YELLOW).any()


@pytest.mark.parametrize(("count", "upper", "lower"), [(1, 1, 0), (2, 1, 1), (5, 3, 2), (8, 4, 4)])
def test_few_objects_are_shown_once(tmp_path, count, upper, lower):
    found = [square((n + 1) / 10) for n in range(count)]
    picture = imread(draw(summarise("cvpr25", 2.0, many(count)), found, tmp_path / "a.png"))
    shown = [groups(near(picture[row, RIGHT], AMBER).any(axis=0), 20) for row in (UPPER, LOWER)]
    assert shown == [upper, lower]


def test_pixels_that_are_no_squares_are_drawn_as_they_are(tmp_path):
    flat = draw(summarise("cvpr25", 2.0, many(1)), [square(0.5, aspect=0.5)], tmp_path / "a.png")
    rows, columns = np.nonzero(near(imread(flat)[UPPER, RIGHT], AMBER))
    assert np.ptp(columns) == pytest.approx(2 * np.ptp(rows), rel=0.1)


def test_a_mask_that_leaves_the_view_has_no_edge_there(tmp_path):
    shown = square(0.5)
    shown.mask[15:, :] = True
    picture = imread(draw(summarise("cvpr25", 2.0, many(1)), [shown], tmp_path / "a.png"))
    rows, columns = np.nonzero(near(picture[UPPER, RIGHT], BLUE))
    assert np.ptp(columns) > 180  # from side to side
    assert np.ptp(rows) < 10  # but for its upper edge there is none
    shown.mask[:] = True
    picture = imread(draw(summarise("cvpr25", 2.0, many(1)), [shown], tmp_path / "a.png"))
    rows, columns = np.nonzero(near(picture[UPPER, RIGHT], BLUE))
    assert min(np.ptp(rows), np.ptp(columns)) > 180


def test_long_names_end_where_their_thumbnail_does(tmp_path):
    long = [square(0.5, "W" * 60, "W$_" * 40) for _ in range(8)]
    text = "W" * 300
    picture = imread(draw(summarise("cvpr25", 2.0, many(8)), long, tmp_path / "a.png", text))
    bright = picture[..., :3].min(axis=-1) > 0.3
    assert not bright[:, 1590:].any()  # nothing runs off the picture
    names = bright[150:215, RIGHT]
    assert groups(names.any(axis=0), 8) == 4  # nor into its neighbour
    assert bright[20:60, 1300:1576].any()  # the title has the space there is


@pytest.mark.parametrize("rounds", [("none",), ("tight", "relaxed")])
@pytest.mark.parametrize("count", [1, 30, 1500])
def test_rounds_that_are_no_clicks_are_strips(tmp_path, rounds, count):
    values = np.linspace(0.3, 0.7, count)
    cases = [case(f"{n}", scored("x", 1, dict.fromkeys(rounds, d))) for n, d in enumerate(values)]
    picture = imread(draw(summarise("ma-sam", 5.0, cases), [], tmp_path / "a.png"))
    assert groups(near(picture[240:790], BLUE).any(axis=0), 60) == len(rounds)


def test_without_thumbnails_the_curves_have_all_the_space(tmp_path):
    summary = summarise("sam-med3d", 1.0, many(3))
    picture = imread(draw(summary, [], tmp_path / "a.png"))
    assert near(picture[:, 1400:], BLUE).any()
    assert not near(picture, AMBER).any()


def test_failures_and_gaps_are_drawn(tmp_path):
    failed = summarise("cvpr25", 2.0, [case("a", error="It is broken.")])
    picture = imread(draw(failed, [square(float("nan"))], tmp_path / "a.png"))
    assert not near(picture, BLUE).any() and not near(picture, AMBER).any()
    unknown = scored("x", 1, dict.fromkeys("12", float("nan")))
    summary = summarise("sam-med3d", 1.0, [case("a", unknown)])
    assert draw(summary, [], tmp_path / "b.png").stat().st_size > 1000
    with pytest.raises(OSError, match="gone"):
        draw(failed, [], tmp_path / "gone" / "a.png")


@pytest.mark.parametrize(
    "matrix",
    [
        # red, green and blue as people see them who lack one kind of cones
        # (Machado, Oliveira, Fernandes 2009, severity 1.0)
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ],
)
@pytest.mark.parametrize(("one", "other"), [(_REFERENCE, _MASK), (_DICE, _NSD)])
def test_colours_are_told_apart_by_all(matrix, one, other):
    seen = [
        np.clip(np.array(matrix) @ np.power(to_rgb(colour), 2.2), 0, 1) ** (1 / 2.2)
        for colour in (one, other)
    ]
    assert np.linalg.norm(seen[0] - seen[1]) > 0.3
