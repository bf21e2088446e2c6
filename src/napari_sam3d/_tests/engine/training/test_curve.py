"""The picture of a training shows what the log says."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.image import imread

from napari_sam3d.engine.training.curve import draw_curve


def picture(rows, before) -> np.ndarray:
    return imread(io.BytesIO(draw_curve(rows, before)))


def test_a_picture_of_a_training_at_any_time():
    rows = [{"step": n, "loss": 1 / n} for n in range(1, 21)]
    plain = picture(rows, ())
    assert plain.shape[:2] == (400, 800)
    dashed = picture(rows, (0.5, 0.6, 0.7))
    rows[9] |= {"dice_1": 0.7, "dice_3": 0.8, "dice_5": 0.9}
    rows[19] |= {"dice_1": 0.8, "dice_3": 0.8, "dice_5": 0.9}
    measured = picture(rows, (0.5, 0.6, 0.7))
    loss, dice = slice(0, 400), slice(400, 800)
    assert (plain[:, loss] == measured[:, loss]).all()
    assert not (plain[:, dice] == dashed[:, dice]).all()
    assert not (dashed[:, dice] == measured[:, dice]).all()
    assert picture([], ()).shape[:2] == (400, 800)
