"""A picture of an evaluation: scores by round on the left, worst and best objects on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.engine.evaluation.summary import Summary
from napari_sam3d.engine.evaluation.table import counted
from napari_sam3d.engine.evaluation.thumbnails import Thumbnail, extremes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BACKGROUND, _PANEL, _TEXT, _QUIET = "#101216", "#181b21", "#f0f2f5", "#8d96a5"
# told apart by people who see fewer colours, too
_DICE, _NSD = "#3ec1ff", "#f3e45a"
_REFERENCE, _MASK = "#ffb000", "#3ec1ff"
_SIZE_INCH, _DPI = (12.8, 7.2), 125
_EACH = 4
"""Thumbnails in a row of the worst, and in one of the best."""
_DOTS = 600
"""Most objects that are drawn each by itself."""
_LEFT, _RIGHT, _MIDDLE = 0.03, 0.985, 0.47
"""Where text begins, where everything ends, and where thumbnails begin; shares of the width."""


def draw(summary: Summary, found: Sequence[Thumbnail], path: str | Path, title: str = "") -> Path:
    """Draw a summary as a PNG.

    Parameters
    ----------
    summary
        What is told.
    found
        Objects to choose the worst and the best from.
    path
        File to write.
    title
        First line, such as which model was evaluated on what; the protocol when empty.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(_SIZE_INCH, dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    worst, best = extremes(found, _EACH)
    heading = title or f"Evaluation by {summary.protocol}"
    _write(figure, _LEFT, 0.955, heading, size=14, weight="bold")
    told = f"{summary.protocol}, NSD at {summary.tolerance_mm:g} mm: {counted(summary)}"
    _write(figure, _LEFT, 0.912, told, colour=_QUIET)
    right = _MIDDLE - 0.03 if worst else _RIGHT
    axes = figure.add_axes((0.065, 0.12, right - 0.065, 0.74), facecolor=_PANEL)
    numbered = all(it.name.isdecimal() or it.name == "box" for it in summary.rounds)
    if not summary.objects:
        axes.text(0.5, 0.5, "No case was scored.", color=_TEXT, ha="center", fontsize=12)
        axes.set_xticks([])
    elif numbered and len(summary.rounds) > 1:
        _curves(axes, summary)
    else:
        _strips(axes, summary)
    _style(axes)
    if worst:
        _thumbnails(figure, worst, 0.845, "Lowest Dice" if best else "The object")
        _thumbnails(figure, best, 0.455, "Highest Dice")
        _legend(figure)
    path = Path(path)
    figure.savefig(path, format="png", facecolor=_BACKGROUND)
    return path


def _curves(axes: Axes, summary: Summary) -> None:
    """Dice over the rounds with its quartiles, and surface Dice."""
    rounds = summary.rounds
    x = np.arange(len(rounds))
    axes.fill_between(
        x,
        [it.dice.low for it in rounds],
        [it.dice.high for it in rounds],
        color=_DICE,
        alpha=0.22,
        linewidth=0,
        label="Dice, quartiles of objects",
    )
    axes.plot(
        x, [it.dice.median for it in rounds], color=_DICE, linewidth=2.6, marker="o",
        label="Dice, median of objects",
    )  # fmt: skip
    axes.plot(
        x, [it.case_dice for it in rounds], color=_DICE, linewidth=1.6, linestyle="--",
        label="Dice, mean of cases",
    )  # fmt: skip
    axes.plot(
        x, [it.nsd.median for it in rounds], color=_NSD, linewidth=1.4, linestyle=":", marker=".",
        label="NSD, median of objects",
    )  # fmt: skip
    axes.set_xticks(x, [it.name for it in rounds])
    axes.set_xlim(-0.3, len(rounds) - 0.7)
    clicks = "clicks after the box" if rounds[0].name == "box" else "clicks"
    axes.set_xlabel("points, given at once" if summary.protocol == "3dsam-adapter" else clicks)
    _key(axes)


def _strips(axes: Axes, summary: Summary) -> None:
    """All objects of each round as dots, and a box from quartile to quartile."""
    for x, it in enumerate(summary.rounds):
        values = [
            played.dice
            for found in summary.objects
            for played in found.rounds
            if played.name == it.name and not np.isnan(played.dice)
        ]
        draws = np.random.RandomState(0)
        if len(values) > _DOTS:
            values = draws.choice(values, _DOTS, replace=False).tolist()
        aside = draws.uniform(-0.16, 0.16, len(values)) * (len(values) > 1)
        axes.scatter(
            x + aside, values, s=22, color=_QUIET, alpha=0.5,
            linewidths=0,
            label="Dice of an object" if x == 0 else None,
        )  # fmt: skip
        axes.fill_between(
            [x - 0.28, x + 0.28], it.dice.low, it.dice.high, color=_DICE, alpha=0.22, linewidth=0,
            label="quartiles" if x == 0 else None,
        )  # fmt: skip
        for value, colour, style, name in (
            (it.dice.median, _DICE, "-", "median"),
            (it.case_dice, _DICE, "--", "mean of cases"),
            (it.nsd.median, _NSD, ":", "NSD, median of objects"),
        ):
            axes.plot(
                [x - 0.28, x + 0.28], [value, value], color=colour, linestyle=style, linewidth=2,
                label=name if x == 0 else None,
            )  # fmt: skip
    names = {"none": "without a prompt", "tight": "tight box", "relaxed": "relaxed box"}
    axes.set_xticks(
        range(len(summary.rounds)), [names.get(it.name, it.name) for it in summary.rounds]
    )
    axes.set_xlim(-0.6, len(summary.rounds) - 0.4)
    _key(axes)


def _key(axes: Axes) -> None:
    """What the lines mean, at the top where no line runs."""
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5, frameon=False,
        labelcolor=_TEXT, borderaxespad=0.4,
    )  # fmt: skip


def _style(axes: Axes) -> None:
    # space above 1 for the key
    axes.set_ylim(-0.03, 1.2)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(axis="y", color=_QUIET, alpha=0.22, linewidth=0.7)
    axes.tick_params(colors=_QUIET, labelcolor=_TEXT, length=3)
    axes.xaxis.label.set_color(_QUIET)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_QUIET)


def _thumbnails(figure: Figure, found: Sequence[Thumbnail], top: float, title: str) -> None:
    """A row of objects, with what they are called above them."""
    step = (_RIGHT - _MIDDLE) / _EACH
    width = step - 0.008
    height = width * _SIZE_INCH[0] / _SIZE_INCH[1]
    if found:
        _write(figure, _MIDDLE, top, title, size=11, weight="bold")
    for number, it in enumerate(found):
        left = _MIDDLE + number * step
        _write(figure, left, top - 0.038, f"{it.dice:.2f}  {it.name}", size=9, right=left + width)
        _write(figure, left, top - 0.065, it.case, size=8, colour=_QUIET, right=left + width)
        axes = figure.add_axes((left, top - 0.083 - height, width, height), facecolor="black")
        axes.imshow(it.image, "gray", vmin=0, vmax=255, aspect=it.aspect, interpolation="bilinear")
        for mask, colour, line in ((it.reference, _REFERENCE, 2.6), (it.mask, _MASK, 1.2)):
            if mask.any():
                # no edge where a mask only leaves the view, unless it fills all of it
                framed = np.pad(mask, 1, mode="constant" if mask.all() else "edge")
                rows, columns = (np.arange(n) - 1 for n in framed.shape)
                axes.contour(columns, rows, framed, levels=[0.5], colors=colour, linewidths=line)
        rows, columns = it.image.shape
        axes.set(xticks=[], yticks=[], xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
        axes.spines[:].set_visible(False)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    x, y = _MIDDLE, 0.06
    for text, colour, line in (("reference", _REFERENCE, 2.6), ("found", _MASK, 1.2)):
        figure.add_artist(Line2D([x, x + 0.025], [y, y], color=colour, linewidth=line))
        _write(figure, x + 0.032, y, text, size=9)
        x += 0.125


def _write(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    *,
    size: float = 10,
    colour: str = _TEXT,
    weight: str = "normal",
    right: float = _RIGHT,
) -> None:
    """A line of text; what does not fit before `right` is left out of its middle."""
    text = " ".join(text.split())
    # names may hold dollars, which are no formula
    line = figure.text(
        x, y, text, color=colour, fontsize=size, weight=weight, va="center", parse_math=False
    )
    space = (right - x) * figure.bbox.width
    kept = len(text)
    while kept > 2 and line.get_window_extent().width > space:
        kept -= 1
        head = (kept + 1) // 2  # beginnings and ends tell most
        line.set_text(f"{text[:head]}…{text[len(text) - (kept - head) :]}")
