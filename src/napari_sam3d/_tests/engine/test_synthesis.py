"""Random volumes: reproducible, finite, with more than one label, of every kind."""

from __future__ import annotations

import pytest
import torch

from napari_sam3d.engine import synthesis


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_volume_is_finite_and_labelled(seed):
    image, labels = synthesis.random_volume((24, 24, 24), generator(seed))
    assert image.shape == labels.shape == (24, 24, 24)
    assert torch.isfinite(image).all() and image.std() > 1e-3
    assert labels.min() >= 0 and len(labels.unique()) >= 2


def test_the_seed_decides():
    first, second = (synthesis.random_volume((16, 16, 16), generator(3)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    other = synthesis.random_volume((16, 16, 16), generator(4))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("draw", [synthesis.blobs, synthesis.tubes, synthesis.cells])
def test_every_kind_leaves_background(draw):
    labels = [draw((32, 32, 32), generator(seed)) for seed in range(5)]
    assert any(0 < float((k > 0).float().mean()) < 1 for k in labels)


def test_rotations_keep_lengths_and_handedness():
    for seed in range(5):
        turn = synthesis.random_rotation(generator(seed))
        assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-5)
        assert torch.det(turn) > 0


def test_blur_keeps_the_mean_of_a_constant():
    assert torch.allclose(synthesis.blur(torch.full((8, 8, 8), 3.0), [1, 1, 1]), torch.tensor(3.0))
