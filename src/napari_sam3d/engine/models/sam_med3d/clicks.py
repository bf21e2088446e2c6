"""Rounds of clicks as the released scripts of SAM-Med3D play them, newest or all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True, eq=False)
class Click:
    """A simulated click, and what came of it.

    Parameters
    ----------
    voxel, positive
        Where it is on the crop, (3,) along (x, y, z), and what it says.
    heard
        Whether the model took it.
    mask
        bool (x, y, z), after it.
    seconds
        Time of the answer, without drawing the click; 0 when it was not heard.
    """

    voxel: np.ndarray
    positive: bool
    heard: bool
    mask: np.ndarray
    seconds: float


Answer = Callable[[np.ndarray, bool], np.ndarray | None]
"""From the newest click, its voxel and sign, to logits (x, y, z); None when it cannot be used."""


def simulate_clicks(
    answer: Answer,
    reference: np.ndarray,
    clicks: int,
    protocol: ClickProtocol,
    draws: np.random.RandomState,
) -> Iterator[Click]:
    """The rounds of a protocol on a crop; a click that is not heard leaves the mask as it is.

    The `reference`, bool (x, y, z), must not be empty. The released scripts draw with
    `numpy.random.randint`, one number a click, after `numpy.random.seed`; a `RandomState` of the
    same seed gives the same voxels.
    """
    logits = np.full(reference.shape, -np.inf, np.float32)  # nothing is foreground at first
    for n in range(clicks):
        voxel, positive = draw_click(logits > protocol.cut, reference, n < protocol.deep, draws)
        started = time.perf_counter()
        found = answer(voxel, positive)
        seconds = time.perf_counter() - started if found is not None else 0.0
        logits = logits if found is None else found
        yield Click(voxel, positive, found is not None, logits > 0, seconds)


def network_answers(
    model: SamMed3D, encode: Callable[[], Embedding], size: int, protocol: ClickProtocol
) -> Answer:
    """What the network says on a crop of `size` voxels a side; it is encoded at the first click.

    Each round gets the logits of the round before, the first gets zeros.
    """
    embedding: Embedding | None = None
    points, labels, low = torch.zeros(1, 0, 3), torch.zeros(1, 0), torch.zeros(1, 1, 1, 1, 1)

    def answer(voxel: np.ndarray, positive: bool) -> np.ndarray:
        nonlocal embedding, points, labels, low
        if embedding is None:
            embedding = encode()
            device, grid = embedding.features.device, embedding.features.shape[-1]
            points, labels = points.to(device), labels.to(device)
            low = torch.zeros(1, 1, *(4 * grid,) * 3, device=device)
        point = torch.as_tensor(voxel, dtype=torch.float32, device=points.device)
        points = torch.cat([points, point.view(1, 1, 3)], 1)
        labels = torch.cat([labels, labels.new_full((1, 1), float(positive))], 1)
        prompts = PatchPrompts(points, labels, low)
        shown = newest(prompts) if protocol.newest_only else prompts
        low = model.decode_masks(embedding, shown).logits.float()
        return enlarge(low, (size,) * 3).cpu().numpy()

    return answer


def draw_click(
    mask: np.ndarray, reference: np.ndarray, deep: bool, draws: np.random.RandomState
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
    places = np.flatnonzero(wrong)  # x, then y, then z: the order in which the scripts count
    chosen = np.array(np.unravel_index(places[draws.randint(len(places))], wrong.shape))
    return chosen, bool(missing[tuple(chosen)])


def enlarge(logits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Logits (1, 1, s/4, s/4, s/4) on all voxels of the crop, (x, y, z), as the scripts do it."""
    return F.interpolate(logits, shape, mode="trilinear", align_corners=False)[0, 0]
