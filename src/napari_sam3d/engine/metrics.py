"""How well a mask matches its reference."""

from __future__ import annotations

import numpy as np


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Dice overlap of two boolean arrays, 0 to 1; not a number when both are empty."""
    total = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else float("nan")
