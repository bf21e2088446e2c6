"""What a model that was tuned would mark in a new volume, before anybody has clicked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_sam3d.engine.adapter_facts import AdapterFacts, refusal
from napari_sam3d.engine.brightness import Ranks
from napari_sam3d.engine.class_prior import ClassPrior, unlike, unlikely
from napari_sam3d.engine.prediction import Prediction, Predictor
from napari_sam3d.prompts import Found, Point, Prompts
from napari_sam3d.volume import Point3, Volume
from napari_sam3d.windows import around, moved

_TRIED = 7  # clicks for each class
_FLOOR = 0.03  # spread of a place that few cases say too little of, across the volume
_SIZES = 0.2  # the same of an edge, over the edge
_TONES = 0.1  # the same of the brightness
# on training patients the mean was 0.22 to 0.64 for what an adapter was tuned on, and 0.00 to 0.42
# on images of other organs, most of which their extent tells apart
_BELOW = 0.15  # mean merit below which no mask is shown
_GOOD = 0.7  # of the best merit, from which on an answer has a vote


@dataclass(frozen=True, eq=False)
class Proposal:
    """What came of the search for one class.

    Parameters
    ----------
    label
        Its value in the label maps of the training.
    name
        What it is called.
    found
        The mask; None when nothing was found that is worth being shown.
    score
        Overlap with the truth (IoU) that the model expects, 0 to 1; 0 without a mask.
    reason
        One sentence that says why there is no mask; empty when there is one.
    """

    label: int
    name: str
    found: Found | None
    score: float = 0.0
    reason: str = ""


def propose(
    predictor: Predictor,
    volume: Volume,
    facts: AdapterFacts,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[float], object] = lambda share: None,
) -> list[Proposal]:
    """Look for each class of an adapter where it is to be expected.

    Parameters
    ----------
    predictor
        The model with the adapter in it.
    volume
        The image.
    facts
        What is told of the adapter.
    cancelled
        Asked now and then whether to stop.
    progress
        Told the share that is done.

    Returns
    -------
    list
        One for each class, by ascending label; voxels may be claimed by several.

    Raises
    ------
    ValueError
        With one sentence, when nothing can be proposed with the adapter.
    Cancelled
        When `cancelled()` became true on the way.
    """
    why = refusal(facts)
    if why:
        raise ValueError(f"{why} Click on an object.")
    ranks = Ranks(volume)
    proposals = []
    for number, prior in enumerate(facts.priors):
        reason = unlikely(prior) or unlike(prior, volume.grid.extent_mm.tolist())
        if reason:
            proposals.append(Proposal(prior.label, prior.name, None, reason=reason))
            continue
        answers = []
        for answer in _answers(predictor, volume, prior, ranks, cancelled):
            answers.append(answer)
            progress((number + len(answers) / _TRIED) / len(facts.priors))
        proposals.append(_proposal(prior, answers, predictor.spec.name))
    progress(1.0)
    return proposals


@dataclass(frozen=True, eq=False)
class _Answer:
    """What the model said to one click, and how good and likely that is, 0 to 1."""

    prediction: Prediction
    merit: float


def _answers(
    predictor: Predictor,
    volume: Volume,
    prior: ClassPrior,
    ranks: Ranks,
    cancelled: Callable[[], bool],
) -> Iterator[_Answer]:
    """Answers to clicks where the class may be."""
    own = _tuned_to(predictor, prior)
    known: Prediction | None = None
    for point in candidates(volume, prior, ranks)[:_TRIED]:
        prediction = own.predict(volume, Prompts((Point(point),)), known, cancelled)
        if own.spec.way == "fixed":  # heavy patches, which the next point is asked about, too
            known = _forgotten(prediction)
        yield _Answer(prediction, prediction.score * likeness(prediction, volume, prior, ranks))


def candidates(volume: Volume, prior: ClassPrior, ranks: Ranks) -> list[Point3]:
    """Voxels where the class may be, the likeliest first.

    They lie on a coarse grid within the spread of its place; those as bright as the class and
    close to its expected place come first.

    Parameters
    ----------
    volume
        The image.
    prior
        What to expect of the class.
    ranks
        Of the image.
    """
    grid = volume.grid
    shape = np.asarray(grid.shape)
    middle = np.asarray(prior.centre) * shape - 0.5
    steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    reach = _place_spread(prior) * shape
    points = np.clip(np.rint(middle + steps * reach), 0, shape - 1)
    points = np.unique(points.astype(int), axis=0)
    radius = np.maximum(np.asarray(prior.size_mm) / np.asarray(grid.spacing) / 8, 0).astype(int)
    distance = (((points - middle) / np.maximum(reach, 1e-6)) ** 2).sum(1)
    tones = np.array([_tone(volume, at, radius, ranks) for at in points])
    tone_spread = np.hypot(prior.brightness_spread, _TONES)
    unlike = distance / 3 + ((tones - prior.brightness) / tone_spread) ** 2
    order = np.argsort(unlike, kind="stable")
    return [(float(z), float(y), float(x)) for z, y, x in points[order].tolist()]


def likeness(prediction: Prediction, volume: Volume, prior: ClassPrior, ranks: Ranks) -> float:
    """How much a mask is like the class in place, size and brightness, 0 to 1."""
    mask, window = prediction.mask, prediction.window
    if not mask.any():
        return 0.0
    grid = volume.grid
    voxels = np.argwhere(mask)
    start = np.array([part.start for part in window])
    centre = (voxels.mean(0) + start + 0.5) / np.asarray(grid.shape)
    edges = (np.ptp(voxels, axis=0) + 1) * np.asarray(grid.spacing)
    size, size_spread = np.asarray(prior.size_mm), np.asarray(prior.size_spread_mm)
    tone = float(ranks.of(np.asarray(volume.data[window])[mask].astype(np.float32)).mean())
    apart = [
        *((centre - prior.centre) / _place_spread(prior)),
        *(np.log(edges / size) / np.hypot(_more(prior) * size_spread / size, _SIZES)),
        (tone - prior.brightness) / np.hypot(_more(prior) * prior.brightness_spread, _TONES),
    ]
    return float(np.exp(-0.5 * np.mean(np.square(apart))))


def _place_spread(prior: ClassPrior) -> np.ndarray:
    return np.hypot(_more(prior) * np.asarray(prior.centre_spread), _FLOOR)


def _more(prior: ClassPrior) -> float:
    """How much farther than the spread a new case lies, for the mean is known by few as well."""
    return float(np.sqrt(1 + 1 / prior.cases))


def _tone(volume: Volume, at: np.ndarray, radius: np.ndarray, ranks: Ranks) -> float:
    """Mean brightness about a voxel."""
    z, y, x = (
        slice(max(0, c - r), c + r + 1) for c, r in zip(at.tolist(), radius.tolist(), strict=True)
    )
    return float(ranks.of(np.asarray(volume.data[z, y, x], np.float32)).mean())


def _tuned_to(predictor: Predictor, prior: ClassPrior) -> Predictor:
    """The same network, whose patches begin at the sizes of one class where they can."""
    if predictor.spec.way != "following":
        return predictor
    edge, spread = np.asarray(prior.size_mm), np.asarray(prior.size_spread_mm)
    low, high = np.max(np.maximum(edge - spread, edge / 2)), np.max(edge + spread)
    spec = replace(predictor.spec, object_mm=(float(low), float(high)))
    return type(predictor)(predictor.model, spec, predictor.settings)


def _forgotten(prediction: Prediction) -> Prediction:
    """The patches of a prediction, as if nothing had been said about them."""
    return replace(
        prediction,
        logits=np.zeros_like(prediction.logits),
        views=tuple(replace(view, logits=None) for view in prediction.views),
    )


def _proposal(prior: ClassPrior, answers: Sequence[_Answer], model: str) -> Proposal:
    """What most of the good answers say."""
    reason = f"{prior.name} was not found where it is to be expected."
    nothing = Proposal(prior.label, prior.name, None, reason=reason)
    if np.mean([it.merit for it in answers]) < _BELOW:
        return nothing
    best = max(it.merit for it in answers)
    good = [it for it in answers if it.merit >= _GOOD * best]
    merits = np.array([it.merit for it in good])
    window = around(it.prediction.window for it in good)
    masks = np.array([moved(it.prediction.mask, it.prediction.window, window) for it in good])
    mask = np.tensordot(merits / merits.sum(), masks.astype(np.float32), 1) > 0.5
    if not mask.any():
        return nothing
    score = float(np.average([it.prediction.score for it in good], weights=merits))
    return Proposal(prior.label, prior.name, Found(model, prior.name, mask, window), score)
