"""What a network learns from: samples of the cases, and how wrong it is on one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor


class Lessons(ABC):
    """Samples of the cases.

    `fixed` of them are used again and again; 0 when each is a new one.
    """

    fixed = 0

    @abstractmethod
    def loss(self, rng: np.random.Generator) -> Tensor:
        """The loss on a sample that `rng` draws, with gradients."""
