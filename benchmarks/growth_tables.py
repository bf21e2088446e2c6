"""What `growth.py` found, in tables with ratios to the smallest case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from report import table, times

FLAT = 1.5
"""Times the second click that a later one may take."""
COLUMNS = {
    "side": {
        "array_mb": ("array MB", 1, True),
        "read_s": ("read s", 3, True),
        "first_click_s": ("first click s", 2, True),
        "later_click_s": ("later click s", 2, True),
        "extra_mb": ("extra MB", 0, True),
        "dice": ("Dice", 2, False),
    },
    "objects": {
        "session_s": ("all s", 2, True),
        "extra_mb": ("extra MB", 0, True),
        "dice": ("Dice", 2, False),
    },
    "clicks": {"click_s": ("s a click", 3, True)},
}
"""For each way to grow its columns: head, digits, and whether a ratio stands beside it."""

Rows = Sequence[Mapping[str, Any]]


def tables(rows: Rows) -> str:
    """Markdown: a table for each way to grow."""
    parts = []
    for by, columns in COLUMNS.items():
        own = [row for row in rows if row["by"] == by]
        if not own:
            continue
        # the first click looks at more patches than all others
        base = own[1] if by == "clicks" and len(own) > 1 else own[0]
        heads, lines = [by], [[str(row["value"])] for row in own]
        for key, (head, digits, compared) in columns.items():
            heads += [head, "times"] if compared else [head]
            for line, row in zip(lines, own, strict=True):
                line.append(f"{row[key]:.{digits}f}")
                if compared:
                    line.append(times(row[key], base[key]))
        parts.append(table(heads, lines))
        if by == "clicks":
            parts.append(flatness(rows))
    return "\n\n".join(parts)


def flatness(rows: Rows) -> str:
    """Whether a late click costs what an early one does."""
    own = {row["value"]: row["click_s"] for row in rows if row["by"] == "clicks"}
    later = [count for count in sorted(own) if count > 1]
    if len(later) < 2:
        return "Too few clicks to tell whether their seconds are flat."
    ratio = own[later[-1]] / own[later[0]]
    word = "flat" if ratio <= FLAT else "not flat"
    told = f"click {later[-1]} takes {ratio:.1f} times as long as click {later[0]}"
    return f"Seconds per click are {word}: {told}."


def headline(rows: Rows) -> str:
    """The largest volume against the smallest, and the clicks, in a line."""
    own = [row for row in rows if row["by"] == "side"]
    if len(own) < 2:
        return flatness(rows)
    low, high = own[0], own[-1]
    voxels = (high["value"] / low["value"]) ** 3
    first, later = high["first_click_s"], high["later_click_s"]
    return (
        f"{voxels:.0f} times the voxels take {times(first, low['first_click_s'])} times as long at "
        f"the first click ({first:.2f} s), {times(later, low['later_click_s'])} times at a later "
        f"one ({later:.2f} s), and {high['extra_mb']:.0f} MB beside the array. {flatness(rows)}"
    )
