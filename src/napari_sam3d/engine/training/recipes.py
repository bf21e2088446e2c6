"""What suits each network when it is tuned on a few volumes."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sam3d.catalog import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a family is tuned.

    Parameters
    ----------
    rate
        Highest learning rate.
    decay
        Weight decay.
    muon
        Whether Muon takes the steps, as in the network's own training, and not AdamW.
    background
        Share of patches without the object, whose mask is empty; of groups of slices that lie
        anywhere.
    noisy
        Points drawn anywhere that are told as if they were in the object.
    fixed
        Patches of each object that are used again and again, so that a frozen encoder sees each
        but once; 0 draws new ones.
    """

    rate: float
    decay: float = 1e-2
    muon: bool = False
    background: float = 0.0
    noisy: int = 0
    fixed: int = 0


_RECIPES = {
    # of training patients, four to learn from and six to measure, Dice after one click: hippocampi
    # 0.66 before, 0.73 with AdamW, 0.74 with Muon at 1e-3 and 0.77 at 4e-3; hearts 0.72 before,
    # 0.84 with Muon at either rate, 0.83 without warping (300 or 400 steps)
    "compact": Recipe(rate=4e-3, muon=True),
    # the paper's: 4e-4 on hundreds of volumes, patches without a tumour, 10 clicks in the tumour
    # among 20 anywhere; half the rate for a few volumes
    "sam3d_adapter": Recipe(rate=2e-4, decay=0.0, background=0.33, noisy=2),
    # the decoder at a tenth of the rate of the authors' encoder
    "sam_med3d": Recipe(rate=8e-5, fixed=6),
    # not tried, for there were no weights: a quarter of the paper's rate, whose batch is larger
    "ma_sam": Recipe(rate=2e-4, decay=0.1, background=0.2),
}


def recipe_of(spec: ModelSpec) -> Recipe:
    """The recipe of a row of the catalog; ValueError when its network cannot be tuned."""
    if spec.family not in _RECIPES:
        known = ", ".join(sorted(_RECIPES))
        raise ValueError(f"{spec.name} cannot be tuned; models of these families can: {known}.")
    return _RECIPES[spec.family]
