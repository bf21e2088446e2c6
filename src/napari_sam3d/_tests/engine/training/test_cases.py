"""What is held out, and which objects count."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam3d._tests.engine.training.small import ball, balls
from napari_sam3d.engine.training.cases import objects_of, split
from napari_sam3d.labelled import Labelled
from napari_sam3d.volume import Grid, Volume


@pytest.mark.parametrize(("count", "held_out"), [(3, 1), (5, 1), (8, 2), (10, 2)])
def test_whole_volumes_are_held_out(count, held_out):
    parts = split(balls(count), 42)
    assert len(parts.held_out) == held_out and len(parts.train) == count - held_out
    assert not {it.name for it in parts.train} & {it.name for it in parts.held_out}
    assert not parts.optimistic
    again = split(balls(count), 42)
    assert [it.name for it in again.held_out] == [it.name for it in parts.held_out]


@pytest.mark.parametrize("count", [1, 2])
def test_of_few_volumes_slices_are_held_out(count):
    parts = split(balls(count), 42)
    assert parts.optimistic and len(parts.train) == len(parts.held_out) == count
    for train, held_out, whole in zip(parts.train, parts.held_out, balls(count), strict=True):
        joined = np.concatenate([train.labels, held_out.labels])
        assert (joined == whole.labels).all()
        share = (held_out.labels > 0).sum() / (whole.labels > 0).sum()
        assert 0.2 <= share < 0.5
        first = held_out.volume.grid.to_world(np.zeros(3))
        assert first[0] == len(train.labels)  # slices of 1 mm


def test_objects_are_labels_that_are_not_tiny():
    labels = np.zeros((10, 10, 10), np.uint16)
    labels[1:4, 1:4, 1:4] = 7
    labels[6:9, 6:9, 6:9] = 2
    labels[9, 9, 9] = 5
    case = Labelled(Volume(np.zeros(labels.shape), Grid.from_spacing((10,) * 3, (1,) * 3)), labels)
    found = objects_of(case)
    assert [it.label for it in found] == [2, 7]
    assert (found[1].full() == (labels == 7)).all() and found[1].start.tolist() == [1, 1, 1]


def test_what_cannot_be_learned_from_is_named():
    with pytest.raises(ValueError, match="no labelled volume"):
        split([], 0)
    empty = Labelled(ball("x").volume, np.zeros((16, 18, 20), np.uint8))
    with pytest.raises(ValueError, match="x has no object"):
        split([empty], 0)
    with pytest.raises(ValueError, match="Two volumes are called x"):
        split([ball("x"), ball("x")], 0)
    flat = np.zeros((16, 18, 20), np.uint8)
    flat[4] = 1
    with pytest.raises(ValueError, match="too few slices"):
        split([Labelled(ball("x").volume, flat)], 0)
    with pytest.raises(ValueError, match="labels have shape"):
        Labelled(ball("x").volume, flat[1:])
