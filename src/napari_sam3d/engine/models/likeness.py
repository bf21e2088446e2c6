"""What every voxel has in common with the clicks: the prompt maps of the compact model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.blocks import connectedness, sample_at, space_to_depth

CLICK_MAPS = 7  # maps per sign
FLOOD_MAPS = 5
PROMPT_MAPS = 2 * CLICK_MAPS + 9 + FLOOD_MAPS
_EDGE = 0.3  # gradient, in deviations per voxel of the half grid, that lowers a path to 1/e


def prompt_maps(patch: Tensor, prompts: PatchPrompts) -> Tensor:
    """Maps (b, PROMPT_MAPS, d/2, h/2, w/2) that tell each voxel how it relates to the prompts.

    For positive and for negative clicks: likeness to the intensity at the closest-valued click at
    two widths, the signed difference, nearness at two widths, and fuzzy connectedness at two
    widths; then the earlier mask, its 2 x 2 x 2 voxels as channels, and whether there is one; then
    how easily positive clicks, negative clicks and the border of the patch flood each voxel.

    Parameters
    ----------
    patch
        (b, 1, d, h, w), mean 0 and deviation 1.
    prompts
        Clicks and the earlier mask on the patch.
    """
    half = F.avg_pool3d(patch, 2)  # (b, 1, d/2, h/2, w/2)
    places = unit_positions(prompts.points, patch)
    values = sample_at(F.avg_pool3d(patch, 3, 1, 1, count_include_pad=False), places)[..., 0]
    distance = _distance(places, (half.shape[2], half.shape[3], half.shape[4]))
    positive = _click_maps(half, distance, values, prompts.labels == 1)
    negative = _click_maps(half, distance, values, prompts.labels == 0)
    earlier = torch.tanh(prompts.mask / 4)
    known = (prompts.mask != 0).flatten(1).any(1).float()[:, None, None, None, None]
    return torch.cat(
        [
            positive,
            negative,
            space_to_depth(earlier),
            known.expand(-1, 1, *half.shape[2:]),
            _flood_maps(half, distance, prompts.labels),
        ],
        1,
    )


def _flood_maps(half: Tensor, distance: Tensor, labels: Tensor) -> Tensor:
    """FLOOD_MAPS maps of what a watershed of the gradient decides by.

    The best path from the positive clicks, the negative clicks and the border, each voxel judged by
    its strongest gradient on the way; then by how much the first beats each of the other two.
    """
    square = sum((half.roll(-1, a) - half.roll(1, a)) ** 2 for a in (2, 3, 4)) / 4
    inner = F.pad(torch.ones_like(half)[..., 1:-1, 1:-1, 1:-1], (1,) * 6)  # roll wraps round
    smooth = torch.exp(-torch.sqrt(square * inner) / _EDGE)
    seeds = [_seeds(distance, labels == label) for label in (1, 0)]
    flooded = connectedness(smooth.expand(-1, 3, -1, -1, -1), torch.cat([*seeds, 1 - inner], 1))
    level = -torch.log(flooded.clamp(min=1e-6))
    ahead = torch.tanh(3 * (level[:, 1:] - level[:, :1]))
    return torch.cat([flooded, ahead], 1)


def _seeds(distance: Tensor, chosen: Tensor) -> Tensor:
    """1 within a voxel of a chosen (b, n) click, else 0: (b, 1, d, h, w)."""
    near = (distance < 1.0) & chosen[..., None, None, None]
    return near.any(1, keepdim=True).float()


def _click_maps(half: Tensor, distance: Tensor, values: Tensor, chosen: Tensor) -> Tensor:
    """CLICK_MAPS maps for the `chosen` (b, n) clicks; zeros where a patch has none of them."""
    b, _, d, h, w = half.shape
    if distance.shape[1] == 0:
        return half.new_zeros(b, CLICK_MAPS, d, h, w)
    difference = half - values[..., None, None, None]  # (b, n, d, h, w)
    absent = ~chosen[..., None, None, None]
    size = difference.abs().masked_fill(absent, 1e3)
    closest = size.min(1, keepdim=True)
    signed = torch.gather(difference, 1, closest.indices)
    narrow, wide = torch.exp(-closest.values / 0.15), torch.exp(-closest.values / 0.5)
    nearest = distance.masked_fill(absent, 1e3).min(1, keepdim=True).values
    seeds = _seeds(distance, chosen)
    reach = connectedness(torch.cat([narrow, wide], 1), seeds.expand(-1, 2, -1, -1, -1))
    maps = [
        narrow,
        wide,
        torch.tanh(2 * signed),
        torch.exp(-nearest / 2),
        torch.exp(-nearest / 8),
        reach,
    ]
    return torch.cat(maps, 1) * chosen.any(1).float()[:, None, None, None, None]


def unit_positions(points: Tensor, patch: Tensor) -> Tensor:
    """Voxel positions of the patch as -1 to 1 across the field of view."""
    size = torch.tensor(patch.shape[2:], device=points.device, dtype=torch.float32)
    return (2 * points.float() + 1) / size - 1


def _distance(places: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Distance (b, n, d, h, w) to each click in voxels of `shape`."""
    total = torch.zeros((), device=places.device)
    for axis, n in enumerate(shape):
        index = torch.arange(n, device=places.device, dtype=torch.float32)
        at = (places[..., axis] + 1) * n / 2 - 0.5  # (b, n)
        view = [1, 1, 1, 1, 1]
        view[2 + axis] = n
        total = total + (index.view(view) - at[..., None, None, None]) ** 2
    return torch.sqrt(total)
