"""The click-to-mask path with a network that can be computed by hand: as bright as the click."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.devices import choose_device, choose_precision
from napari_sam3d.engine.following import FollowingPredictor, _View, consensus
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.models.blocks import sample_at
from napari_sam3d.engine.models.likeness import unit_positions
from napari_sam3d.engine.prediction import Cancelled, paste, recut
from napari_sam3d.engine.predictor import load_predictor
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume


class AsBright(PromptableModel):
    """Foreground is what is no more than a deviation darker than the last positive click."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.encoded = self.decoded = 0

    def encode_image(self, patch):
        self.encoded += 1
        return patch

    def decode_masks(self, embedding, prompts: PatchPrompts) -> Masks:
        self.decoded += 1
        positions = unit_positions(prompts.points, embedding)
        value = sample_at(embedding, positions)[0, prompts.labels[0] == 1][-1, 0]
        logits = 10 * (embedding - value + 1)
        filled = (logits > 0).float().mean()
        return Masks(logits, torch.exp(-((filled - 0.2) ** 2))[None])

    @staticmethod
    def is_adapter(name: str) -> bool:
        return True


def ball_volume() -> tuple[Volume, np.ndarray]:
    grid = Grid.from_spacing((30, 90, 80), (2.5, 0.8, 0.8), (10, -20, 30))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    middle = grid.to_world((12, 40, 50))
    ball = ((grid.to_world(index) - middle) ** 2).sum(-1) < 14**2
    image = (1000 * ball + np.random.RandomState(0).randint(0, 80, grid.shape)).astype(np.int16)
    return Volume(image, grid, "ball"), ball


def predictor(precision: str = "fp32") -> FollowingPredictor:
    settings = InferenceSettings(precision=precision)
    return FollowingPredictor(AsBright().eval(), model_spec("compact"), settings)


CLICK = Prompts().add(Point((12, 40, 50)))


def test_a_click_on_a_ball_gives_the_ball():
    volume, ball = ball_volume()
    prediction = predictor().predict(volume, CLICK)
    assert dice(prediction.full(volume.grid.shape), ball) > 0.85
    assert prediction.mask.shape == tuple(s.stop - s.start for s in prediction.window)
    assert 0 <= prediction.score <= 1 and prediction.seconds > 0


def test_later_clicks_on_the_same_patch_only_decode():
    volume, ball = ball_volume()
    runner = predictor()
    prompts, found, encoded = CLICK, runner.predict(volume, CLICK), []
    for x in (44, 47, 53):
        prompts = prompts.add(Point((12, 40, x)))
        found = runner.predict(volume, prompts, found)
        encoded.append(runner.model.encoded)
    assert encoded[-1] == encoded[-2]
    assert dice(found.full(volume.grid.shape), ball) > 0.95


def test_big_and_small_objects_get_patches_of_their_size():
    grid = Grid.from_spacing((64, 64, 64), (1, 1, 1))
    small, big = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    small[26:38, 26:38, 26:38] = 1
    big[6:58, 6:58, 6:58] = 1
    sizes = []
    for image in (small, big):
        found = predictor().predict(Volume(image, grid), Prompts().add(Point((32, 32, 32))))
        assert dice(found.full(grid.shape), image > 0) > 0.8
        sizes.append(found.patch.extent_mm.max())
    assert sizes[1] > 2 * sizes[0]


def test_a_prediction_can_be_cancelled():
    volume, _ = ball_volume()
    with pytest.raises(Cancelled):
        predictor().predict(volume, CLICK, cancelled=lambda: True)


@pytest.mark.parametrize(
    ("prompts", "word"),
    [
        (Prompts().add(Point((99, 0, 0))), "outside ball"),
        (Prompts().add(Point((1, 1, 1), positive=False)), "positive point"),
        (Prompts(), "positive point"),
    ],
)
def test_impossible_prompts_are_refused_in_a_sentence(prompts, word):
    with pytest.raises(ValueError, match=word):
        predictor().predict(ball_volume()[0], prompts)


def test_devices_and_precisions():
    assert choose_device("cpu") == torch.device("cpu")
    for name in ("gpu", "cuda:99", "xpu:0"):
        with pytest.raises(ValueError, match=name):
            choose_device(name)
    assert choose_precision("fp32", torch.device("cpu")) == torch.float32
    assert choose_precision("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match="int4"):
        choose_precision("int4", torch.device("cpu"))


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match="no model called 'sam9'"):
        load_predictor(InferenceSettings(model="sam9"))


def test_a_view_that_the_object_runs_out_of_says_nothing_beyond():
    grid = Grid.from_spacing((64, 64, 64), (1, 1, 1))
    shape = (16, 16, 16)
    near, far = (grid.patch((31.5, 31.5, 31.5), shape, (edge,) * 3) for edge in (16, 64))
    everything = _View(near, torch.full(shape, 5.0), 0.9)
    box = torch.full(shape, -5.0)
    box[4:12, 4:12, 4:12] = 5  # 32 voxels of the volume
    found = consensus([everything, _View(far, box, 0.5)], grid, np.array([[31.5, 31.5, 31.5]]))
    mask, window = paste(found.logits, found.patch, grid, 0.0, outside=-20.0)
    assert abs(mask.sum() ** (1 / 3) - 32) < 2
    where = np.argwhere(mask) + [s.start for s in window]
    assert (abs(where.min(0) - 16) <= 2).all() and (abs(where.max(0) - 47) <= 2).all()
    assert 0.5 <= found.score <= 0.9


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_another_threshold_needs_no_network(threshold):
    volume, _ = ball_volume()
    settings = InferenceSettings(device="cpu", precision="fp32")
    it = FollowingPredictor(AsBright().eval(), model_spec("compact"), settings)
    prompts = Prompts().add(Point((12, 40, 50)))
    first = it.predict(volume, prompts)
    decoded = it.model.decoded
    it.settings = InferenceSettings(
        device="cpu", precision="fp32", threshold=threshold, smooth_mm=1.5
    )
    other = recut(first, volume.grid, prompts, it.settings)
    assert it.model.decoded == decoded
    expected = it.predict(volume, prompts)
    shape = volume.grid.shape
    np.testing.assert_array_equal(other.full(shape), expected.full(shape))
