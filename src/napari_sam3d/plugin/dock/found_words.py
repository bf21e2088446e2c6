"""Sentences about what a model found by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam3d.engine.proposing import Proposal
    from napari_sam3d.prompts import Found

_NAMED = 4
"""Classes named in the status line; the list of objects has them all."""


def what_was_found(
    here: tuple[Found, ...], found: tuple[Found, ...], classes: tuple[str, ...], seconds: float
) -> str:
    """The sentence about a segmentation without clicks."""
    took = f"in {seconds:.1f} s"
    if not found:
        return f"The model found none of its {len(classes)} classes {took}."
    covered = len(found) - len(here)
    named = ", ".join(it.name for it in here[:_NAMED]) + ", ..." * (len(here) > _NAMED)
    text = f"Found {len(here)} of {len(classes)} {took}: {named}." if here else ""
    if covered:
        text += f" {covered} more lie on objects that are there already."
    return text.strip()


def what_was_proposed(
    here: tuple[Found, ...], proposals: tuple[Proposal, ...], seconds: float
) -> str:
    """The sentence about what an adapter marked by itself."""
    named = ", ".join(it.name for it in here[:_NAMED]) + ", ..." * (len(here) > _NAMED)
    text = f"Proposed {len(here)} of {len(proposals)} in {seconds:.1f} s"
    text += f": {named}. Correct them by clicks, or paint." if here else "."
    reasons = dict.fromkeys(it.reason for it in proposals if it.reason)
    return " ".join([text, *reasons])
