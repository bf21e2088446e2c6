"""What objects cost: the voxels of their boxes, and answers up to a limit."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from napari.components import ViewerModel

from napari_sam3d._tests.plugin.conftest import BallPredictor, ball
from napari_sam3d.engine.prediction import Prediction
from napari_sam3d.engine.union import View
from napari_sam3d.plugin.session import objects
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.prompts import Found
from napari_sam3d.settings import InferenceSettings

SHAPE = (300, 512, 512)
RADIUS = 8
PATCH = (64, 64, 64)
LOGITS = 4 * 64**3


class Boxes(BallPredictor):
    """A ball about the last point, with logits on a patch as large as that of a network."""

    def predict(self, volume, prompts, previous=None, cancelled=lambda: False) -> Prediction:
        center = [round(c) for c in prompts.points[-1].position_voxel]
        z, y, x = (slice(c - RADIUS, c + RADIUS + 1) for c in center)
        mask = ball((2 * RADIUS + 1,) * 3, (RADIUS,) * 3, RADIUS)
        logits = np.zeros(PATCH, np.float32)
        return Prediction(mask, (z, y, x), volume.grid.window((z, y, x)), logits, 0.9, 0.1)


def new_session(shape) -> tuple[Session, Boxes]:
    viewer = ViewerModel()
    viewer.add_image(np.zeros(shape, np.int8), name="ct")
    session = Session(viewer)
    session.set_image(viewer.layers["ct"])
    return session, Boxes(InferenceSettings())


def click(session: Session, predictor: Boxes, position) -> None:
    session.prompt_layer.add(position)
    answer(session, predictor)


def answer(session: Session, predictor: Boxes) -> int:
    count = 0
    while (request := session.pending()) is not None:
        it = predictor.predict(request.volume, request.prompts, request.previous)
        assert session.accept(request, it)
        count += 1
    return count


def kept(session: Session) -> dict[int, int]:
    """How many answers each object has."""
    return {number: len(it.answers) for number, it in session.objects.items()}


@pytest.mark.slow
def test_fifty_objects_cost_their_boxes_and_the_limit_of_answers(monkeypatch) -> None:
    limit = 16 << 20
    monkeypatch.setattr(objects, "_KEPT_BYTES", limit)
    session, predictor = new_session(SHAPE)
    click(session, predictor, (20, 20, 20))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(50):
            session.new_object()
            where = (40 + 4 * number, 60 + 8 * number, 60 + 8 * number)
            click(session, predictor, where)
            click(session, predictor, tuple(np.add(where, (1, 2, 2)).tolist()))
        grown, peak = (now - before for now in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert len(np.unique(session.labels.data[40:250:4, 60:500:8, 60:500:8])) >= 50
    assert grown < limit + (16 << 20) and peak < grown + (16 << 20)
    volume = np.prod(SHAPE)  # of one byte each
    assert peak < volume


def test_the_newest_of_the_current_object_goes_last(monkeypatch) -> None:
    monkeypatch.setattr(objects, "_KEPT_BYTES", int(3.5 * LOGITS))
    session, predictor = new_session((40, 60, 60))
    for step in range(3):
        click(session, predictor, (20, 20, 20 + step))
    assert kept(session) == {1: 3}
    session.new_object()
    click(session, predictor, (20, 40, 40))
    assert kept(session) == {1: 2, 2: 1}
    click(session, predictor, (20, 40, 41))
    click(session, predictor, (20, 40, 42))
    assert kept(session) == {1: 1, 2: 2}
    monkeypatch.setattr(objects, "_KEPT_BYTES", int(0.5 * LOGITS))
    click(session, predictor, (20, 40, 43))
    assert kept(session) == {1: 0, 2: 1}


def test_what_was_forgotten_is_shown_undone_and_asked_again(monkeypatch) -> None:
    monkeypatch.setattr(objects, "_KEPT_BYTES", int(1.5 * LOGITS))
    session, predictor = new_session((40, 60, 60))
    click(session, predictor, (20, 20, 20))
    click(session, predictor, (20, 20, 24))
    session.new_object()
    click(session, predictor, (20, 40, 40))
    assert kept(session) == {1: 0, 2: 1} and isinstance(session.objects[1].shown, Found)
    first = session.labels.data == 1
    assert first[20, 20, 24 + RADIUS] and answer(session, predictor) == 0
    session.select(1)
    session.undo()
    assert answer(session, predictor) == 1
    undone = session.labels.data == 1
    assert undone[20, 20, 20 - RADIUS] and not undone[20, 20, 24 + RADIUS]
    session.redo()
    assert answer(session, predictor) == 1
    np.testing.assert_array_equal(session.labels.data == 1, first)


@pytest.mark.parametrize("more", ["views", "bare"])
def test_all_arrays_of_an_answer_count(monkeypatch, more) -> None:
    session, predictor = new_session((40, 60, 60))
    click(session, predictor, (20, 20, 20))
    (said,) = session.objects[1].answers
    answer = session.objects[1].answers[said]
    large = torch.zeros(1 << 20, dtype=torch.uint8)
    changes = {
        "views": (View((0, 0, 0), large, None, 0.5),),
        "bare": (large.numpy(), answer.prediction.window),
    }
    prediction = replace(answer.prediction, **{more: changes[more]})
    session.objects[1] = replace(
        session.objects[1], answers={said: replace(answer, prediction=prediction)}, shown=prediction
    )
    monkeypatch.setattr(objects, "_KEPT_BYTES", (1 << 20) + LOGITS)
    session.new_object()
    click(session, predictor, (20, 40, 40))
    assert kept(session) == {1: 0, 2: 1}
