"""Blocks that a person can check: the shuffles, the sampler, connectedness and the prompt maps."""

from __future__ import annotations

import torch

from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.blocks import (
    connectedness,
    depth_to_space,
    sample_at,
    space_to_depth,
)
from napari_sam3d.engine.models.likeness import (
    CLICK_MAPS,
    FLOOD_MAPS,
    PROMPT_MAPS,
    prompt_maps,
    unit_positions,
)


def test_space_to_depth_and_back():
    x = torch.rand(2, 3, 4, 6, 8)
    deep = space_to_depth(x)
    assert deep.shape == (2, 24, 2, 3, 4)
    assert torch.equal(deep[0, :8, 0, 0, 0], x[0, 0, :2, :2, :2].reshape(8))
    assert torch.equal(depth_to_space(deep), x)


def test_sampling_at_voxel_centres_gives_the_voxels():
    features = torch.arange(4 * 5 * 6).float().view(1, 1, 4, 5, 6)
    points = torch.tensor([[[0.0, 0, 0], [3, 4, 5], [1, 2, 3], [1, 2, 3.5]]])
    found = sample_at(features, unit_positions(points, features))[0, :, 0]
    assert torch.allclose(found, torch.tensor([0.0, 119, 45, 45.5]), atol=1e-3)


def test_connectedness_is_the_weakest_link_of_the_best_path():
    likeness = torch.tensor([0.9, 0.8, 0.3, 0.7, 0.6]).view(1, 1, 1, 1, 5)
    seeds = torch.tensor([1.0, 0, 0, 0, 0]).view(1, 1, 1, 1, 5)
    found = connectedness(likeness, seeds).flatten()
    assert torch.allclose(found, torch.tensor([1, 0.8, 0.3, 0.3, 0.3]))


def test_connectedness_goes_round_a_wall():
    likeness = torch.ones(1, 1, 1, 5, 5)
    likeness[..., :4, 2] = 0.1  # a wall with a gap in the last row
    seeds = torch.zeros_like(likeness)
    seeds[..., 0, 0] = 1
    found = connectedness(likeness, seeds)
    assert found[0, 0, 0, 0, 4] == 1 and abs(found[0, 0, 0, 0, 2] - 0.1) < 1e-6


def prompts(labels: list[int]) -> PatchPrompts:
    points = torch.tensor([[[8.0, 8, 8], [8, 8, 24], [0, 0, 0]][: len(labels)]])
    return PatchPrompts(points, torch.tensor([labels]), torch.zeros(1, 1, 32, 32, 32))


def test_prompt_maps_light_up_what_is_like_the_click():
    patch = -torch.ones(1, 1, 32, 32, 32)
    patch[..., :16] = 1
    maps = prompt_maps(patch, prompts([1]))
    assert maps.shape == (1, PROMPT_MAPS, 16, 16, 16)
    narrow, reach = maps[0, 0], maps[0, CLICK_MAPS - 1]
    assert narrow[..., :7].min() > 0.99 and narrow[..., 9:].max() < 0.01
    assert reach[..., :7].min() > 0.99 and reach[..., 9:].max() < 0.1
    assert (maps[0, CLICK_MAPS:-FLOOD_MAPS] == 0).all()  # no negative click, no earlier mask


def test_padding_points_change_nothing_and_signs_are_kept_apart():
    patch = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    one, padded = (prompt_maps(patch, prompts(labels)) for labels in ([1], [1, -1, -1]))
    assert torch.equal(one, padded)
    both = prompt_maps(patch, prompts([1, 0]))
    assert torch.equal(both[:, :CLICK_MAPS], one[:, :CLICK_MAPS])
    assert both[:, CLICK_MAPS : 2 * CLICK_MAPS].abs().max() > 0.5


def test_no_points_at_all_give_empty_maps():
    nothing = PatchPrompts(
        torch.zeros(1, 0, 3), torch.zeros(1, 0, dtype=torch.long), torch.ones(1, 1, 8, 8, 8)
    )
    maps = prompt_maps(torch.randn(1, 1, 8, 8, 8), nothing)
    assert (maps[:, : 2 * CLICK_MAPS] == 0).all()
    assert (maps[:, -FLOOD_MAPS - 1] == 1).all()  # there is an earlier mask


def test_flooding_stops_at_an_edge_and_comes_in_from_the_border():
    index = torch.arange(32) - 15.5
    squared = index[:, None, None] ** 2 + index[:, None] ** 2 + index**2
    patch = torch.where(squared < 100, 1.0, -1.0)[None, None]
    points = torch.tensor([[[15.0, 15, 15]]])
    asked = PatchPrompts(points, torch.tensor([[1]]), torch.zeros(1, 1, 32, 32, 32))
    flood = prompt_maps(patch, asked)[0, -FLOOD_MAPS:]
    inside, outside = flood[:, 7, 7, 9], flood[:, 7, 7, 14]
    assert inside[0] > 0.9 and outside[0] < 0.3  # from the click
    assert inside[2] < 0.3 and outside[2] > 0.9  # from the border
    assert inside[4] > 0.9 and outside[4] < -0.9  # click or border, who is ahead
    assert (flood[1] == 0).all()  # no negative click
