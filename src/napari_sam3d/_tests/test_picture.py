import numpy as np
import pytest
from matplotlib.image import imread

from napari_sam3d.picture import three_plane_picture
from napari_sam3d.prompts import Point
from napari_sam3d.volume import Grid, Volume


def ball(shape=(12, 20, 24), center=(6, 10, 12), radius=4) -> np.ndarray:
    away = np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1) - center, axis=-1)
    return away < radius


@pytest.fixture
def volume() -> Volume:
    mask = ball()
    return Volume(mask * 100.0, Grid.from_spacing(mask.shape, (3, 2, 1)), "ball")


def orange(picture):
    """Pixels of the outline's colour."""
    return np.abs(picture[..., :3] - [1.0, 0.69, 0.0]).max(axis=-1) < 0.1


def test_the_mask_is_outlined_in_all_three_planes(volume, tmp_path):
    path = three_plane_picture(
        volume, ball(), tmp_path / "a.png", points=[Point((6, 10, 12)), Point((1, 1, 1), False)]
    )
    columns = orange(imread(path)).any(axis=0)
    starts = np.flatnonzero(np.diff(columns.astype(int)) == 1)
    gaps = np.diff(starts)
    assert np.count_nonzero(gaps > 200) == 2  # three groups of columns, one in each plane


def test_millimetres_decide_the_shape_of_the_picture(volume, tmp_path):
    picture = imread(three_plane_picture(volume, ball(), tmp_path / "a.png"))
    tall = Volume(volume.data, Grid.from_spacing(volume.grid.shape, (9, 2, 1)), "tall")
    taller = imread(three_plane_picture(tall, ball(), tmp_path / "b.png"))
    assert picture.shape[1] / picture.shape[0] > 1.3 * taller.shape[1] / taller.shape[0]


def test_anterior_is_up_and_left_is_right(tmp_path):
    grid = Grid.from_spacing((9, 21, 21), (2, 2, 2))
    mask = ball(grid.shape, center=(4, 3, 17), radius=2)  # anterior and left of the middle
    volume = Volume(np.zeros(grid.shape), grid, "corner")
    picture = orange(imread(three_plane_picture(volume, mask, tmp_path / "a.png", title="x")))
    axial = picture[:, : picture.shape[1] // 3]
    rows, columns = np.nonzero(axial)
    assert rows.mean() < picture.shape[0] * 0.45
    assert columns.mean() > axial.shape[1] * 0.6


@pytest.mark.parametrize(
    "data",
    [np.full((4, 5, 6), np.nan), np.zeros((4, 5, 6), ">i2"), np.full((1, 5, 6), -1000, np.int16)],
)
def test_plain_and_empty_volumes_are_drawn(data, tmp_path):
    volume = Volume(data, Grid.from_spacing(data.shape, (1, 1, 1)))
    path = three_plane_picture(volume, np.zeros(data.shape, bool), tmp_path / "a.png")
    assert path.stat().st_size > 1000


def test_another_shape_is_refused(volume, tmp_path):
    with pytest.raises(ValueError, match="shape"):
        three_plane_picture(volume, np.zeros((2, 2, 2)), tmp_path / "a.png")
    with pytest.raises(OSError, match="missing"):
        three_plane_picture(volume, ball(), tmp_path / "missing" / "a.png")
