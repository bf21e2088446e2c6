"""The table of keys, from what the dock's own help shows."""

from __future__ import annotations


def key_table() -> str:
    """A row for each key or button of the mouse, in Markdown."""
    from napari_sam3d.plugin.dock.keys import MEANINGS

    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {does} |" for key, does in MEANINGS)])
