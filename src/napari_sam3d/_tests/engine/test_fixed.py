"""Patches of fixed voxel size, with a network that can be computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam3d._tests.nifti_files import nifti, numbers, put
from napari_sam3d.catalog import Intensity, model_spec
from napari_sam3d.engine.fixed import FixedPredictor, working_grid
from napari_sam3d.engine.intensity import apply_intensity
from napari_sam3d.engine.metrics import dice
from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.prediction import Cancelled, recut
from napari_sam3d.engine.union import Union, View
from napari_sam3d.io import read_nifti
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SPEC = replace(
    model_spec("compact"),
    patch_shape=(32, 32, 32),
    spacing_mm=1.0,
    intensity=Intensity(kind="window", low=-1e9, high=1e9),
)


class SameValue(PromptableModel):
    """Foreground is what is as bright as the first positive point, less what is as a negative."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.encoded: list[torch.Tensor] = []
        self.asked: list[PatchPrompts] = []

    def encode_image(self, patch):
        self.encoded.append(patch)
        return patch

    def decode_masks(self, embedding, prompts: PatchPrompts) -> Masks:
        self.asked.append(prompts)
        at = prompts.points[0].round().long()
        values = embedding[0, 0][tuple(at.T)]
        mask = (embedding - values[prompts.labels[0] == 1][0]).abs() < 10
        for value in values[prompts.labels[0] == 0]:
            mask &= (embedding - value).abs() >= 10
        return Masks(mask.float() * 20 - 10, torch.tensor([0.5]))

    @staticmethod
    def is_adapter(name: str) -> bool:
        return True


def predictor(**changes) -> FixedPredictor:
    settings = InferenceSettings(device="cpu", precision="fp32")
    return FixedPredictor(SameValue().eval(), replace(SPEC, **changes), settings)


def rod(shape=(40, 40, 200), low=(15, 18, 10), high=(25, 26, 190)):
    """A long box of 100 in a volume of zeros, 1 mm."""
    image = np.zeros(shape, np.int16)
    image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 100
    return Volume(image, Grid.from_spacing(shape, (1, 1, 1)), "rod"), image > 0


@pytest.mark.parametrize("axes", ["IPL", "RAS", "SPR"])
def test_the_mask_goes_on_where_the_object_does(axes):
    volume, truth = rod()
    it = predictor(axes=axes)
    first = it.predict(volume, Prompts().add(Point((20, 20, 100))))
    np.testing.assert_array_equal(first.full(truth.shape), truth)
    assert len(first.views) == 11  # 32 voxels each, every 16, over 180
    encoded = len(it.model.encoded)
    assert encoded == 11
    again = it.predict(volume, Prompts().add(Point((20, 20, 100))), first)
    np.testing.assert_array_equal(again.full(truth.shape), truth)
    assert len(it.model.encoded) == encoded  # all its patches were remembered


@pytest.mark.parametrize(("low", "high", "chunks"), [(10, 190, range(10)), (92, 108, range(3, 7))])
def test_only_the_patches_of_a_volume_on_disk_are_read(low, high, chunks):
    import dask.array as da

    volume, truth = rod(low=(15, 18, low), high=(25, 26, high))
    read: set[int] = set()

    def remember(block, block_info=None):
        if block_info:
            read.add(block_info[0]["chunk-location"][2])
        return block

    stored = da.from_array(volume.data, chunks=(40, 40, 20))
    lazy = replace(volume, data=stored.map_blocks(remember, dtype=np.int16))
    found = predictor().predict(lazy, Prompts().add(Point((20, 20, 100))))
    np.testing.assert_array_equal(found.full(truth.shape), truth)
    assert read <= set(chunks)


def test_memory_for_embeddings_is_bounded():
    volume, truth = rod()
    it = predictor()
    it._embeddings.limit_bytes = 3 * 32**3 * 4
    found = it.predict(volume, Prompts().add(Point((20, 20, 100))))
    np.testing.assert_array_equal(found.full(truth.shape), truth)
    assert len(it._embeddings) == 3


def test_a_small_object_needs_one_patch_and_later_clicks_no_encoding():
    volume, truth = rod(low=(15, 18, 90), high=(25, 26, 110))
    it = predictor()
    prompts = Prompts().add(Point((20, 20, 100)))
    first = it.predict(volume, prompts)
    second = it.predict(volume, prompts.add(Point((5, 5, 100), positive=False)), first)
    np.testing.assert_array_equal(second.full(truth.shape), truth)
    assert len(it.model.encoded) == 1 and len(it.model.asked) == 2
    # the logits of the first answer come back as they were
    assert torch.equal(it.model.asked[1].mask, first.views[0].logits)
    assert not it.model.asked[0].mask.any()


def test_a_click_out_of_sight_gets_a_patch_of_its_own():
    volume, _ = rod(low=(15, 18, 90), high=(25, 26, 110))
    volume.data[15:25, 18:26, 30:50] = 100  # the other half of the object
    it = predictor()
    prompts = Prompts().add(Point((20, 20, 100)))
    first = it.predict(volume, prompts)
    second = it.predict(volume, prompts.add(Point((20, 20, 40))), first)
    assert len(it.model.encoded) == 2
    assert [view.start[2] for view in second.views] == [40 - 16, 100 - 16]
    np.testing.assert_array_equal(second.full(volume.grid.shape), volume.data > 0)
    both = predictor().predict(volume, prompts.add(Point((20, 20, 40))))
    np.testing.assert_array_equal(both.full(volume.grid.shape), volume.data > 0)


def test_another_object_in_the_next_patch_is_not_taken_along():
    volume, _ = rod(low=(15, 18, 90), high=(25, 26, 116))
    volume.data[:, :, 116:] = 100  # beyond the face of the first patch there is a wall

    class Forgetful(SameValue):
        def decode_masks(self, embedding, prompts):
            masks = super().decode_masks(embedding, prompts)
            return masks if len(self.asked) == 1 else Masks(-masks.logits, masks.iou)

    it = predictor()
    it.model = Forgetful().eval()
    found = it.predict(volume, Prompts().add(Point((20, 20, 100))))
    assert len(it.model.asked) > 1 and len(found.views) == 1


@pytest.mark.parametrize("spacing", [(2.5, 0.8, 0.8), (0.5, 0.5, 3.0)])
def test_other_voxel_sizes(spacing):
    shape = tuple(int(60 / s) for s in spacing)
    grid = Grid.from_spacing(shape, spacing, (10, -20, 30))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    middle = np.array(shape) // 2
    ball = (((index - middle) * spacing) ** 2).sum(-1) < 12**2
    volume = Volume((ball * 100).astype(np.int16), grid, "ball")
    found = predictor().predict(volume, Prompts().add(Point(tuple(map(float, middle)))))
    # linear interpolation of a hard edge: the values within 10 of 100 are a little inside
    assert dice(found.full(shape), ball) > 0.85


THIRTEEN = replace(SPEC, spacing_mm=1.3)


def test_the_working_grid_begins_at_the_first_stored_voxel(tmp_path):
    volume = read_nifti(put(tmp_path / "a.nii", nifti(numbers((5, 6, 7)))))  # 2 x 1.5 x 3 mm, RAS
    grid = working_grid(volume, THIRTEEN)
    assert grid.shape == (16, 6, 7)  # 21 / 1.3, 9 / 1.3, 10 / 1.3
    np.testing.assert_allclose(grid.spacing, 1.3)
    # RAS is stored from the far corner of the display, where the corners of both grids meet
    far = grid.to_world(np.array(grid.shape) - 0.5)
    np.testing.assert_allclose(far, volume.grid.to_world(np.array(volume.grid.shape) - 0.5))
    bare = Volume(volume.data, volume.grid)
    near = working_grid(bare, THIRTEEN).to_world([-0.5, -0.5, -0.5])
    np.testing.assert_allclose(near, volume.grid.to_world([-0.5, -0.5, -0.5]))


def test_cancelling_and_points_outside():
    volume, _ = rod()
    with pytest.raises(Cancelled):
        predictor().predict(volume, Prompts().add(Point((20, 20, 100))), cancelled=lambda: True)
    with pytest.raises(ValueError, match="outside rod"):
        predictor().predict(volume, Prompts().add(Point((20, 20, 300))))


def test_intensities():
    image = torch.tensor([[[-100.0, 10.0, 20.0, float("nan")]]])
    inside = torch.tensor([[[True, True, True, False]]])
    window = Intensity(kind="window", low=0, high=15, mean=5, std=5)
    assert apply_intensity(window, image, inside).tolist() == [[[-1.0, 1.0, 2.0, 0.0]]]
    positive = apply_intensity(Intensity(kind="positive"), image, inside)
    # mean 15 and deviation (of a sample) sqrt(50) of what is above zero
    expected = (torch.tensor([[[-100.0, 10.0, 20.0, 0.0]]]) - 15) / 50**0.5
    torch.testing.assert_close(positive, expected)
    assert torch.isfinite(apply_intensity(Intensity(kind="positive"), image * 0, inside)).all()


def test_the_working_grid_counts_partial_voxels_where_the_release_does():
    volume = Volume(np.zeros((5, 6, 7)), Grid.from_spacing((5, 6, 7), (1, 1, 1)))
    assert working_grid(volume, replace(SPEC, spacing_mm=1.5)).shape == (3, 4, 4)
    assert working_grid(volume, replace(SPEC, spacing_mm=1.5, partial_voxels=True)).shape == (
        4,
        4,
        5,
    )


def test_views_are_averaged_where_they_overlap():
    def view(start, value):
        return View(start, torch.full((4, 4, 4), value), torch.zeros(1), 0.5)

    union = Union(view((0, 0, 0), 1.0))
    union.add(view((0, 0, -2), 0.0))
    assert union.start.tolist() == [0, 0, -2]
    line = union.probability[2, 2]
    assert line[:2].tolist() == [0, 0] and line[4:].tolist() == [1, 1]
    assert line[2] < 0.5 < line[3]
    assert union.covered().all()


def test_another_threshold_is_cut_from_the_probabilities():
    volume, truth = rod()
    it = predictor()
    prompts = Prompts().add(Point((20, 20, 100)))
    found = it.predict(volume, prompts)
    # logits of 10 and -10 leave no doubt at any threshold
    for threshold in (0.05, 0.95):
        settings = InferenceSettings(threshold=threshold)
        again = recut(found, volume.grid, prompts, settings)
        np.testing.assert_array_equal(again.full(truth.shape), truth)
    doubtful = replace(found, logits=found.logits / 10)
    none = recut(doubtful, volume.grid, prompts, InferenceSettings(threshold=0.99))
    assert not none.mask.any()
