"""The protocol of 3DSAM-adapter: which points are drawn, and what its networks are shown."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from napari_sam3d._tests.engine.evaluation.simple_predictors import SETTINGS, ByRule, bright
from napari_sam3d._tests.nifti_files import nifti, put
from napari_sam3d._tests.tiny_checkpoints import tiny_adapter
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.evaluation.sam3d_adapter import play_sam3d_adapter
from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.models.sam3d_adapter import Sam3DAdapter, from_release, release_sizes
from napari_sam3d.engine.models.sam3d_adapter.preprocess import (
    crop,
    paste,
    prepare,
    prompt_labels,
    to_native,
)
from napari_sam3d.engine.models.sam3d_adapter.tasks import TASKS, Task
from napari_sam3d.engine.predictor import predictor_of
from napari_sam3d.io import read_nifti
from napari_sam3d.io.affine import stored_view
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Grid, Volume

GOLDEN = Path(__file__).parents[2] / "golden"
PLAY = EvaluationSettings(protocol="3dsam-adapter")


def case_of(labels, spacing=(1, 1, 1)):
    volume = Volume((labels > 0).astype(np.float32), Grid.from_spacing(labels.shape, spacing), "c")
    return Labelled(volume, labels, {1: "tumour"})


def ball(shape=(12, 14, 16), label=1):
    z, y, x = np.indices(shape)
    return ((z - 5) ** 2 + (y - 6) ** 2 + (x - 9) ** 2 < 16).astype(np.uint8) * label


def points(played):
    return np.array([it.position_voxel for it in played.said])


def test_points_of_an_object_are_given_all_at_once():
    labels = ball() + np.flip(ball(label=2), 2) * (ball() == 0)
    predictor = ByRule(bright)
    played = list(play_sam3d_adapter(predictor, case_of(labels), PLAY))
    rounds = [(label, name) for label in (1, 2) for name in ("1", "3", "10")]
    assert [(it.label, it.round) for it in played] == rounds
    assert [len(prompts.points) for _, prompts, _ in predictor.asked] == [1, 3, 10] * 2
    assert all(previous is None for _, _, previous in predictor.asked)
    assert all(np.array_equal(it.mask, labels > 0) for it in played)
    for it in played:
        assert (labels[tuple(points(it).astype(int).T)] == it.label).all()
        assert all(point.positive for point in it.said) and it.seconds > 0
    assert not np.array_equal(points(played[0])[0], points(played[1])[0])  # drawn anew


def test_an_object_of_one_voxel_gives_that_voxel():
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[2, 4, 6] = 1
    (played,) = play_sam3d_adapter(ByRule(bright), case_of(labels), replace(PLAY, clicks=4))
    assert played.round == "4" and points(played).tolist() == [[2, 4, 6]] * 4


def test_points_do_not_depend_on_what_was_played_before():
    labels = ball() + np.flip(ball(label=2), 2) * (ball() == 0)
    both = list(play_sam3d_adapter(ByRule(bright), case_of(labels), PLAY))
    only = case_of(np.where(labels == 2, labels, 0))
    alone = list(play_sam3d_adapter(ByRule(bright), only, replace(PLAY, clicks=10)))
    assert alone[0].said == both[-1].said
    other = list(play_sam3d_adapter(ByRule(bright), only, replace(PLAY, clicks=10, seed=1)))
    assert other[0].said != alone[0].said


@pytest.mark.parametrize("axes", ["RAS", "IPL", "LSA"])
@pytest.mark.parametrize("spacing", [(0.7, 1.3, 2.5), (0.8, 0.8, 9.0)])
def test_points_are_those_of_the_released_test(tmp_path, spacing, axes):
    """Stated anew: `numpy.random.choice` on `torch.where` of the label resampled as stored."""
    label = np.random.default_rng(0).integers(0, 2, (13, 15, 11)).astype("i2")
    at = np.zeros((4, 4))
    for i, (letter, size) in enumerate(zip(axes, spacing, strict=True)):
        row = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}[letter]
        at[row, i] = size if letter in "RAS" else -size
    at[3, 3] = 1
    volume = read_nifti(put(tmp_path / "a.nii", nifti(label, sform=at)))
    case = Labelled(volume, volume.data)
    (played,) = play_sam3d_adapter(ByRule(bright), case, replace(PLAY, clicks=10))

    turned = torch.from_numpy(label.transpose(2, 1, 0).astype("f4"))
    shape = tuple(int(n * s) for n, s in zip(turned.shape, np.float32(spacing)[::-1], strict=True))
    d, h, w = torch.where(prompt_labels(turned, shape) == 1)
    draws = np.random.RandomState([42, zlib.crc32(volume.name.encode()), 1, 10])
    drawn = draws.choice(np.arange(len(d)), 10, replace=True)
    for axis, places in enumerate((d, h, w)):
        scale = turned.shape[axis] / shape[axis]
        expected = np.floor(places[drawn].numpy() * scale + 1e-6)
        stored = volume.source.to_stored(points(played))[:, 2 - axis]
        np.testing.assert_array_equal(stored, expected)
    assert (label[tuple(volume.source.to_stored(points(played)).astype(int).T)] == 1).all()


class LocalMean(PromptableModel):
    """The network of the golden: log odds are eight times a local mean of the patch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.points = []

    def encode_image(self, patch):
        return patch

    def decode_masks(self, embedding, prompts):
        self.points.append(prompts.points[0])
        return Masks(8 * F.avg_pool3d(embedding, 3, 1, 1), torch.ones(1))

    @staticmethod
    def is_adapter(name):
        return True


@pytest.mark.parametrize(
    "name", ["centre", "low_corner", "high_corner", "mixed_border", "smaller_than_patch"]
)
def test_crop_and_paste_are_the_released_ones(name, monkeypatch):
    """Cases of the golden with a single point, played from an object of one voxel."""
    as_it_is = Task(clip=(-1e6, 1e6), mean=0.0, std=1.0, axes=(0, 1, 2), target=1)
    monkeypatch.setitem(TASKS, "kits", as_it_is)
    tensors = load_file(GOLDEN / "3dsam_adapter_crop_paste.safetensors")
    image = tensors[f"img.{name}"].float().numpy()
    labels = np.zeros(image.shape, np.uint8)
    labels[tuple(tensors[f"{name}.in.points_dhw"][0].tolist())] = 1
    volume = Volume(image, Grid.from_spacing(image.shape, (1, 1, 1)), "golden")
    model = LocalMean().eval()
    spec = replace(model_spec("sam3d_adapter_kits"), patch_shape=(12, 12, 12))
    predictor = predictor_of(model, spec, SETTINGS)
    (played,) = play_sam3d_adapter(predictor, Labelled(volume, labels), replace(PLAY, clicks=1))
    assert torch.equal(model.points[0][:, [0, 2, 1]], tensors[f"{name}.mid.points_model"])
    np.testing.assert_array_equal(played.mask, tensors[f"{name}.out.mask"].bool().numpy())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("task", "axes"), [("kits", (0, 1, 2)), ("lits", (2, 1, 0))])
@pytest.mark.parametrize("flip", [1, -1])
def test_the_network_is_run_as_the_release_runs_it(tmp_path, task, axes, flip):
    """The axes of the file as they are stored, whatever they point to."""
    release = tiny_adapter()
    model = Sam3DAdapter(**{**release_sizes(release), "window": 4, "crop": 32})
    model.load_state_dict(from_release(release))
    spec = replace(model_spec(f"sam3d_adapter_{task}"), patch_shape=(32, 32, 32))
    predictor = predictor_of(model.eval().requires_grad_(False), spec, SETTINGS)
    spacing = (0.8, 1.5, 2.5)
    stored = np.random.default_rng(1).normal(60, 60, (40, 30, 17)).astype("f4")
    label = np.zeros(stored.shape, np.uint8)
    label[12:22, 8:17, 5:9] = 1
    file = put(tmp_path / "a.nii", nifti(stored, sform=np.diag([flip * 0.8, 1.5, 2.5, 1])))
    volume = read_nifti(file)
    turn = volume.source.display_to_stored
    order = np.abs(turn[:3, :3]).argmax(1)
    shown = np.transpose(label, np.argsort(order))
    shown = np.flip(shown, [a for i, a in enumerate(order) if turn[i, a] < 0])
    assert np.array_equal(stored_view(shown, turn), label)
    played = list(play_sam3d_adapter(predictor, Labelled(volume, shown), PLAY))

    image = prepare(torch.from_numpy(stored), spacing, TASKS[task])
    turned = torch.from_numpy(label).permute(axes).float()
    d, h, w = torch.where(prompt_labels(turned, tuple(image.shape)) == 1)
    for it, count in zip(played, (1, 3, 10), strict=True):
        draws = np.random.RandomState([42, zlib.crc32(volume.name.encode()), 1, count])
        drawn = draws.choice(len(d), count)
        part = crop(image, torch.stack([d, h, w], 1)[drawn], 32)
        told = PatchPrompts(
            part.points[None].float(), torch.ones(1, count), torch.zeros(1, 1, 1, 1, 1)
        )
        with torch.inference_mode():
            embedding = model.encode_image(part.patch[None, None])
            chance = torch.sigmoid(model.decode_masks(embedding, told).logits)[0, 0]
        native = to_native(paste(chance, part.start, image.shape), tuple(turned.shape)).numpy()
        assert native.any()
        found = stored_view(it.mask, turn).transpose(axes)
        np.testing.assert_array_equal(found, native)


def test_what_cannot_be_played_is_told():
    with pytest.raises(ValueError, match="by rule takes no points"):
        next(play_sam3d_adapter(ByRule(bright, frozenset({"box"})), case_of(ball()), PLAY))
    predictor = ByRule(bright)
    with pytest.raises(ValueError, match="c is thinner than 1 mm"):
        next(play_sam3d_adapter(predictor, case_of(ball()[4:6], (0.4, 1, 1)), PLAY))
    assert predictor.asked == []


def test_an_object_without_a_voxel_of_a_millimetre_gets_empty_masks():
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, 4] = 1  # of 9 voxels of 0.4 mm, the third, sixth and last are copied
    labels[7:, 7:, 7:] = 2
    predictor = ByRule(bright)
    played = list(play_sam3d_adapter(predictor, case_of(labels, (0.4, 0.4, 0.4)), PLAY))
    assert [(it.label, it.round) for it in played] == [
        (label, name) for label in (1, 2) for name in ("1", "3", "10")
    ]
    assert not any(it.mask.any() or it.said for it in played[:3])
    assert all(it.said for it in played[3:]) and len(predictor.asked) == 3
