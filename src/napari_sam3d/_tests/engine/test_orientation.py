"""A voxel and a point on it go the same way."""

import itertools

import numpy as np
import pytest
import torch

from napari_sam3d.engine.orientation import Orientation

ALL = [
    "".join(letters)
    for order in itertools.permutations(["IS", "PA", "LR"])
    for letters in itertools.product(*order)
]


@pytest.mark.parametrize("axes", ALL)
def test_points_stay_on_their_voxels(axes):
    image = torch.arange(24.0).reshape(2, 3, 4)
    orientation = Orientation(axes)
    turned = orientation.turn(image[None, None])[0, 0]
    for point in np.argwhere(np.ones((2, 3, 4), bool)):
        (there,) = orientation.turn_points(point[None], (2, 3, 4)).astype(int)
        assert turned[tuple(there)] == image[tuple(point)]
        back = orientation.turn_points_back(there[None], (2, 3, 4))
        np.testing.assert_array_equal(back, point[None])
    # a patch of one voxel begins where its voxel is, a wider one where its block is
    assert orientation.turn_start_back(there, (1, 1, 1), (2, 3, 4)) == (1, 2, 3)
    start = orientation.turn_start_back(np.array([0, 0, 0]), (2, 2, 2), (2, 3, 4))
    block = image[tuple(slice(s, s + 2) for s in start)]
    assert torch.equal(orientation.turn(block), turned[:2, :2, :2])
    assert torch.equal(orientation.turn_back(turned), image)
    array = orientation.turn_array(image.numpy())
    np.testing.assert_array_equal(array, turned)
    np.testing.assert_array_equal(orientation.turn_array_back(array), image)


def test_names_of_axes():
    image = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(Orientation("IPL").turn(image), image)
    assert Orientation("RAS").turn(image)[0, 0, 0] == image[-1, -1, -1]
    assert Orientation("RAS").turn(image).shape == (4, 3, 2)
    for wrong in ("RA", "RRS", "xyz", "RLS"):
        with pytest.raises(ValueError, match="three axes"):
            Orientation(wrong)
