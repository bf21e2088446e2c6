"""The protocol of SAM-Med3D: clicks at random where a mask is wrong, on a crop about the object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects

from napari_sam3d.engine.devices import autocast
from napari_sam3d.engine.evaluation.results import Played
from napari_sam3d.engine.evaluation.sam_med3d_crop import ObjectCrop, Stored, crop_of
from napari_sam3d.engine.models.sam_med3d import Embedding
from napari_sam3d.engine.models.sam_med3d.clicks import (
    ALL_CLICKS,
    Answer,
    network_answers,
    simulate_clicks,
)
from napari_sam3d.engine.models.sam_med3d.crops import SIZE
from napari_sam3d.engine.models.sam_med3d.preprocess import normalise
from napari_sam3d.engine.prediction import Prediction, Predictor
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import EvaluationSettings

_SEED = 233
_CLICKS = 10  # the largest budget of the paper's tables (arXiv:2310.15161): 1, 3, 5, 10


def play_sam_med3d(
    predictor: Predictor, case: Labelled, settings: EvaluationSettings
) -> Iterator[Played]:
    """Rounds "1" to "10", as the current scripts of SAM-Med3D play them.

    That is `validate_paired_img_gt` (uni-medical/SAM-Med3D, utils/infer_utils.py, 7cead58).
    Each object by itself: voxels of 1.5 mm, 128 a side about the middle of its box. The first click
    is a voxel of the object, each later one any wrong voxel with the same chance, or one of the
    object where none is wrong. All clicks so far and the logits of the round before are told. Masks
    go back to the volume by the nearest voxel, where objects of higher labels take voxels from
    those of lower ones, as the scripts write one label map. An object that vanishes on voxels of
    1.5 mm is not asked for, and its masks are empty.

    The scripts seed numpy with 233 before each case and draw one number a click, which is done
    here; nothing carries over from case to case, and what one object of a case has drawn, the
    following ones do not draw. So clicks are theirs voxel for voxel when all labels of a case are
    played; with fewer labels or clicks, they are those of scripts given the same. Nothing depends
    on `settings.seed`.

    SAM-Med3D's network is given exactly the crop, zeros outside of the volume; clicks can fall on
    what it marks there. Other models are given what the volume has of the crop as a volume of its
    own, and choose what they look at in there; a negative click is left out for those that do not
    take any.

    Raises
    ------
    ValueError
        With one sentence, for a model that takes no clicks.
    """
    spec = predictor.spec
    if "foreground" not in spec.prompts:
        raise ValueError(
            f"{spec.name} takes no clicks, and the protocol sam-med3d gives nothing else; "
            "choose another protocol."
        )
    own = spec.family == "sam_med3d"
    size = spec.patch_shape[0] if own else SIZE
    clicks = settings.clicks or _CLICKS
    stored, draws = Stored(case.volume), np.random.RandomState(_SEED)
    found = []
    for label, window in enumerate(find_objects(case.labels), 1):
        if window is None:
            continue
        crop = crop_of(stored, case.labels, label, window, size)
        rounds = []
        if crop is not None:
            reference = crop.sample(case.labels, nearest=True).numpy() == label
            answer = (_network if own else _predictions)(predictor, crop)
            for click in simulate_clicks(answer, reference, clicks, ALL_CLICKS, draws):
                said = (Point(crop.position(click.voxel), click.positive),) if click.heard else ()
                rounds.append(_Round(np.packbits(click.mask), said, click.seconds))
        found.append(_Object(label, crop, rounds))
    yield from _written(case, found, clicks)


@dataclass(frozen=True, eq=False)
class _Round:
    """The mask of a crop after a click, eight voxels a byte, and what was said."""

    packed: np.ndarray
    said: tuple[Point, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class _Object:
    """The rounds of an object; none when it has no voxel on the lattice, and so no crop."""

    label: int
    crop: ObjectCrop | None
    rounds: list[_Round]


def _written(case: Labelled, found: list[_Object], clicks: int) -> Iterator[Played]:
    """The masks on the volume, round by round, from the label written last to the first."""
    for n in range(clicks):
        taken = np.zeros(case.volume.grid.shape, bool)
        for it in reversed(found):
            if it.crop is None:
                yield Played(it.label, str(n + 1), np.zeros_like(taken), (), 0.0)
                continue
            played = it.rounds[n]
            size = it.crop.size
            bits = np.unpackbits(played.packed, count=size**3)
            mask = it.crop.paste(bits.reshape(size, size, size).astype(bool))
            if len(found) > 1:
                mask &= ~taken
                taken |= mask
            yield Played(it.label, str(n + 1), mask, played.said, played.seconds)


def _network(predictor: Predictor, crop: ObjectCrop) -> Answer:
    """What SAM-Med3D says on the crop, as the scripts run it."""

    def encode() -> Embedding:
        image = normalise(crop.sample(crop.stored.volume.data))
        return predictor.model.encode_image(image[None, None].to(predictor.device))

    answer = network_answers(predictor.model, encode, crop.size, ALL_CLICKS)

    def precisely(voxel: np.ndarray, positive: bool) -> np.ndarray | None:
        with torch.inference_mode(), autocast(predictor.device, predictor.precision):
            return answer(voxel, positive)

    return precisely


def _predictions(predictor: Predictor, crop: ObjectCrop) -> Answer:
    """What any other model says on the crop."""
    prompts = Prompts()
    previous: Prediction | None = None

    def answer(voxel: np.ndarray, positive: bool) -> np.ndarray | None:
        nonlocal prompts, previous
        if not positive and "background" not in predictor.spec.prompts:
            return None
        prompts = prompts.add(Point(crop.to_volume(voxel), positive))
        previous = predictor.predict(crop.volume, prompts, previous)
        mask = crop.from_volume(previous.full(crop.volume.grid.shape))
        return np.where(mask, np.float32(1), np.float32(-1))

    return answer
