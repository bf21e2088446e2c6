"""The protocols by name: how a model is prompted, and with what tolerance it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from napari_sam3d.engine.evaluation.cvpr25 import play_cvpr25
from napari_sam3d.engine.evaluation.ma_sam import play_ma_sam
from napari_sam3d.engine.evaluation.results import Played
from napari_sam3d.engine.evaluation.sam3d_adapter import play_sam3d_adapter
from napari_sam3d.engine.evaluation.sam_med3d import play_sam_med3d
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Box
from napari_sam3d.settings import EvaluationSettings

Boxes = Mapping[int, Box] | None
Play = Callable[[Predictor, Labelled, EvaluationSettings, Boxes], Iterator[Played]]


@dataclass(frozen=True)
class Protocol:
    """One way to prompt and to judge.

    Parameters
    ----------
    play
        Prompts a model and yields its masks. The last argument are the boxes that came with the
        case, by label; None when none could.
    tolerance_mm
        Of the surface Dice.
    rounds
        Of an object, as most models play it without other settings.
    """

    play: Play
    tolerance_mm: float
    rounds: int


def _without_boxes(
    play: Callable[[Predictor, Labelled, EvaluationSettings], Iterator[Played]],
) -> Play:
    """A protocol that draws what it says by itself."""
    return lambda predictor, case, settings, boxes: play(predictor, case, settings)


PROTOCOLS = {
    "cvpr25": Protocol(play_cvpr25, 2.0, 6),
    "sam-med3d": Protocol(_without_boxes(play_sam_med3d), 1.0, 10),
    "3dsam-adapter": Protocol(_without_boxes(play_sam3d_adapter), 5.0, 3),
    # its authors give no tolerance: that of 3DSAM-adapter, beside whose figures theirs stand
    "ma-sam": Protocol(_without_boxes(play_ma_sam), 5.0, 2),
}


def tolerance(settings: EvaluationSettings) -> float:
    """Tolerance of the surface Dice in millimetres."""
    return settings.nsd_tolerance or PROTOCOLS[settings.protocol].tolerance_mm


def usual_rounds(settings: EvaluationSettings) -> int:
    """How many rounds an object has with most models, by which progress is told."""
    if settings.clicks and settings.protocol in ("cvpr25", "sam-med3d"):
        return settings.clicks + (settings.protocol == "cvpr25")  # the box
    return PROTOCOLS[settings.protocol].rounds
