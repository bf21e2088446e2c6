"""From an adapter alone to the labels of one mask: what it proposes without a click."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.cli.objects import FoundObject, found_object
from napari_sam3d.cli.progress import DownloadBar
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari_sam3d.engine.adapter_facts import AdapterFacts

_SAY = "Say where the object is with --point i,j,k."


def check_proposes(adapter: str) -> AdapterFacts:
    """What is told of an adapter; ValueError with a sentence when it can propose nothing."""
    from napari_sam3d.engine.adapter_facts import read_facts, refusal
    from napari_sam3d.engine.places import adapter_path

    facts = read_facts(adapter_path(adapter))
    why = refusal(facts)
    if why:
        raise ValueError(f"{why} {_SAY}")
    return facts


def segment_proposed(
    volume: Volume, facts: AdapterFacts, settings: InferenceSettings, quiet: bool
) -> tuple[np.ndarray, list[FoundObject], list[str]]:
    """Label map of all classes of an adapter, what is in it, and why others are not.

    Parameters
    ----------
    volume, settings, quiet
        As for `segment_objects`.
    facts
        What is told of the adapter.

    Raises
    ------
    ValueError
        When no class was found.
    """
    from tqdm import tqdm

    from napari_sam3d.engine.predictor import load_predictor
    from napari_sam3d.engine.proposing import propose

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=100, leave=False, disable=hidden, file=sys.stderr, unit="%") as progress:
        progress.set_description(f"Loading {settings.model}")
        with DownloadBar(settings.model, quiet) as bar:
            predictor = load_predictor(settings, bar)
        progress.set_description("Looking")
        started = time.perf_counter()
        proposals = propose(
            predictor,
            volume,
            facts,
            progress=lambda share: progress.update(round(100 * share) - progress.n),
        )
        seconds = time.perf_counter() - started
    reasons = [it.reason for it in proposals if it.reason]
    if len(reasons) == len(proposals):
        raise ValueError(f"{' '.join(reasons)} {_SAY}")
    largest = max(it.label for it in proposals)
    labels = np.zeros(volume.grid.shape, np.min_scalar_type(largest))
    objects = []
    for it in proposals:
        if it.found is None:
            continue
        block = labels[it.found.window]
        own = it.found.mask & (block == 0)
        block[own] = it.label
        found = found_object(it.label, own, it.found.window, volume, seconds)
        objects.append(replace(found, name=it.name, score=round(float(it.score), 4)))
    return labels, objects, reasons
