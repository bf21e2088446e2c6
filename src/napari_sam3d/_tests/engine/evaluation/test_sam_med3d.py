"""The protocol of SAM-Med3D: whose clicks, on which crop, and where the masks come back."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.ndimage import find_objects

from napari_sam3d._tests.engine.evaluation.simple_predictors import SETTINGS, ByRule, bright
from napari_sam3d._tests.nifti_files import nifti, put
from napari_sam3d._tests.tiny_checkpoints import tiny_sam_med3d
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.evaluation.sam_med3d import play_sam_med3d
from napari_sam3d.engine.evaluation.sam_med3d_crop import ObjectCrop, Stored, crop_of
from napari_sam3d.engine.models.sam_med3d import SamMed3D
from napari_sam3d.engine.models.sam_med3d.clicks import ALL_CLICKS, draw_click, play_clicks
from napari_sam3d.engine.models.sam_med3d.preprocess import crop_places, normalise
from napari_sam3d.engine.models.sam_med3d.release import from_release, sizes
from napari_sam3d.engine.predictor import predictor_of
from napari_sam3d.io import read_nifti
from napari_sam3d.io.affine import display_to_stored, display_view, stored_view
from napari_sam3d.io.source import RAS_TO_WORLD, fresh_source
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Point
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Grid, Volume

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = json.loads((GOLDEN / "sam_med3d_preprocess.json").read_text())["cases"]
PLAY = EvaluationSettings(protocol="sam-med3d")


def case_of(labels, spacing=(1.5, 1.5, 1.5), image=None):
    """A case without a file, whose image shows its objects unless another is given."""
    shown = (labels > 0).astype(np.float32) if image is None else image
    return Labelled(Volume(shown, Grid.from_spacing(labels.shape, spacing), "case"), labels)


def two_labels():
    labels = np.zeros((9, 10, 11), np.uint8)
    labels[1:4, 2:7, 3:6] = 2
    labels[5:8, 1:5, 4:9] = 7
    return labels


def near(volume, prompts):
    """All voxels within two of a positive click, and not within one of a negative."""
    places = np.stack(np.indices(volume.grid.shape), -1)
    mask = np.zeros(volume.grid.shape, bool)
    for point in prompts.points:
        apart = np.abs(places - point.position_voxel).max(-1)
        mask[apart <= (2 if point.positive else 1)] = point.positive
    return mask


def of_label(played, label):
    return [it for it in played if it.label == label]


@pytest.mark.parametrize("predictor", [ByRule(bright), ByRule(lambda v, p: v.data < -1)])
def test_an_object_of_one_voxel_is_clicked_again_and_again(predictor):
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[2, 4, 1] = 1
    played = list(play_sam_med3d(predictor, case_of(labels), PLAY))
    assert [it.round for it in played] == [str(n) for n in range(1, 11)]
    assert all(it.said == (Point((2, 4, 1), True),) for it in played)
    perfect = predictor.rule is bright
    assert all(np.array_equal(it.mask, (labels > 0) & perfect) for it in played)
    assert all(it.seconds > 0 for it in played)


def test_two_voxels_are_drawn_as_numpy_draws_from_seed_233():
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[2, 3, 3:5] = 1
    played = list(play_sam_med3d(ByRule(bright), case_of(labels), PLAY))
    # numpy.random.seed(233), then numpy.random.randint(2) ten times
    drawn = [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]
    # the scripts count toward the right of the patient, our voxels toward the left
    assert [it.said[0].position_voxel for it in played] == [(2, 3, 4 - n) for n in drawn]


def test_clicks_follow_the_scripts_from_object_to_object():
    labels = two_labels()
    case, clicks = case_of(labels), 6
    found = list(play_sam_med3d(ByRule(near), case, replace(PLAY, clicks=clicks)))
    # stated anew: all of it fits into one crop, on which voxels count x, y, z toward R, A, S
    state = np.random.get_state()
    np.random.seed(233)
    for label in (2, 7):
        reference = torch.from_numpy(np.flip(labels == label).transpose(2, 1, 0).copy())
        predicted, clicked = torch.zeros_like(reference), []
        for _ in range(clicks):
            wrong = predicted ^ reference
            places = torch.argwhere(wrong if wrong.any() else reference)
            place = places[np.random.randint(len(places))].numpy()
            at = np.array(labels.shape) - 1 - place[::-1]
            clicked.append(Point(tuple(at.astype(float).tolist()), bool(reference[tuple(place)])))
            mask = near(case.volume, type("P", (), {"points": clicked}))
            predicted = torch.from_numpy(np.flip(mask).transpose(2, 1, 0).copy())
        assert [it.said[0] for it in of_label(found, label)] == clicked
    np.random.set_state(state)


def test_each_case_begins_anew():
    case = case_of(two_labels())
    predictor = ByRule(near)
    first, again = (list(play_sam_med3d(predictor, case, PLAY)) for _ in range(2))
    assert [it.said for it in first] == [it.said for it in again]
    other = list(play_sam_med3d(predictor, case, replace(PLAY, seed=7)))
    assert [it.said for it in first] == [it.said for it in other]


def test_models_hear_all_clicks_on_one_volume_and_their_last_answer():
    predictor = ByRule(near)
    list(play_sam_med3d(predictor, case_of(two_labels()), replace(PLAY, clicks=3)))
    volumes = [volume for volume, _, _ in predictor.asked]
    assert [len(prompts.points) for _, prompts, _ in predictor.asked] == [1, 2, 3] * 2
    assert volumes[0] is volumes[2] and volumes[2] is not volumes[3]
    assert [previous is None for _, _, previous in predictor.asked] == [True, False, False] * 2


def test_labels_that_are_written_later_take_the_voxels():
    labels = two_labels()
    everything = ByRule(lambda volume, prompts: np.ones(volume.grid.shape, bool))
    played = list(play_sam_med3d(everything, case_of(labels), replace(PLAY, clicks=2)))
    assert all(it.mask.all() for it in of_label(played, 7))
    assert not any(it.mask.any() for it in of_label(played, 2))
    apart = list(play_sam_med3d(ByRule(near), case_of(labels), replace(PLAY, clicks=1)))
    assert all(it.mask.any() for it in apart)
    assert not (apart[0].mask & apart[1].mask).any()


def test_a_negative_click_is_left_out_for_models_of_positive_ones():
    labels = np.zeros((7, 7, 7), np.uint8)
    labels[3, 3, 3] = 1
    predictor = ByRule(near, frozenset({"foreground"}))
    first, *others = play_sam_med3d(predictor, case_of(labels), PLAY)
    assert len(predictor.asked) == 1 and first.mask.sum() == 125
    assert all(it.said == () and it.seconds == 0 for it in others)
    assert all(np.array_equal(it.mask, first.mask) for it in others)


def test_an_object_that_vanishes_is_not_asked_for():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[1:9, 1:9, 1:9] = 1
    labels[10, 10, 11] = 2  # the nearest voxels of the lattice are the others
    predictor = ByRule(bright)
    case = case_of(labels, (0.5, 0.5, 0.5))
    played = list(play_sam_med3d(predictor, case, replace(PLAY, clicks=2)))
    assert [(it.label, it.round) for it in played] == [(2, "1"), (1, "1"), (2, "2"), (1, "2")]
    assert all(not it.mask.any() and it.said == () for it in of_label(played, 2))
    assert all(it.mask.any() for it in of_label(played, 1)) and len(predictor.asked) == 2


def test_a_model_without_clicks_is_told_so():
    with pytest.raises(ValueError, match="by rule takes no clicks"):
        next(play_sam_med3d(ByRule(bright, frozenset({"box"})), case_of(two_labels()), PLAY))


@pytest.mark.usefixtures("one_thread")
def test_the_network_is_given_the_crop_of_the_scripts():
    state = from_release(tiny_sam_med3d())
    model = SamMed3D(**sizes(state)).eval().requires_grad_(False)
    model.load_state_dict(state)
    spec = replace(model_spec("sam_med3d_turbo"), patch_shape=(64, 64, 64), mask_shape=(16, 16, 16))
    predictor = predictor_of(model, spec, SETTINGS)
    labels = np.zeros((30, 44, 40), np.int16)
    labels[8:20, 10:34, 12:30] = 3
    image = np.random.default_rng(0).normal(50, 30, labels.shape).astype(np.float32)
    case = case_of(labels, (2.0, 1.2, 1.0), image + 100 * (labels > 0))
    played = list(play_sam_med3d(predictor, case, replace(PLAY, clicks=3)))

    stored = Stored(case.volume)
    crop = crop_of(stored, labels, 3, np.s_[8:20, 10:34, 12:30], 64)
    reference = crop.sample(labels, nearest=True).numpy() == 3
    draws, points, signs = np.random.RandomState(233), [], []
    predicted = np.zeros_like(reference)
    with torch.inference_mode():
        embedding = model.encode_image(normalise(crop.sample(case.volume.data))[None, None])
        for it in played:
            voxel, sign = draw_click(predicted, reference, False, draws)
            points.append(voxel.astype(np.float32))
            signs.append(float(sign))
            told = torch.tensor(np.array(points))[None], torch.tensor(signs)[None]
            *_, last = play_clicks(model, embedding, *told, ALL_CLICKS)
            up = torch.nn.functional.interpolate(last.logits, (64,) * 3, mode="trilinear")
            predicted = torch.sigmoid(up)[0, 0].numpy() > 0.5
            np.testing.assert_array_equal(it.mask, crop.paste(predicted))
            assert it.said[0].positive == sign and predicted.any()


@pytest.mark.parametrize("category", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_crops_and_masks_are_the_released_ones(tmp_path, name, category):
    tensors = load_file(GOLDEN / "sam_med3d_preprocess.safetensors")
    label = tensors[f"{name}.in.label"]
    file = put(tmp_path / "a.nii", nifti(label.astype("i2"), sform=CASES[name]["affine"]))
    volume = read_nifti(file)
    stored = Stored(volume)
    window = find_objects(volume.data)[category - 1]
    crop = crop_of(stored, volume.data, category, window, 24)
    found = crop.sample(volume.data, nearest=True).numpy() == category
    expected = tensors[f"{name}.cat{category}.out.roi_label"].astype(bool)
    np.testing.assert_array_equal(found, expected)
    pasted = crop.paste(tensors[f"{name}.cat{category}.mid.roi_pred"].astype(bool))
    turned = stored_view(pasted, volume.source.display_to_stored)
    released = tensors[f"{name}.cat{category}.out.pred_zyx"].astype(bool)
    np.testing.assert_array_equal(turned.T, released)


ORDERS = [(o, s) for o in permutations(range(3)) for s in product((1, -1), repeat=3)]


@settings(max_examples=40, deadline=None)
@given(
    turn=st.sampled_from(ORDERS),
    spacing=st.tuples(*[st.sampled_from([0.7, 1.1, 1.5, 2.3, 4.0])] * 3),
    first=st.tuples(*[st.integers(-9, 9)] * 3),
    degrees=st.sampled_from([0.0, 12.0]),
)
def test_the_volume_of_a_crop_is_where_it_belongs(turn, spacing, first, degrees):
    """A ramp in the world is the same ramp there, and masks come back to the nearest voxels."""
    order, signs = turn
    shape = (13, 11, 16)
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3)[:, list(order)] * signs) * spacing
    angle = np.radians(degrees)
    tilt = np.eye(4)
    tilt[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = tilt @ affine
    affine[:3, 3] = (5, -7, 11)
    volume = stored_volume(shape, affine)
    weights = np.array([0.3, -1.1, 0.7])
    ramp = volume.grid.to_world(np.stack(np.indices(volume.grid.shape), -1)) @ weights
    volume = replace(volume, data=ramp)
    stored = Stored(volume)
    crop = ObjectCrop(stored, np.array(first), 12)
    if any(not inside.any() for inside in covered(crop)):
        return
    shown = crop.volume
    places = np.stack(np.indices(shown.grid.shape), -1)
    world = shown.grid.to_world(places)
    at = volume.grid.to_voxel(world)
    within = ((at >= 0) & (at <= np.array(volume.grid.shape) - 1)).all(-1)
    assert np.allclose(shown.data[within], (world @ weights)[within], atol=1e-3)
    assert np.allclose(shown.grid.spacing, 1.5)

    mask = np.random.default_rng(0).random(shown.grid.shape) < 0.5
    pasted = crop.paste(crop.from_volume(mask))
    centres = shown.grid.to_voxel(volume.grid.to_world(np.stack(np.indices(volume.grid.shape), -1)))
    near_middle = (np.abs(centres - np.floor(centres) - 0.5) > 1e-6).all(-1)
    nearest = np.floor(centres + 0.5).astype(int)
    inside = ((nearest >= 0) & (nearest < shown.grid.shape)).all(-1)
    expected = np.zeros(volume.grid.shape, bool)
    expected[inside] = mask[tuple(nearest[inside].T)]
    assert np.array_equal(pasted[near_middle], expected[near_middle])

    voxel = np.array([s.start for s in crop.covered])
    there = shown.grid.to_world(np.array(crop.to_volume(voxel)))
    assert np.allclose(there, volume.grid.to_world(np.array(crop.position(voxel))), atol=1e-4)


def covered(crop):
    return [inside for _, inside in crop_places(crop.stored.lattice, crop.first, crop.size)]


def stored_volume(shape, affine):
    """A volume as it is read from a file whose axes (i, j, k) lie so, without one."""
    turn = display_to_stored(affine, shape)
    data = display_view(np.zeros(shape, np.float32), turn)
    source = replace(
        fresh_source(Grid.from_spacing(data.shape, (1, 1, 1))),
        stored_shape=shape,
        affine=affine,
        display_to_stored=turn,
    )
    return Volume(data, Grid(data.shape, RAS_TO_WORLD @ affine @ turn), "stored", source)
