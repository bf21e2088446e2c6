"""Logits that no network gave, and the logit of a probability."""

from __future__ import annotations

import math

LIKELY = 4.0
"""Of what a network is told to begin with, 98 %."""
GIVEN = 8.0
"""Of what was given: masks, hand edits, and with a minus the space outside of a patch."""
FAR = 20.0
"""With a minus, of what cannot belong to the object."""


def log_odds(probability: float) -> float:
    """The logit of a probability, such as the threshold of a mask."""
    return math.log(probability / (1 - probability))
