"""The protocol of the CVPR 2025 challenge for interactive 3D segmentation: a box, then clicks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from scipy.ndimage import find_objects

from napari_sam3d.engine.clicks import next_click
from napari_sam3d.engine.evaluation.boxes import challenge_box, generator_of, true_box
from napari_sam3d.engine.evaluation.overlaps import put_together
from napari_sam3d.engine.evaluation.results import Played
from napari_sam3d.engine.prediction import Prediction, Predictor
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Box, Point, Prompts, Said
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Volume, Window
from napari_sam3d.windows import around

_CLICKS = 5


def play_cvpr25(
    predictor: Predictor,
    case: Labelled,
    settings: EvaluationSettings,
    boxes: Mapping[int, Box] | None = None,
) -> Iterator[Played]:
    """Prompt a model as the challenge does, all objects of a case together, round by round.

    Source: JunMa11/CVPR-MedSegFMCompetition, CVPR25_iter_eval.py at 748e862. After round "box"
    come rounds "1" to "5" with one click for each object, put by `next_click` where the labels of
    all objects together are wrong about this one. Clicks add to what was said before, and the
    model goes on from its last answer. An object without an error gets no click, and the model is
    not asked about it in that round.

    What differs between models: those that take no box begin with the first click, and where the
    challenge would put a click of a sign that a model does not take, it gets none. What differs
    from the challenge: boxes are drawn for all objects, those of microscopy as well, unless
    `boxes` are given; nobody stops a slow model; it sees the image as it is, not brought to 0 to
    255; and masks become labels here, by `put_together`, not in each model.

    Parameters
    ----------
    predictor
        Runs the model.
    case
        Whose labels are the objects.
    settings
        Which box, and how many clicks.
    boxes
        Those that come with a file of the challenge, by label: then the boxes of "cvpr25", and
        objects without one begin with the first click. None draws them.

    Yields
    ------
    Played
        In each round all objects by ascending label; masks do not overlap.

    Raises
    ------
    ValueError
        When the model takes neither clicks nor the box.
    """
    takes = predictor.spec.prompts
    given = boxes if settings.box == "cvpr25" else None
    boxed = "box" in takes and settings.box != "none" and given != {}
    if not boxed and "foreground" not in takes:
        other = "another box" if "box" in takes else "another protocol"
        raise ValueError(f"{predictor.spec.name} takes no clicks; choose {other}.")
    rounds = ["box"] * boxed + [str(n + 1) for n in range(settings.clicks or _CLICKS)]
    players = [
        _Player(label, window)
        for label, window in enumerate(find_objects(case.labels), 1)
        if window is not None
    ]
    labels = np.zeros_like(case.labels)
    for name in rounds:
        for it in players:
            if name == "box":
                it.hear(_box(case, it.label, settings.box, given))
            else:
                it.hear(_click(it, labels, case.labels, takes))
            it.answer(predictor, case.volume)
        labels = put_together(
            {it.label: it.prediction for it in players if it.prediction is not None},
            case.volume.grid,
            case.labels.dtype,
        )
        for it in players:
            yield Played(it.label, name, labels == it.label, it.heard, it.seconds)


class _Player:
    """One object: what was said about it, and the model's last answer."""

    def __init__(self, label: int, window: Window) -> None:
        self.label = label
        self.window = window
        self.heard: tuple[Point | Box, ...] = ()
        self.prediction: Prediction | None = None
        self.seconds = 0.0
        self._prompts = Prompts()

    def hear(self, said: Point | Box | None) -> None:
        """Be told what is said in this round, None when nothing is."""
        self.heard = () if said is None else (said,)
        if isinstance(said, Point):
            self._prompts = self._prompts.add(said)
        elif said is not None:
            self._prompts = self._prompts.become(Said(box=said))

    def answer(self, predictor: Predictor, volume: Volume) -> None:
        """Ask the model, if it was told something."""
        self.seconds = 0.0
        if self.heard:
            self.prediction = predictor.predict(volume, self._prompts, self.prediction)
            self.seconds = self.prediction.seconds


def _box(case: Labelled, label: int, kind: str, given: Mapping[int, Box] | None) -> Box | None:
    if given is not None:
        return given.get(label)
    reference = case.labels == label
    if kind == "true3d":
        return true_box(reference)
    return challenge_box(reference, generator_of(case.name, label))


def _click(
    it: _Player, labels: np.ndarray, reference: np.ndarray, takes: Collection[str]
) -> Point | None:
    """The next click on an object; None without an error, or for a model that does not take it."""
    # only where something about this object can be wrong: most volumes are much larger
    window = around([it.window] if it.prediction is None else [it.window, it.prediction.window])
    click = next_click(labels[window] == it.label, reference[window] == it.label)
    if click is None or ("foreground" if click.positive else "background") not in takes:
        return None
    z, y, x = (at + part.start for at, part in zip(click.position_voxel, window, strict=True))
    return Point((z, y, x), click.positive)
