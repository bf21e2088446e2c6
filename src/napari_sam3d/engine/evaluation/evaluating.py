"""Case by case from labelled volumes to scores: prompts by a protocol, masks, their scores."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_sam3d.engine.evaluation.objects import Target, choose, contrast
from napari_sam3d.engine.evaluation.protocols import PROTOCOLS, tolerance, usual_rounds
from napari_sam3d.engine.evaluation.results import CaseScores, ObjectScores, Played, Round
from napari_sam3d.engine.evaluation.results_folder import ResultsFolder
from napari_sam3d.engine.evaluation.thumbnails import Thumbnail, thumbnail
from napari_sam3d.engine.memory import Peak, is_out_of_memory
from napari_sam3d.engine.metrics import dice, surface_scores
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.io.datasets import CaseFiles, given_boxes, read_case
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Box, Point
from napari_sam3d.settings import EvaluationSettings


@dataclass(frozen=True)
class Looking:
    """A mask was scored: how far the case is, 0 to 1, and what was looked at."""

    case: str
    share: float
    what: str


@dataclass(frozen=True)
class Scored:
    """A case is done; `known` when it was done by an earlier run of the same evaluation."""

    scores: CaseScores
    known: bool


def evaluate(
    predictor: Predictor,
    cases: Sequence[CaseFiles],
    settings: EvaluationSettings,
    folder: ResultsFolder,
    read: Callable[[CaseFiles], Labelled] = read_case,
) -> Generator[Looking | Scored, None, None]:
    """Evaluate a model, case by case; closing the generator stops it.

    Parameters
    ----------
    predictor
        Runs the model.
    cases
        Where the images and their labels are; only one is in memory at a time.
    settings
        The protocol, and what is looked at.
    folder
        Where the scores of each case are kept; those of an earlier run are taken from there,
        unless its files have changed since or it failed.
    read
        Reads a case.

    Yields
    ------
    Looking, Scored
        A case that cannot be read or segmented is told by the `error` of its scores.
    """
    for files in cases:
        known = folder.known(files)
        if known is not None:
            yield Scored(known, known=True)
            continue
        started = time.perf_counter()
        with Peak(predictor.device) as peak:
            try:
                objects, pictures = yield from _one(predictor, files, read(files), settings)
                error = ""
            except (ValueError, OSError, MemoryError, RuntimeError) as reason:
                objects, pictures, error = (), (), _sentence(reason, files.name)
        seconds = round(time.perf_counter() - started, 3)
        scores = CaseScores(files.name, objects, seconds, peak.bytes, error)
        folder.keep(files, scores, pictures)
        yield Scored(scores, known=False)


def _one(
    predictor: Predictor, files: CaseFiles, whole: Labelled, settings: EvaluationSettings
) -> Generator[Looking, None, tuple[tuple[ObjectScores, ...], tuple[Thumbnail, ...]]]:
    """The scores of the objects of one case, and a picture of each."""
    case, targets = choose(whole, settings)
    if settings.each == "instance" and "automatic" in predictor.spec.prompts:
        raise ValueError(f"{predictor.spec.name} finds classes, not instances; use --each class.")
    scorers = {it.label: _Scorer(case, it, tolerance(settings)) for it in targets}
    boxes = given_boxes(files, whole) if settings.each == "class" else None
    told, expected = 0, usual_rounds(settings) * len(targets)
    for played in PROTOCOLS[settings.protocol].play(predictor, case, settings, boxes):
        scorer = scorers[played.label]
        scorer.add(played)
        told += 1
        share = min(told / expected, 1.0)
        yield Looking(case.name, share, f"{scorer.name} {played.round}")
    silent = [it.name for it in scorers.values() if not it.rounds]
    if silent:
        raise ValueError(f"{case.name}: the protocol gave no mask of {', '.join(silent)}.")
    return (
        tuple(it.scores() for it in scorers.values()),
        tuple(it.picture for it in scorers.values() if it.picture is not None),
    )


class _Scorer:
    """Scores the masks of one object as they come."""

    def __init__(self, case: Labelled, target: Target, tolerance_mm: float) -> None:
        self._case, self._target, self._tolerance = case, target, tolerance_mm
        self.name = target.name
        self.rounds: list[Round] = []
        self.picture: Thumbnail | None = None
        self._last = b""

    def add(self, played: Played) -> None:
        """Score a mask; one that is as it was before is not measured again."""
        digest = hashlib.blake2b(np.packbits(played.mask).tobytes(), digest_size=16).digest()
        said, seconds = _rows(played.said), round(played.seconds, 4)
        if self.rounds and digest == self._last:
            self.rounds.append(
                replace(self.rounds[-1], name=played.round, seconds=seconds, said=said)
            )
            return
        self._last = digest
        reference = self._case.labels == self._target.label
        overlap = dice(played.mask, reference)
        spacing = self._case.volume.grid.spacing
        surface = surface_scores(played.mask, reference, spacing, [self._tolerance])
        self.rounds.append(
            Round(played.round, overlap, surface.nsd[0], surface.hd95_mm, seconds, said)
        )
        self.picture = thumbnail(
            self._case.volume,
            reference,
            played.mask,
            case=self._case.name,
            name=self.name,
            dice=overlap,
        )

    def scores(self) -> ObjectScores:
        """All of it."""
        image, labels, target = self._case.volume.data, self._case.labels, self._target
        voxels = int((labels[target.window] == target.label).sum())
        return ObjectScores(
            label=target.label,
            name=target.class_name,
            class_label=target.class_label,
            voxels=voxels,
            volume_ml=round(voxels * self._case.volume.grid.voxel_ml, 6),
            contrast=round(contrast(image, labels, target), 4),
            rounds=tuple(self.rounds),
        )


def _rows(said: Sequence[Point | Box]) -> tuple[tuple[float, ...], ...]:
    return tuple(
        (*it.position_voxel, float(it.positive)) if isinstance(it, Point) else (*it.low, *it.high)
        for it in said
    )


def _sentence(reason: BaseException, case: str) -> str:
    """What went wrong on one line, without the name of the case, which is told beside it."""
    if is_out_of_memory(reason):
        return "There is not enough memory for this case; close other programs or use the CPU."
    told = " ".join(str(reason).split()) or type(reason).__name__
    return told.removeprefix(f"{case}: ")
