"""How well a mask matches its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.ndimage import distance_transform_edt

from napari_sam3d.volume import Point3
from napari_sam3d.windows import bounding_box

_PERCENTILE = 0.95


@dataclass(frozen=True)
class SurfaceScores:
    """How far the surfaces of two masks are from each other.

    Parameters
    ----------
    nsd
        Surface Dice (normalised surface distance) for each tolerance, 0 to 1: the share of both
        surfaces that lies within the tolerance of the other. 0 when one mask is empty, not a number
        when both are.
    hd95_mm
        The distance that 95 % of a surface do not exceed, of the worse of both directions; infinite
        when a mask is empty.
    """

    nsd: tuple[float, ...]
    hd95_mm: float


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Dice overlap of two boolean arrays, 0 to 1; not a number when both are empty."""
    total = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else float("nan")


def surface_scores(
    mask: np.ndarray, reference: np.ndarray, spacing: Point3, tolerances: Sequence[float]
) -> SurfaceScores:
    """Surface Dice and 95th percentile of distances, equal to google-deepmind/surface-distance.

    A surface runs between voxel centres and is made of one element for each 2 x 2 x 2 voxels that
    are not all alike. What is outside of the volume is background. Areas are exact for the voxel
    size, and both scores are weighted by them.

    Parameters
    ----------
    mask, reference
        bool (z, y, x).
    spacing
        Voxel size in millimetres, (z, y, x).
    tolerances
        In millimetres.
    """
    window = bounding_box(mask | reference)
    if window is None:
        return SurfaceScores((float("nan"),) * len(tolerances), float("inf"))
    (edge, areas), (other, other_areas) = _surfaces(mask[window], reference[window], spacing)
    if not areas.size or not other_areas.size:
        return SurfaceScores((0.0,) * len(tolerances), float("inf"))
    distances = _distances(edge, other, spacing), _distances(other, edge, spacing)
    whole = areas.sum() + other_areas.sum()
    nsd = tuple(
        float((areas[distances[0] <= it].sum() + other_areas[distances[1] <= it].sum()) / whole)
        for it in tolerances
    )
    farthest = max(_percentile(distances[0], areas), _percentile(distances[1], other_areas))
    return SurfaceScores(nsd, farthest)


def area_under(scores: Sequence[float]) -> float:
    """Area under the scores over clicks by the trapezoidal rule: 0 to 4 for five of them.

    Not a number for fewer than two.
    """
    if len(scores) < 2:
        return float("nan")
    return float(cumulative_trapezoid(scores, np.arange(len(scores)))[-1])


def clicks_to(dices: Sequence[float], threshold: float) -> int | None:
    """How many clicks it takes to reach a Dice, given that after each one; None if none does."""
    return next((n for n, it in enumerate(dices, 1) if it >= threshold), None)


def _surfaces(
    mask: np.ndarray, reference: np.ndarray, spacing: Point3
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of both masks where the surface has elements (bool, one block), and their areas (n,)."""
    import torch  # both take seconds, and tables of scores need neither
    from monai.metrics.utils import get_mask_edges

    # one voxel more on each side: what is outside of the volume ends a mask, too
    both = [torch.from_numpy(np.pad(it, 1)) for it in (mask, reference)]
    sizes = [float(mm) for mm in spacing]
    *edges, areas, other_areas = get_mask_edges(*both, crop=False, spacing=sizes)
    found = zip(edges, (areas, other_areas), strict=True)
    return [(np.asarray(edge), np.asarray(area[edge], float)) for edge, area in found]


def _distances(edge: np.ndarray, to: np.ndarray, spacing: Point3) -> np.ndarray:
    """Millimetres from each element of a surface to the nearest of the other one."""
    # a transform, not a tree of points: of elements that are equally far, which are more or less
    # than the tolerance by a rounding error, it finds the one that the original finds
    nearest = distance_transform_edt(
        ~to, sampling=spacing, return_distances=False, return_indices=True
    )
    steps = (nearest[:, edge] - np.argwhere(edge).T) * np.array(spacing)[:, None]
    return np.sqrt((steps * steps).sum(0))


def _percentile(distances: np.ndarray, areas: np.ndarray) -> float:
    order = np.argsort(distances)
    shares = np.cumsum(areas[order]) / areas.sum()
    at = min(int(np.searchsorted(shares, _PERCENTILE)), len(distances) - 1)
    return float(distances[order[at]])
