"""Which labels belong to which image, and copies of them."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_sam3d.plugin.dock.probability import PROBABILITY
from napari_sam3d.plugin.tuning.layer_pairs import Match, images_of, matches, snapshots

SHAPE = (6, 8, 10)


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def image(viewer, name="ct", shape=SHAPE, **where):
    return viewer.add_image(np.zeros(shape, np.float32), name=name, **where)


def labels(viewer, name="seg", shape=SHAPE, **where):
    data = np.zeros(shape, np.uint8)
    data[..., 2:4, 3:5, 3:5] = 1
    return viewer.add_labels(data, name=name, **where)


def taken(steps):
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def names(found):
    return [(it.image.name, it.labels.name) for it in found]


def test_labels_belong_to_the_image_they_lie_on(viewer) -> None:
    image(viewer, "ct", scale=(2, 1, 1))
    image(viewer, "mr", (4, 8, 10))
    labels(viewer, "bone", scale=(2, 1, 1))
    labels(viewer, "brain", (4, 8, 10))
    labels(viewer, "elsewhere", scale=(3, 1, 1))
    clear, unclear = matches(viewer)
    assert names(clear) == [("ct", "bone"), ("mr", "brain")]
    assert [it.name for it in unclear] == ["elsewhere"]


def test_of_several_at_one_place_the_name_tells(viewer) -> None:
    for name in ("a_image", "b_image", "c"):
        image(viewer, name)
    for name in ("b_label", "c_seg", "unheard"):
        labels(viewer, name)
    clear, unclear = matches(viewer)
    assert names(clear) == [("b_image", "b_label"), ("c", "c_seg")]
    assert [it.name for it in unclear] == ["unheard"]


def test_two_labels_of_one_image_are_not_guessed(viewer) -> None:
    image(viewer, "ct")
    labels(viewer, "mine")
    labels(viewer, "yours")
    clear, unclear = matches(viewer)
    assert clear == [] and {it.name for it in unclear} == {"mine", "yours"}


def test_what_shows_how_likely_voxels_are_is_no_image(viewer) -> None:
    shown = image(viewer)
    viewer.add_layer(Image(np.zeros(SHAPE), metadata={PROBABILITY: True}))
    assert images_of(viewer) == [shown]


def test_a_copy_does_not_change_with_its_layer(viewer) -> None:
    of, mask = image(viewer, scale=(2, 1, 0.5), translate=(5, 0, 0)), None
    mask = labels(viewer, scale=(2, 1, 0.5), translate=(5, 0, 0))
    mask.features = {"index": [0, 1], "name": ["background", "nucleus"]}
    (pair,) = taken(snapshots(viewer, [Match(of, mask)]))
    mask.data[:] = 0
    assert pair.labels.sum() == 8 and pair.names == {1: "nucleus"}
    assert pair.name == "ct" and pair.labels_grid == pair.volume.grid
    assert pair.volume.grid.spacing == (2, 1, 0.5)


def test_labels_that_lie_elsewhere_keep_their_place(viewer) -> None:
    of, mask = image(viewer), labels(viewer, translate=(0, 3, 0))
    (pair,) = taken(snapshots(viewer, [Match(of, mask)]))
    assert pair.labels_grid.to_world([[0, 0, 0]]).tolist() == [[0, 3, 0]]


def test_of_a_series_the_step_that_is_shown_is_taken(viewer) -> None:
    film = image(viewer, "film", (3, *SHAPE))
    film.data[1] = 7
    mask = labels(viewer, "masks", (3, *SHAPE))
    mask.data[1] *= 5
    viewer.dims.set_point(0, 1)
    (pair,) = taken(snapshots(viewer, [Match(film, mask)]))
    assert np.asarray(pair.volume.data).max() == 7 and pair.labels.max() == 5


def test_colours_are_refused_in_a_sentence(viewer) -> None:
    of = viewer.add_image(np.zeros((*SHAPE, 3), np.uint8), rgb=True, name="photo")
    with pytest.raises(ValueError, match="photo is a colour image"):
        taken(snapshots(viewer, [Match(of, labels(viewer))]))
