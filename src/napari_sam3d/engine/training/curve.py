"""A picture of a training: its loss, and the Dice beside that of the model before."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from napari_sam3d.engine.training.events import COUNTED, Scores

_SMOOTH = 0.9  # how much of the mean so far each loss leaves


def draw_curve(
    rows: Sequence[Mapping[str, float]], before: Scores, counted: Sequence[int] = COUNTED
) -> bytes:
    """A PNG of the lines of a log.

    Parameters
    ----------
    rows
        Lines of `log.csv`.
    before
        Dice of the model before, drawn dashed.
    counted
        Clicks after which the Dice was measured.
    """
    from matplotlib.figure import Figure  # not pyplot, which would look for a window

    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    left.plot(steps, _smooth([row["loss"] for row in rows]))
    left.set(xlabel="step", ylabel="loss")
    measured = [row for row in rows if f"dice_{counted[0]}" in row]
    for number, count in enumerate(counted):
        words = f"{count} click{'s' * (count > 1)}" if count else "without clicks"
        values = [row[f"dice_{count}"] for row in measured]
        right.plot([row["step"] for row in measured], values, f"C{number}.-", label=words)
        for base in before[number : number + 1]:
            right.axhline(base, color=f"C{number}", linestyle="--", linewidth=1)
    right.set(xlabel="step", ylabel="Dice on what is held out", ylim=(0, 1))
    right.legend(title="dashed: before", loc="lower right")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()


def _smooth(values: Sequence[float]) -> list[float]:
    """The moving mean of values."""
    means: list[float] = []
    for value in values:
        means.append(_SMOOTH * means[-1] + (1 - _SMOOTH) * value if means else value)
    return means
