"""Where objects of a class lie and what they are like, whatever the orientation of the file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import nibabel
import numpy as np
import pytest

from napari_sam3d._tests.nifti_files import ORIENTATIONS
from napari_sam3d.engine.class_prior import ClassPrior, read_prior
from napari_sam3d.engine.training.preflight import labelled
from napari_sam3d.engine.training.priors import priors_of
from napari_sam3d.io.pairs import PairFiles, read_pair
from napari_sam3d.labelled import Labelled
from napari_sam3d.volume import Grid, Volume


def case(*blocks, shape=(10, 20, 40), names=None) -> Labelled:
    """Blocks (label, first corner, edges) in a volume of 2 x 1 x 1 mm, brighter than the rest."""
    labels = np.zeros(shape, np.uint8)
    for label, start, edges in blocks:
        labels[tuple(slice(a, a + n) for a, n in zip(start, edges, strict=True))] = label
    image = np.where(labels > 0, 100, 0).astype(np.int16)
    return Labelled(Volume(image, Grid.from_spacing(shape, (2, 1, 1)), "x"), labels, names or {})


def test_a_prior_tells_place_size_and_brightness():
    (prior,) = priors_of([case((3, (2, 4, 8), (4, 4, 8)), names={3: "femur"})])
    assert (prior.label, prior.name, prior.cases, prior.of, prior.parts) == (3, "femur", 1, 1, 1)
    assert prior.centre == (0.4, 0.3, 0.3)  # voxels 2 to 5 of 10, 4 to 7 of 20, 8 to 15 of 40
    assert prior.size_mm == (8, 4, 8) and prior.extent_mm == (20, 20, 40)
    assert prior.brightness == pytest.approx(1 - 0.5 * 128 / 8000, abs=0.01)
    spreads = prior.centre_spread, prior.size_spread_mm, prior.brightness_spread
    assert spreads == ((0, 0, 0), (0, 0, 0), 0)


def test_means_and_spreads_are_over_the_cases_that_have_the_class():
    first, second = ((1, (2, 4, 8), (4, 4, 8)),), ((1, (4, 4, 8), (4, 4, 16)),)
    only = (2, (0, 0, 30), (5, 5, 5))
    one, two = priors_of([case(*first, only), case(*second), case(*first), case(*second)])
    assert (one.cases, one.of, two.cases, two.of) == (4, 4, 1, 4)
    assert one.centre == (0.5, 0.3, 0.35) and one.size_mm == (8, 4, 12)
    deviation = np.sqrt(4 / 3)  # of two times -1 and two times 1
    np.testing.assert_allclose(one.centre_spread, deviation * np.array([0.1, 0, 0.05]), atol=1e-4)
    np.testing.assert_allclose(one.size_spread_mm, deviation * np.array([0, 0, 4]), atol=1e-3)


def test_separate_parts_are_counted_without_crumbs():
    (prior,) = priors_of(
        [case((1, (0, 0, 0), (5, 5, 5)), (1, (5, 10, 20), (5, 5, 5)), (1, (9, 19, 39), (1, 1, 1)))]
    )
    assert prior.parts == 2


def test_labels_that_tell_objects_of_a_kind_apart_have_no_prior():
    nuclei = [(1 + i, (0, 4 * (i % 5), 4 * (i // 5)), (3, 3, 3)) for i in range(25)]
    assert priors_of([case(*nuclei)]) == ()
    named = priors_of([case(*nuclei, names={1: "liver"})])
    assert len(named) == 25 and [it.name for it in named[:2]] == ["liver", "label 2"]


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::5])
def test_priors_are_the_same_whatever_the_orientation_of_the_file(tmp_path, order, signs):
    """The object lies high up, in front and on the right, and is long from left to right."""
    labels = np.zeros((20, 24, 16), np.uint8)  # RAS: i grows to the right, j to the front, k up
    labels[10:20, 16:22, 12:15] = 7
    image = np.random.default_rng(0).normal(0, 1, labels.shape) + 5 * labels
    affine = np.diag([1.5, 1, 3, 1])
    ornt = np.array([order, signs]).T
    inverse = nibabel.orientations.inv_ornt_aff(ornt, labels.shape)
    paths = []
    for name, array in (("x.nii", image.astype(np.float32)), ("x_seg.nii", labels)):
        stored = nibabel.orientations.apply_orientation(array, ornt)
        nibabel.save(nibabel.Nifti1Image(stored, affine @ inverse), tmp_path / name)
        paths.append(tmp_path / name)
    (prior,) = priors_of(labelled([read_pair(PairFiles(*paths))]))
    # z toward inferior, y toward posterior, x toward left
    assert prior.centre == tuple(np.round([1 - 13.5 / 16, 1 - 19 / 24, 1 - 15 / 20], 4))
    assert prior.size_mm == (9, 6, 15) and prior.extent_mm == (48, 24, 30)
    assert prior.parts == 1 and prior.brightness > 0.9


def prior(**other) -> ClassPrior:
    told = ClassPrior(
        label=1,
        name="femur",
        cases=2,
        of=3,
        parts=1.0,
        centre=(0.1, 0.2, 0.3),
        centre_spread=(0, 0, 0.1),
        size_mm=(1, 2, 3),
        size_spread_mm=(0, 1, 0),
        brightness=0.5,
        brightness_spread=0.1,
        extent_mm=(10, 20, 30),
    )
    return replace(told, **other)


def test_a_prior_survives_json_and_a_newer_version():
    said = json.loads(json.dumps(asdict(prior())))
    assert read_prior({**said, "of the future": 1}) == prior()


@pytest.mark.parametrize(
    "change",
    [
        *({"label": "1"}, {"name": 1}, {"centre": [1, 2]}, {"centre": 1}, {"parts": None}),
        *({"cases": 0}, {"size_mm": [1, 0, 1]}, {"extent_mm": [1, 1, 0]}, {"extent_mm": 3}),
    ],
)
def test_what_is_no_prior_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        read_prior({**json.loads(json.dumps(asdict(prior()))), **change})
    with pytest.raises(ValueError, match="a class"):
        read_prior([1, 2])
