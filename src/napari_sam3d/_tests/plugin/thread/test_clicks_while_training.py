"""Clicks and a training in one thread are to each other as if each were alone: the real model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from napari_sam3d._tests.engine.training.small import balls
from napari_sam3d._tests.plugin.thread.test_trainer import pair
from napari_sam3d.engine.adapters import read_tensors
from napari_sam3d.engine.predictor import load_predictor
from napari_sam3d.engine.training import Base, Finished, RunFolder, Step, load_base, train
from napari_sam3d.plugin.thread.trainer import Trainer
from napari_sam3d.plugin.thread.worker import Worker
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings, TrainSettings

SETTINGS = InferenceSettings(device="cpu", precision="fp32")
TUNING = TrainSettings(
    steps=4, validate_every=4, objects=1, rate=1e-3, device="cpu", precision="fp32"
)
CLICK = Prompts().add(Point((8, 9, 10)))


def load_small(settings: TrainSettings, progress: object = None) -> Base:
    """The real network, on small patches."""
    base = load_base(settings)
    return replace(base, spec=replace(base.spec, patch_shape=(16, 16, 16)))


def test_a_click_meets_the_model_as_it_was_and_leaves_the_training_as_it_is(
    qtbot, one_thread
) -> None:
    cases = balls(3)
    networks = set()

    def load(settings, progress):
        predictor = load_predictor(settings, progress)
        networks.add(id(predictor.model))
        return predictor

    def base(settings, progress):
        made = load_small(settings)
        assert id(made.model) not in networks
        return made

    worker, trainer = Worker(load), Trainer(base, load)
    told: list = []
    masks: list = []
    trainer.event.connect(told.append)
    worker.predicted.connect(lambda number, it: (told.append("mask"), masks.append(it)))

    def click(event) -> None:
        if isinstance(event, Step) and event.step < 4:
            worker.submit(SETTINGS, cases[0].volume, CLICK)

    with qtbot.waitSignal(worker.ready, timeout=60_000):
        worker.warm(SETTINGS)
    trainer.event.connect(click)
    trainer.start(TUNING, [pair(case) for case in cases], "clicked")
    qtbot.waitUntil(lambda: trainer.state == "idle")
    worker.stop()
    assert worker.wait(60)
    assert isinstance(told[-1], Finished) and "mask" in told[: told.index(told[-1])]

    for _ in train(TUNING, cases, RunFolder.called("alone"), load=load_small):
        pass
    one, other = (read_tensors(RunFolder.called(it).last) for it in ("clicked", "alone"))
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=1e-5, rtol=0)
    alone = load_predictor(SETTINGS, lambda done, total: None).predict(cases[0].volume, CLICK)
    shape = cases[0].volume.grid.shape
    np.testing.assert_array_equal(masks[-1].full(shape), alone.full(shape))
