"""What a network learns from and what it is judged on, whichever way it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator

import numpy as np
from torch import Tensor

from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.engine.training.events import COUNTED, Looking, Scores


class Lessons(ABC):
    """Samples of the cases to learn from, and looks at what is held out.

    `fixed` samples are used again and again, 0 when each is a new one. `counted` are the clicks
    after which the Dice is told, 0 being a network that takes none.
    """

    fixed = 0
    counted: tuple[int, ...] = COUNTED

    @abstractmethod
    def loss(self, rng: np.random.Generator) -> Tensor:
        """The loss on a sample that `rng` draws, with gradients."""

    @abstractmethod
    def look(self, predictor: Predictor, step: int) -> Generator[Looking, None, Scores]:
        """Mean Dice on what is held out after a step, for each of `counted`.

        Yields so often that others get a turn.
        """
