"""Slices and classes: networks by hand behind the predictors of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d.catalog import Intensity, model_spec
from napari_sam3d.engine.classes import ClassPredictor
from napari_sam3d.engine.models.ma_sam.model import ClassLogits, GroupEmbedding
from napari_sam3d.engine.models.sam_slices.model import SliceMask
from napari_sam3d.engine.prediction import Cancelled
from napari_sam3d.engine.slicewise import SlicePredictor, slice_axis
from napari_sam3d.prompts import Box, Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SETTINGS = InferenceSettings(device="cpu", precision="fp32")


def cylinder(shape=(20, 24, 28), z=(4, 15)):
    """A bright cylinder along z, of 1 mm voxels."""
    _, y, x = np.indices(shape)
    mask = ((y - 12) ** 2 + (x - 14) ** 2) < 6**2
    mask[: z[0]] = mask[z[1] :] = False
    return Volume((mask * 200).astype(np.int16), Grid.from_spacing(shape, (1, 1, 1)), "tin"), mask


class BrightSlices(torch.nn.Module):
    """The bright pixels of a slice are the object."""

    boxes_only = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.encoded = 0

    def encode_slice(self, image, pixel_size):
        self.encoded += 1
        return image

    def decode_slice(self, embedding, prompts):
        mask = embedding > 128
        logits = np.where(mask, 9.0, -9.0).astype(np.float32)
        return SliceMask(logits, 0.9 if mask.any() else 0.0, torch.zeros(1, 1, 4, 4))


def test_slices_follow_the_object_to_its_ends():
    volume, truth = cylinder()
    predictor = SlicePredictor(BrightSlices(), model_spec("sam_vit_b"), SETTINGS)
    found = predictor.predict(volume, Prompts().add(Point((9, 12, 14))))
    np.testing.assert_array_equal(found.full(truth.shape), truth)
    encoded = predictor.model.encoded
    predictor.predict(volume, Prompts().add(Point((9, 12, 14))).add(Point((5, 12, 14))), found)
    assert predictor.model.encoded == encoded  # all slices were known
    with pytest.raises(Cancelled):
        predictor.predict(volume, Prompts().add(Point((9, 12, 14))), cancelled=lambda: True)
    with pytest.raises(ValueError, match="outside tin"):
        predictor.predict(volume, Prompts().add(Point((90, 12, 14))))


def test_a_box_bounds_the_slices():
    volume, truth = cylinder()
    predictor = SlicePredictor(BrightSlices(), model_spec("sam_vit_b"), SETTINGS)
    found = predictor.predict(volume, Prompts(box=Box((6, 5, 7), (10, 19, 21))))
    truth[:6] = truth[11:] = False
    np.testing.assert_array_equal(found.full(truth.shape), truth)


def test_models_for_boxes_refuse_points():
    model = BrightSlices()
    model.boxes_only = True
    predictor = SlicePredictor(model, model_spec("medsam"), SETTINGS)
    with pytest.raises(ValueError, match="medsam takes a box"):
        predictor.predict(cylinder()[0], Prompts().add(Point((9, 12, 14))))


@pytest.mark.parametrize(
    ("spacing", "axis"), [((1, 1, 1), 0), ((1, 1, 1.1), 0), ((1, 3, 1), 1), ((0.8, 0.8, 5), 2)]
)
def test_slices_are_cut_as_they_were_scanned(spacing, axis):
    assert slice_axis(Grid.from_spacing((9, 9, 9), spacing)) == axis


@pytest.mark.parametrize(("slices", "axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_slices_are_cut_as_the_user_says(slices, axis):
    assert slice_axis(Grid.from_spacing((9, 9, 9), (1, 3, 9)), slices) == axis
    volume, truth = cylinder()
    settings = replace(SETTINGS, slices=slices)
    predictor = SlicePredictor(BrightSlices(), model_spec("sam_vit_b"), settings)
    found = predictor.predict(volume, Prompts().add(Point((9, 12, 14))))
    np.testing.assert_array_equal(found.full(truth.shape), truth)


def test_volumes_that_stay_on_disk():
    da = pytest.importorskip("dask.array", reason="napari brings dask")
    volume, truth = cylinder(shape=(20, 28, 28))
    lazy = replace(volume, data=da.from_array(volume.data, chunks=(5, 28, 28)))
    slices = SlicePredictor(BrightSlices(), model_spec("sam_vit_b"), SETTINGS)
    found = slices.predict(lazy, Prompts().add(Point((9, 12, 14))))
    np.testing.assert_array_equal(found.full(truth.shape), truth)
    np.testing.assert_array_equal(classes(axes="SPL").segment_all(lazy), truth)


class BrightClasses(torch.nn.Module):
    """Bright pixels are class 1, in a box if there is one; groups of slices pass as they are."""

    classes = 2
    image_size = 28

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[torch.Tensor] = []

    def encode_image(self, patch):
        self.seen.append(patch)
        return GroupEmbedding(patch[0, 0][:, None], patch.shape[2])

    def decode_classes(self, embedding, boxes=None):
        bright = embedding.image[:, 0] > 0.5  # (slices, h, w)
        if boxes is not None:
            rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
            for one, (x0, y0, x1, y1) in zip(bright, boxes[0], strict=True):
                one &= (columns >= x0) & (columns <= x1) & (rows >= y0) & (rows <= y1)
        logits = torch.full((1, 3, *bright.shape), -9.0)
        logits[0, 0][~bright] = 9
        logits[0, 1][bright] = 9
        return ClassLogits(logits, torch.zeros(1, 3, len(bright)))


def classes(**changes) -> ClassPredictor:
    spec = replace(
        model_spec("ma_sam_btcv"), intensity=Intensity(kind="window", low=0, high=200), **changes
    )
    return ClassPredictor(BrightClasses(), spec, SETTINGS)


@pytest.mark.parametrize("axes", ["IPL", "SPL", "SAR"])
def test_all_classes_of_a_volume(axes):
    volume, truth = cylinder(shape=(20, 28, 28))
    told: list[float] = []
    labels = classes(axes=axes).segment_all(volume, progress=told.append)
    np.testing.assert_array_equal(labels, truth)
    assert told == sorted(told) and told[-1] == 1
    with pytest.raises(Cancelled):
        classes(axes=axes).segment_all(volume, cancelled=lambda: True)


@pytest.mark.parametrize("axes", ["IPL", "SPL", "SAR"])
def test_what_is_in_a_box(axes):
    volume, truth = cylinder(shape=(20, 28, 28))
    box = Box((6, 5, 7), (10, 12, 21))
    found = classes(axes=axes).predict(volume, Prompts(box=box))
    expected = np.zeros_like(truth)
    expected[6:11, 5:13, 7:22] = truth[6:11, 5:13, 7:22]
    np.testing.assert_array_equal(found.full(truth.shape), expected)
    with pytest.raises(ValueError, match="takes a box, or no prompt"):
        classes().predict(volume, Prompts().add(Point((9, 12, 14))))
