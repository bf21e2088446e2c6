"""Building blocks that model families share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3 x 3 x 3 convolutions with group norm before each, around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(channels // 8, channels) for _ in range(2))
        self.conv1, self.conv2 = (
            nn.Conv3d(channels, channels, 3, padding=1, bias=False) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


class UpMerge(nn.Module):
    """Coarse features brought to the next finer level and added to what is there."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.project = nn.Conv3d(coarse, fine, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = F.interpolate(self.project(coarse), scale_factor=2, mode="nearest")
        return fine + up


def space_to_depth(x: Tensor) -> Tensor:
    """(b, c, 2d, 2h, 2w) -> (b, 8c, d, h, w): each 2 x 2 x 2 block becomes channels."""
    b, c, d, h, w = x.shape
    x = x.view(b, c, d // 2, 2, h // 2, 2, w // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, 8 * c, d // 2, h // 2, w // 2)


def depth_to_space(x: Tensor) -> Tensor:
    """(b, 8c, d, h, w) -> (b, c, 2d, 2h, 2w): the way back from `space_to_depth`."""
    b, c8, d, h, w = x.shape
    x = x.view(b, c8 // 8, 2, 2, 2, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c8 // 8, 2 * d, 2 * h, 2 * w)


def sample_at(features: Tensor, points: Tensor) -> Tensor:
    """Features at points, trilinear: the visual sampler of 3DSAM-adapter (its section 3.3).

    Parameters
    ----------
    features
        (b, c, d, h, w).
    points
        (b, n, 3) positions (z, y, x) from -1 to 1 across the field of view.

    Returns
    -------
    Tensor
        (b, n, c) in float32.
    """
    grid = points.flip(-1)[:, :, None, None].float()  # (b, n, 1, 1, 3) in (x, y, z)
    sampled = F.grid_sample(
        features.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[..., 0, 0].transpose(1, 2)


def connectedness(likeness: Tensor, seeds: Tensor, passes: int = 3) -> Tensor:
    """Fuzzy connectedness: over all paths to a seed, the best of each path's worst likeness.

    Sweeps forward and backward along the three axes. Follows Udupa and Samarasekera's definition
    with face neighbours.

    Parameters
    ----------
    likeness
        (b, c, d, h, w) from 0 to 1.
    seeds
        Same shape, 1 at seeds and 0 elsewhere.
    passes
        How often all axes are swept: bounds how often a path may turn back.
    """
    reached = seeds.clone()
    for _ in range(passes):
        for axis in (2, 3, 4):
            size = likeness.shape[axis]
            for order in (range(1, size), range(size - 2, -1, -1)):
                step = -1 if order.step > 0 else 1
                slices = list(reached.unbind(axis))
                like = likeness.unbind(axis)
                for i in order:
                    slices[i] = torch.maximum(slices[i], torch.minimum(slices[i + step], like[i]))
                reached = torch.stack(slices, axis)
    return reached
