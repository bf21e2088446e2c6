"""What was found out about one thing before a training, and what a button would do about it."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, WARNING, PROBLEM = "good", "warning", "problem"
"""States: a training starts with warnings, and not with problems."""

RESAMPLE = "Resample the labels"
PLACE = "Use the image's position"
LEAVE_OUT = "Leave it out"
DROP = "Leave these objects out"
CLEAR = "Leave these voxels out"
FILL = "Replace these voxels"
RENAME = "Rename it"
OTHER_NAME = "Take another name"


@dataclass(frozen=True)
class Check:
    """One row of a preflight.

    Parameters
    ----------
    pair
        Name of the pair; empty for all together.
    kind
        What was looked at: "grid", "empty", "ids", "extent", "intensity", "name", "count",
        "disk", "memory" or "weights".
    state
        "good", "warning" or "problem".
    sentence
        What is so.
    fix
        Text of a button that `mend` does; empty when there is none.
    other
        Text of a second one, where the first may be wrong.
    instead
        The name that "Take another name" takes.
    """

    pair: str
    kind: str
    state: str
    sentence: str
    fix: str = ""
    other: str = ""
    instead: str = ""

    @property
    def automatic(self) -> bool:
        """Whether its button may be pressed for a user who does not look at the images."""
        return bool(self.pair and self.fix) and self.fix != PLACE
