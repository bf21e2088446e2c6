"""Masks that become labels, where they overlap and where they do not."""

from __future__ import annotations

import numpy as np

from napari_sam3d.engine.evaluation.overlaps import put_together
from napari_sam3d.engine.prediction import Prediction
from napari_sam3d.volume import Grid
from napari_sam3d.windows import bounding_box

GRID = Grid.from_spacing((4, 6, 10), (1, 1, 1))


def answer(first: int, stop: int, logits: np.ndarray | float, graded: bool = True) -> Prediction:
    """A mask of the voxels with x from `first` to `stop`, and logits along x."""
    full = np.zeros(GRID.shape, bool)
    full[..., first:stop] = True
    values = np.broadcast_to(np.where(full, logits, -9.0), GRID.shape).astype(np.float32)
    window = bounding_box(full) or (slice(0, 0),) * 3
    return Prediction(full[window], window, GRID, values, 1.0, graded=graded)


def along_x(**found: Prediction) -> list[int]:
    labels = put_together({int(key[1:]): it for key, it in found.items()}, GRID)
    assert (labels == labels[:1, :1]).all()
    return labels[0, 0].tolist()


def test_apart_they_stay_as_they_are():
    labels = put_together({7: answer(0, 3, 1.0), 2: answer(5, 9, 3.0)}, GRID, np.uint8)
    assert labels.dtype == np.uint8
    assert labels[0, 0].tolist() == [7, 7, 7, 0, 0, 2, 2, 2, 2, 0]


def test_the_more_probable_object_counts_where_they_overlap():
    left, right = np.linspace(4, 0.5, 10), np.linspace(0.5, 4, 10)
    expected = [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert along_x(_1=answer(0, 8, left), _2=answer(2, 10, right)) == expected
    swapped = [{1: 2, 2: 1}[it] for it in expected]
    assert along_x(_2=answer(0, 8, left), _1=answer(2, 10, right)) == swapped


def test_of_three_the_most_probable_counts():
    found = along_x(_1=answer(0, 6, 1.0), _2=answer(2, 8, 3.0), _3=answer(4, 10, 2.0))
    assert found == [1, 1, 2, 2, 2, 2, 2, 2, 3, 3]


def test_equally_probable_voxels_go_to_the_lower_label():
    one, two = answer(0, 6, 1.0, graded=False), answer(3, 9, 1.0, graded=False)
    assert along_x(_5=one, _4=two) == [5, 5, 5, 4, 4, 4, 4, 4, 4, 0]


def test_a_mask_beyond_its_logits_has_no_claim_there():
    """Finishing fills holes and smooths, also where the network said no."""
    wide = answer(0, 6, 2.0)
    filled = Prediction(
        np.ones((4, 6, 7), bool), (slice(0, 4), slice(0, 6), slice(0, 7)), GRID, wide.logits, 1.0
    )
    assert along_x(_1=filled, _2=answer(6, 9, 0.5)) == [1, 1, 1, 1, 1, 1, 2, 2, 2, 0]


def test_an_empty_answer_takes_nothing():
    empty = answer(0, 0, 0.0)
    assert not empty.mask.size
    assert along_x(_1=empty, _2=answer(0, 2, 1.0)) == [2, 2] + [0] * 8
    assert not put_together({}, GRID).any()
