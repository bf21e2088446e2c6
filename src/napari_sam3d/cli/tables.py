"""Tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of texts, each column as wide as its widest text; the first has the titles."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{t:{w}}" for t, w in zip(line, widths, strict=True)).rstrip())
