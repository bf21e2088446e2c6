"""Patches bent, turned and stretched a little, so that few objects stand for many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.engine.training.samples import Sample

_ANGLE = 0.2  # radians, at most, about any axis
_STRETCH = 0.15  # logarithm of the factor along each axis, at most
_BEND = 0.04  # deviation of what moves the knots, in edges of a patch
_KNOTS = 5  # of the bending, along each axis


def warped(sample: Sample, rng: np.random.Generator) -> Sample:
    """The same patch in another shape; the first click stays where it is, and so does its voxel.

    Parameters
    ----------
    sample
        What is warped.
    rng
        What draws.
    """
    shape = torch.Size(sample.target.shape)
    field = _field(shape, rng)
    size = np.array(shape)
    at = np.clip(np.rint(sample.point).astype(int), 0, size - 1)
    here = torch.from_numpy((2 * at[::-1] + 1) / size[::-1] - 1).float()
    field = field + (here - field[tuple(at)])
    both = torch.stack([sample.image, torch.from_numpy(sample.target.astype(np.float32))])
    image, share = F.grid_sample(
        both[None], field[None], padding_mode="border", align_corners=False
    )[0]
    return replace(sample, image=image, target=(share >= 0.5).numpy())


def _field(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """Where each voxel comes from, (d, h, w, 3), as (x, y, z) from -1 to 1."""
    axis = rng.standard_normal(3)
    z, y, x = axis / np.linalg.norm(axis)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = rng.uniform(-_ANGLE, _ANGLE)  # turned by the formula of Rodrigues
    turn = np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across
    linear = turn * np.exp(rng.uniform(-_STRETCH, _STRETCH, 3))
    matrix = torch.from_numpy(np.concatenate([linear, np.zeros((3, 1))], 1)).float()
    straight = F.affine_grid(matrix[None], [1, 1, *shape], align_corners=False)[0]
    knots = rng.standard_normal((1, 3, *[_KNOTS] * 3), np.float32) * 2 * _BEND
    bend = F.interpolate(
        torch.from_numpy(knots), tuple(shape), mode="trilinear", align_corners=True
    )
    return straight + bend[0].permute(1, 2, 3, 0)
