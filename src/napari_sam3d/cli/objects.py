"""From an image to the labels of its mask, with a progress bar for somebody at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_sam3d.cli.progress import DownloadBar
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari_sam3d.engine.adapter_facts import AdapterFacts
    from napari_sam3d.engine.label_maps import LabelMap
    from napari_sam3d.engine.prediction import Predictor

_SAY = "Say where the object is with --point i,j,k."


def segment_objects(
    volume: Volume,
    prompts: Mapping[int, Prompts],
    settings: InferenceSettings,
    quiet: bool,
    names: Mapping[int, str] | None = None,
) -> LabelMap:
    """What prompts make of a volume.

    Parameters
    ----------
    volume
        The image.
    prompts
        What was said about each object, by its label; the first to claim a voxel keeps it.
    settings
        Model, device, precision and threshold.
    quiet
        Without a progress bar, which is otherwise drawn on stderr when that is a terminal.
    names
        Of the objects that have one.
    """
    from napari_sam3d.engine.label_maps import prompted

    with _bar(len(prompts) + 1, quiet) as bar:
        predictor = _load(settings, quiet, bar)

        def told(number: int) -> None:
            bar.update()
            bar.set_description(f"Object {number}")

        return prompted(predictor, volume, prompts, names, told)


def segment_classes(volume: Volume, settings: InferenceSettings, quiet: bool) -> LabelMap:
    """All classes that a model finds without a prompt; parameters as for `segment_objects`."""
    from napari_sam3d.engine.label_maps import classified

    with _bar(100, quiet, unit="%") as bar:
        predictor = _load(settings, quiet, bar)
        bar.set_description("Segmenting")
        return classified(predictor, volume, _share(bar))


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
) -> LabelMap:
    """What an adapter proposes without a click; ValueError when it finds none of its classes.

    Parameters
    ----------
    volume, settings, quiet
        As for `segment_objects`.
    facts
        What is told of the adapter.
    """
    from napari_sam3d.engine.label_maps import proposed

    with _bar(100, quiet, unit="%") as bar:
        predictor = _load(settings, quiet, bar)
        bar.set_description("Looking")
        try:
            return proposed(predictor, volume, facts, _share(bar))
        except ValueError as error:
            raise ValueError(f"{error} {_SAY}") from error


@contextmanager
def _bar(total: int, quiet: bool, **looks: Any) -> Iterator[Any]:
    from tqdm import tqdm

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=total, leave=False, disable=hidden, file=sys.stderr, **looks) as bar:
        yield bar


def _load(settings: InferenceSettings, quiet: bool, bar: Any) -> Predictor:
    from napari_sam3d.engine.predictor import load_predictor

    bar.set_description(f"Loading {settings.model}")
    with DownloadBar(settings.model, quiet) as download:
        return load_predictor(settings, download)


def _share(bar: Any) -> Callable[[float], object]:
    return lambda share: bar.update(round(100 * share) - bar.n)
