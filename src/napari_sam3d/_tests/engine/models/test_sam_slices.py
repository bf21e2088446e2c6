"""Slice-wise SAM: the network against `segment_anything`, and files that are something else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.utils.transforms import ResizeLongestSide

from napari_sam3d.engine.models.sam_slices import (
    SlicePrompts,
    SliceSam,
    VolumePrompts,
    VolumeSlices,
    from_release,
    infer_sizes,
    segment_steps,
)
from napari_sam3d.engine.models.sam_slices.model import encode_image

KEYS = Path(__file__).parents[6] / "shared" / "reference" / "keys"
TINY = {
    "embed_dim": 48,
    "depth": 3,
    "heads": 4,
    "global_blocks": (1,),
    "image_size": 96,
    "window": 4,
    "channels": 32,
    "mlp_dim": 64,
    "quality_dim": 16,
}


pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(**others) -> SliceSam:
    """A small SAM with seeded weights; what starts at zero has a value too."""
    torch.manual_seed(0)
    model = SliceSam(**TINY, **others)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                parameter.normal_(std=0.2)
    return model.eval().requires_grad_(False)


def picture(shape=(40, 60)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(("image_size", "window"), [(96, 4), (64, 4), (48, 5), (144, 4)])
def test_fast_encoder_is_that_of_segment_anything(image_size, window):
    torch.manual_seed(1)
    model = SliceSam(**{**TINY, "image_size": image_size, "window": window}).eval()
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name or name.endswith("bias"):
            parameter.data.normal_(std=0.3)
    image = torch.randn(2, 3, image_size, image_size)
    with torch.inference_mode():
        expected = model.image_encoder(image)
        torch.testing.assert_close(
            encode_image(model.image_encoder, image), expected, atol=2e-5, rtol=2e-5
        )
    close = encode_image(model.image_encoder, image)  # with gradients, another way
    torch.testing.assert_close(close, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (96, 96), (150, 37)])
@pytest.mark.parametrize("kind", ["point", "points", "box", "box, point and mask"])
def test_a_slice_is_segmented_as_by_sams_own_predictor(shape, kind):
    model, image = tiny(), picture(shape)
    peer = SamPredictor(model)
    peer.set_image(np.repeat(image[:, :, None], 3, 2))
    assert torch.equal(
        model.prepare(image)[0].byte(),
        torch.from_numpy(
            ResizeLongestSide(96).apply_image(np.repeat(image[:, :, None], 3, 2))
        ).permute(2, 0, 1),
    )
    points, labels, box, mask = np.zeros((0, 2)), np.zeros(0), None, None
    if "point" in kind:
        points, labels = np.array([[20.0, 30]]), np.array([1])
    if kind == "points":
        points, labels = np.array([[20.0, 30], [5, 6]]), np.array([1, 0])
    if "box" in kind:
        box = np.array([10.0, 12, 30, 35])
    if "mask" in kind:
        mask = torch.randn(1, 1, 24, 24)
    embedding = model.encode_slice(image)
    found = model.decode_slice(embedding, SlicePrompts(points, labels, box, mask))
    logits, scores, _ = peer.predict(
        point_coords=points[:, ::-1] if len(points) else None,
        point_labels=labels if len(points) else None,
        box=None if box is None else box[[1, 0, 3, 2]],
        mask_input=None if mask is None else mask[0].numpy(),
        multimask_output=kind == "point",
        return_logits=True,
    )
    assert found.logits.shape == shape
    np.testing.assert_allclose(found.logits, logits[scores.argmax()], atol=2e-5)
    assert found.score == pytest.approx(scores.max(), abs=1e-5)
    assert found.coarse.shape == (1, 1, 24, 24)


def test_pixels_that_are_not_square_are_made_square():
    model = tiny()
    thick = picture((20, 60))  # rows three times as far apart as columns
    assert model.prepare(thick, (3.0, 1.0)).shape == (1, 3, 96, 96)
    assert model.prepare(thick, (1.0, 1.0)).shape == (1, 3, 32, 96)
    embedding = model.encode_slice(thick, (3.0, 1.0))
    found = model.decode_slice(embedding, SlicePrompts(np.array([[10.0, 30]]), np.array([1])))
    assert found.logits.shape == (20, 60)
    points, _ = model._on_input(embedding, SlicePrompts(np.array([[10.0, 30]]), np.array([1])))
    assert points[0].tolist() == [[[48.0, 48.0]]]  # the middle stays the middle


def test_half_precision_says_the_same():
    model, image = tiny(), picture()
    prompts = SlicePrompts(np.array([[20.0, 30]]), np.array([1]))
    exact = model.decode_slice(model.encode_slice(image), prompts)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.encode_slice(image)
        found = model.decode_slice(half, prompts)
    assert half.features.dtype == torch.float32 and found.logits.dtype == np.float32
    assert np.abs(found.logits - exact.logits).max() < 0.05 * np.abs(exact.logits).max()


def test_medsam_is_prompted_by_boxes_on_squares():
    model, image = tiny(med_sam=True), picture((20, 60))
    assert model.prepare(image).shape == (1, 3, 96, 96)
    normal = model._normalise(model.prepare(image))
    assert float(normal.min()) == 0 and float(normal.max()) == 1
    embedding = model.encode_slice(image)
    box = np.array([5.0, 10, 15, 40])
    only = model.decode_slice(embedding, SlicePrompts(np.zeros((0, 2)), np.zeros(0), box))
    more = model.decode_slice(embedding, SlicePrompts(np.array([[9.0, 9]]), np.array([1]), box))
    np.testing.assert_array_equal(only.logits, more.logits)
    with pytest.raises(ValueError, match="needs a box, not points"):
        model.decode_slice(embedding, SlicePrompts(np.array([[9.0, 9]]), np.array([1])))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_volume_from_end_to_end(axis, precision):
    volume = np.random.default_rng(1).normal(size=(6, 30, 40))
    slices = VolumeSlices(tiny(), volume, (5.0, 1.0, 1.0), precision=precision)
    prompts = VolumePrompts(axis, np.array([[3.0, 15, 20]]), np.array([1]))
    steps = segment_steps(slices, prompts)
    while True:
        try:
            assert next(steps).pixels >= 0
        except StopIteration as end:
            found = end.value
            break
    assert found.mask.dtype == bool and 0 <= found.score <= 1
    assert volume[found.window].shape == found.mask.shape


@pytest.mark.parametrize("vit", ["vit_b", "vit_l", "vit_h"])
def test_key_lists_of_sams_files_are_covered(vit):
    path = KEYS / f"sam_{vit}_full.json"
    if not path.exists():
        pytest.skip("the full key lists are not beside this checkout")
    listed = json.loads(path.read_text())["state_dict"]
    shapes = {k: s[0] if s and isinstance(s[0], list) else s for k, s in listed.items()}
    with torch.device("meta"):
        state = from_release({k: torch.empty(s) for k, s in shapes.items()})
        own = SliceSam(**infer_sizes(state)).state_dict()
        theirs = sam_model_registry[vit]().state_dict()
    assert {k: tuple(t.shape) for k, t in own.items()} == {k: tuple(s) for k, s in shapes.items()}
    assert list(own) == list(theirs)


def test_sizes_come_from_the_shapes():
    model = tiny()
    assert infer_sizes(model.state_dict()) == TINY
    again = SliceSam(**infer_sizes(model.state_dict()))
    again.load_state_dict(from_release(model.state_dict()))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("image_encoder.layers.0.blocks.0.conv1.c.weight", (1,), "This is a MobileSAM"),
        ("image_encoder.trunk.blocks.0.norm1.weight", (1,), r"This is a SAM 2;"),
        ("vision_encoder.pos_embed", (1,), "layout of transformers"),
        ("image_encoder.FacTu.weight", (1,), "adapters of an MA-SAM"),
        ("image_encoder.blocks.0.attn.rel_pos_d", (1,), "This is a SAM-Med3D"),
        ("model", (1,), r"the tensor image_encoder\.pos_embed is missing"),
    ],
)
def test_other_files_are_refused_in_one_sentence(name, shape, message):
    with pytest.raises(ValueError, match=message) as told:
        from_release({name: torch.zeros(shape)})
    assert str(told.value).count(". ") == 0 and str(told.value).endswith(".")


def test_a_file_without_a_decoder_is_named():
    state = {k: t for k, t in tiny().state_dict().items() if not k.startswith("mask_decoder.")}
    with pytest.raises(ValueError, match=r"the tensor mask_decoder\.transformer.* is missing"):
        from_release(state)
