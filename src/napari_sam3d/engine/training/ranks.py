"""Which of several processes this is, by what torchrun says; without torch."""

from __future__ import annotations

import os


def position() -> tuple[int, int]:
    """Number of this process and how many there are; (0, 1) when it was started by itself."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def follows() -> bool:
    """Whether another process leads."""
    return position()[0] > 0
