"""Steps of Muon: orthogonal for matrices, Adam's for vectors."""

from __future__ import annotations

import pytest
import torch

from napari_sam3d.engine.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(4, 4), (3, 40), (40, 3)])
def test_an_orthogonal_matrix_turns_and_stretches_hardly(shape):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator) * 1e-3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    assert torch.linalg.svdvals(found).sub(1).abs().max() < 0.4
    assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), 0) > 0.97


def test_a_convolution_moves_by_the_rate_whatever_its_gradient():
    weight = torch.nn.Parameter(torch.zeros(4, 2, 3, 3, 3))
    gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    moved = []
    for scale in (1.0, 2.0**-10):
        weight.data.zero_()
        weight.grad = gradient * scale
        Muon([weight], lr=0.1).step()
        moved.append(weight.detach().clone())
    torch.testing.assert_close(moved[0], moved[1], atol=2e-3, rtol=0)  # it computes in bfloat16
    # 0.2 times that of AdamW, whose steps are the rate in each number
    assert float(moved[0].square().mean().sqrt()) == pytest.approx(0.1 * 0.2, rel=0.3)
    assert float((moved[0] * gradient).sum()) < 0


@pytest.mark.parametrize("shape", [(5,), (1, 5), (5, 1)])
def test_a_vector_moves_as_with_adam(shape):
    values = [torch.nn.Parameter(torch.ones(shape)) for _ in range(2)]
    ours, adams = Muon([values[0]], lr=0.01), torch.optim.Adam([values[1]], lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        gradient = torch.randn(shape, generator=generator)
        for value, optimiser in zip(values, (ours, adams), strict=True):
            value.grad = gradient.clone()
            optimiser.step()
    torch.testing.assert_close(values[0], values[1])
    assert (values[0] != 1).all()


def test_a_state_goes_on_where_it_was():
    torch.manual_seed(0)
    whole, parts = (torch.nn.Linear(3, 3) for _ in range(2))
    parts.load_state_dict(whole.state_dict())
    first, second = Muon(whole.parameters(), lr=0.1), Muon(parts.parameters(), lr=0.1)
    for step in range(4):
        if step == 2:
            said = second.state_dict()
            second = Muon(parts.parameters(), lr=0.1)
            second.load_state_dict(said)
        for layer, optimiser in ((whole, first), (parts, second)):
            optimiser.zero_grad()
            layer(torch.full((2, 3), step + 1.0)).square().sum().backward()
            optimiser.step()
    assert torch.equal(whole.weight, parts.weight) and torch.equal(whole.bias, parts.bias)
