"""Rounds of clicks as the released scripts of SAM-Med3D play them, newest or all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from napari_sam3d.engine.models.base import Masks, PatchPrompts
from napari_sam3d.engine.models.sam_med3d import Embedding, SamMed3D


@dataclass(frozen=True, kw_only=True)
class ClickProtocol:
    """What a round of clicks passes on, and how its next click is drawn.

    Parameters
    ----------
    newest_only
        Whether the network sees only the newest point, beside the mask of the round before.
    cut
        Logit above which a voxel counts as foreground when the next click is drawn. The mask itself
        is always cut at 0.
    deep
        How many of the first clicks lie deep in the larger error; later ones anywhere in any error.
    """

    newest_only: bool
    cut: float
    deep: int


ALL_CLICKS = ClickProtocol(newest_only=False, cut=0.0, deep=0)
"""The current scripts (`infer_utils`)."""
LAST_CLICK = ClickProtocol(newest_only=True, cut=0.5, deep=2)
"""The older, published protocol (`validation.py`, `inference.py`); it cuts logits, not chances."""


def newest(prompts: PatchPrompts) -> PatchPrompts:
    """The same prompts with the last point alone."""
    return PatchPrompts(prompts.points[:, -1:], prompts.labels[:, -1:], prompts.mask)


def play_clicks(
    model: SamMed3D, embedding: Embedding, points: Tensor, labels: Tensor, protocol: ClickProtocol
) -> Iterator[Masks]:
    """The masks after each of the given clicks (1, n, 3) with labels (1, n).

    Each round gets the logits of the round before, the first gets zeros.
    """
    grid = embedding.features.shape[-1]
    mask = points.new_zeros(1, 1, *(4 * grid,) * 3)
    for n in range(1, points.shape[1] + 1):
        prompts = PatchPrompts(points[:, :n], labels[:, :n], mask)
        masks = model.decode_masks(embedding, newest(prompts) if protocol.newest_only else prompts)
        mask = masks.logits
        yield masks


def simulate_clicks(
    model: SamMed3D,
    embedding: Embedding,
    reference: np.ndarray,
    clicks: int,
    protocol: ClickProtocol,
    generator: np.random.Generator,
) -> Iterator[np.ndarray]:
    """The masks (bool, x, y, z) after each of `clicks` simulated clicks on a crop.

    The `reference`, bool (x, y, z) on the same crop, must not be empty. The released scripts seed
    numpy and torch with 233 and draw from both; `generator` draws by the same rules, not the same
    voxels.
    """
    device = embedding.features.device
    points = torch.zeros(1, 0, 3, device=device)
    labels = torch.zeros(1, 0, device=device)
    size = embedding.features.shape[-1]
    low = torch.zeros(1, 1, *(4 * size,) * 3, device=device)
    logits = np.full(reference.shape, -np.inf, np.float32)  # nothing is foreground at first
    for n in range(clicks):
        voxel, positive = draw_click(logits > protocol.cut, reference, n < protocol.deep, generator)
        point = torch.as_tensor(voxel, dtype=torch.float32, device=device)
        points = torch.cat([points, point.view(1, 1, 3)], 1)
        labels = torch.cat([labels, labels.new_full((1, 1), float(positive))], 1)
        prompts = PatchPrompts(points, labels, low)
        low = model.decode_masks(
            embedding, newest(prompts) if protocol.newest_only else prompts
        ).logits
        logits = enlarge(low, reference.shape).cpu().numpy()
        yield logits > 0


def draw_click(
    mask: np.ndarray, reference: np.ndarray, deep: bool, generator: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """The next click (3,) and whether it is positive.

    Any wrong voxel with the same chance; or, deep, one of those further from the rim than half of
    the deepest, in whichever of the missing and the excess part is deeper (the rule of RITM). In a
    perfect mask a voxel of the object, positive.
    """
    missing, excess = reference & ~mask, mask & ~reference
    wrong = missing | excess
    if not wrong.any():
        wrong = missing = reference
    elif deep:
        depths = [
            distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1, 1:-1] for part in (missing, excess)
        ]
        depth = depths[0] if depths[0].max() > depths[1].max() else depths[1]
        wrong = depth > depth.max() / 2
    places = np.argwhere(wrong)
    chosen = places[generator.integers(len(places))]
    return chosen, bool(missing[tuple(chosen)])


def enlarge(logits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Logits (1, 1, s/4, s/4, s/4) on all voxels of the crop, (x, y, z), as the scripts do it."""
    return F.interpolate(logits, shape, mode="trilinear", align_corners=False)[0, 0]
