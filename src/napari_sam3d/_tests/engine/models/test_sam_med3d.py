"""SAM-Med3D against tensors of the released code, and against its plain formulation."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from napari_sam3d.engine.checkpoints import recognise
from napari_sam3d.engine.models.base import PatchPrompts, expected_iou
from napari_sam3d.engine.models.sam_med3d import SamMed3D
from napari_sam3d.engine.models.sam_med3d.decoder import MaskDecoder
from napari_sam3d.engine.models.sam_med3d.encoder import Attention, ImageEncoder, padding_offset
from napari_sam3d.engine.models.sam_med3d.prompt_encoder import PromptEncoder
from napari_sam3d.engine.models.sam_med3d.release import STATE, from_release, sizes, to_release

GOLDEN = Path(__file__).parents[2] / "golden"
PLAIN = Path(__file__).parents[5] / "benchmarks" / "plain" / "sam_med3d.py"
REFERENCE = Path(__file__).parents[6] / "shared" / "reference"
TINY = {"width": 48, "depth": 3, "heads": 4, "out": 48, "decoder_mlp": 96, "iou_hidden": 32}


pytestmark = pytest.mark.usefixtures("one_thread")


def golden(name: str) -> dict[str, Tensor]:
    tensors = load_file(GOLDEN / f"sam_med3d_{name}.safetensors")
    return {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def close(found: Tensor, expected: Tensor) -> bool:
    """Within the tolerances of the reference: 2e-4, and 2e-5 of the largest value."""
    assert found.shape == expected.shape and found.dtype == torch.float32
    difference = float((found - expected).abs().max())
    return difference < 2e-4 and difference <= 2e-5 * float(expected.abs().max())


def tiny(**changes) -> SamMed3D:
    torch.manual_seed(0)
    model = SamMed3D(**{"image_size": 64, "window": 6, "global_blocks": (1,), **TINY, **changes})
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name or "norm" in name:
            torch.nn.init.normal_(parameter, float("norm" in name and "weight" in name), 0.3)
    return model.eval()


def some_prompts(batch: int = 1, size: int = 64) -> PatchPrompts:
    generator = torch.Generator().manual_seed(1)
    points = torch.randint(0, size, (batch, 2, 3), generator=generator).float()
    mask = torch.randn(batch, 1, *(size // 4,) * 3, generator=generator)
    return PatchPrompts(points, torch.tensor([[1, 0]] * batch), mask)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "size", "window"), [("A", 16, 6), ("B", 20, 3)])
def test_the_encoder_is_the_released_one(name, size, window):
    tensors = golden("image_encoder")
    encoder = ImageEncoder(
        image_size=size,
        patch_size=4,
        width=48,
        depth=4,
        heads=4,
        window=window,
        global_blocks=(1, 3),
        out=48,
    )
    encoder.load_state_dict(under(tensors, f"sd.{name}."))
    x = encoder.patch_embed(tensors[f"in.{name}.image"]) + encoder.pos_embed
    assert close(x, tensors[f"mid.{name}.after_pos"])
    if name == "A":
        block = encoder.blocks[0]
        expected = tensors["mid.A.block0.attn_out_windows"][:, :4, :4, :4]
        assert close(block.attn(block.norm1(x)), expected)
    for index, block in enumerate(encoder.blocks):
        x = block(x)
        assert close(x, tensors[f"mid.{name}.block{index}"])
    assert close(encoder(tensors[f"in.{name}.image"]), tensors[f"out.{name}"])


@torch.inference_mode()
def test_relative_positions_are_added_to_the_axes_they_were_added_to():
    tensors = golden("relpos")
    attention = Attention(6, 1, 4)
    for axis in "dhw":
        getattr(attention, f"rel_pos_{axis}").copy_(tensors[f"in.rel_pos_{axis}"])
    q = tensors["in.q"].view(2, 1, 4, 4, 4, 6)
    own, first, second = attention._position_terms(q)
    bias = (
        own[..., None, None, :]
        + (first[..., :, None, :] + second[..., None, :, :])[:, :, :, :, None]
    )
    found = tensors["in.attn"] + bias.reshape(2, 64, 64)
    assert float((found - tensors["out.attn"]).abs().max()) < 1e-5


def test_the_offset_of_the_padding_is_the_sum_over_all_of_its_keys():
    generator = torch.Generator().manual_seed(0)
    n, window = 3, 5
    own = torch.randn(2, n, n, n, window, generator=generator, dtype=torch.float64)
    first, second = torch.randn(2, 2, n, n, window, window, generator=generator).double()
    bias = (
        own[..., None, None, :] + (first[..., :, None, :] + second[..., None, :, :])[:, :, :, None]
    )
    padding = torch.ones(window, window, window, dtype=torch.bool)
    padding[:n, :n, :n] = False
    expected = bias[..., padding].logsumexp(-1)
    assert torch.allclose(padding_offset(own, first, second, n), expected)


@torch.inference_mode()
def test_the_prompt_encoder_is_the_released_one():
    tensors = golden("prompt_encoder")
    points, labels, mask = tensors["in.points"], tensors["in.labels"], tensors["in.mask"]
    zeros = torch.zeros_like(mask)

    def build(prefix, kinds):
        encoder = PromptEncoder(
            width=48, grid=4, image_size=16, mask_channels=16, point_kinds=kinds
        )
        encoder.load_state_dict(under(tensors, prefix))
        return encoder

    encoder = build("sd.", 2)
    assert close(encoder(PatchPrompts(points, labels, zeros))[0], tensors["out.points_only.sparse"])
    for name, given in (("points_mask", mask), ("zero_mask", zeros)):
        sparse, dense = encoder(PatchPrompts(points[:, :1], labels[:, :1], given))
        assert close(sparse, tensors[f"out.{name}.sparse"])
        assert close(dense, tensors[f"out.{name}.dense"])
    sparse, dense = encoder(PatchPrompts(points[:, :0], labels[:, :0], mask))
    assert sparse.shape == tensors["out.mask_only.sparse"].shape == (1, 0, 48)
    assert close(dense, tensors["out.mask_only.dense"])
    assert close(encoder.dense_pe(), tensors["out.dense_pe"])
    assert close(encoder.pe_layer((points + 0.5) / 16), tensors["out.pe_of_points"])

    boxes = tensors["in.box"].view(2, 2, 3)
    two = (points.expand(2, -1, -1), labels.expand(2, -1), zeros.expand(2, -1, -1, -1, -1))
    encoder = build("sdbox.", 4)
    nothing = PatchPrompts(two[0][:, :0], two[1][:, :0], two[2], boxes)
    assert close(encoder(nothing)[0], tensors["out.box.sparse"])
    assert close(encoder(PatchPrompts(*two, boxes))[0], tensors["out.box_points.sparse"])


@torch.inference_mode()
def test_the_decoder_is_the_released_one():
    tensors = golden("mask_decoder")
    decoder = MaskDecoder(width=48, mlp=96, iou_hidden=32)
    decoder.load_state_dict(under(tensors, "sd."))
    image = tensors["in.image_embedding"], tensors["in.image_pe"]
    for multimask in (False, True):
        masks, iou = decoder(*image, tensors["in.sparse"], tensors["in.dense"], multimask)
        assert close(masks, tensors[f"out.multimask{multimask}.masks"])
        assert close(iou, tensors[f"out.multimask{multimask}.iou"])
    masks, iou = decoder(*image, tensors["in.batch2.sparse"], tensors["in.dense"])
    assert close(masks, tensors["out.batch2.masks"]) and close(iou, tensors["out.batch2.iou"])


def test_all_keys_of_the_released_files_fit_at_full_size():
    keys = json.loads((GOLDEN / "sam_med3d_keys.json").read_text())
    released = {
        key: torch.empty(shape, device="meta")
        for key, (shape, _) in keys["model_state_dict"].items()
    }
    boxes = {
        key: torch.empty(shape, device="meta")
        for key, (shape, _) in keys["bbox_variant"]["extra_keys"].items()
    }
    for state, kinds in ((released, 2), (released | boxes, 4)):
        assert sizes(state)["point_kinds"] == kinds
        with torch.device("meta"):
            model = SamMed3D(**sizes(state))
        own = model.state_dict()
        assert {k: t.shape for k, t in own.items()} == {k: t.shape for k, t in state.items()}
    with torch.device("meta"):
        model = SamMed3D()

    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert sizes(released) == sizes(model.state_dict())
    assert count(model) == 100_509_232
    assert count(model.image_encoder) == 92_924_928
    assert count(model.prompt_encoder) == 8_668
    assert count(model.mask_decoder) == 7_575_636


def test_files_in_the_released_layouts_load(tmp_path):
    state = {k: t for k, t in golden("full_clicks").items() if k.startswith(STATE)}
    state = under(state, f"{STATE}.")
    training = {"epoch": 3, "optimizer_state_dict": {"state": {0: torch.ones(2)}}, "best_dice": 0.5}
    path = tmp_path / "any.pth"
    for checkpoint in (to_release(state), to_release(state) | training, state):
        torch.save(checkpoint, path)
        found = from_release(torch.load(path, weights_only=True))
        assert recognise(checkpoint, path.name) == "sam_med3d" and found.keys() == state.keys()
        SamMed3D(**sizes(found)).load_state_dict(found)
    with pytest.raises(ValueError, match="no file of SAM-Med3D"):
        from_release(training)
    with pytest.raises(ValueError, match="pos_embed"):
        sizes({})
    without = {k: t for k, t in state.items() if "rel_pos_d" not in k}
    with pytest.raises(ValueError, match="rel_pos_d"):
        sizes(without)


def test_the_tiny_file_of_the_reference_loads():
    path = REFERENCE / "sam_med3d_full_tiny.pth"
    if not path.is_file():
        pytest.skip("the reference files are not beside this checkout")
    state = from_release(torch.load(path, weights_only=True))
    expected = under(golden("full_clicks"), f"{STATE}.")
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[k].float(), t) for k, t in expected.items())


@pytest.fixture(scope="module")
def plain():
    if not PLAIN.is_file():
        pytest.skip("the plain formulation is in benchmarks/, which this installation lacks")
    spec = importlib.util.spec_from_file_location("plain_sam_med3d", PLAIN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
@pytest.mark.parametrize("window", [3, 4, 6])
def test_the_fast_form_is_the_plain_one(plain, window):
    ours = tiny(window=window)
    written_out = plain.PlainSamMed3D(ours)
    patch = torch.randn(2, 1, 64, 64, 64, generator=torch.Generator().manual_seed(2))
    embedding = ours.encode_image(patch)
    assert close(embedding.features, written_out.encode(patch))
    prompts = some_prompts()
    features = embedding.features[:1]
    found = ours.mask_decoder(features, embedding.position, *ours.prompt_encoder(prompts))[0]
    expected = written_out.click(features, prompts.points, prompts.labels, prompts.mask)
    assert close(found, expected)


def test_gradients_and_inference_give_the_same_and_batches_do_not_mix():
    model, patch = tiny(), torch.randn(2, 1, 64, 64, 64)
    prompts = some_prompts(2)
    trained = model(patch, prompts).logits
    with torch.inference_mode():
        inferred = model(patch, prompts).logits
        single = PatchPrompts(prompts.points[1:], prompts.labels[1:], prompts.mask[1:])
        alone = model(patch[1:], single).logits
    assert trained.requires_grad and close(inferred, trained.detach())
    assert close(alone, inferred[1:])


def test_gradients_reach_the_adapters_alone():
    model = tiny()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(model.is_adapter(name))
    model(torch.randn(1, 1, 64, 64, 64), some_prompts()).logits.square().mean().backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {"prompt_encoder", "mask_decoder"}
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model(torch.randn(1, 1, 64, 64, 64), some_prompts()).logits.square().mean().backward()
    for axis in "dhw":  # through the collapsed padding too
        table = getattr(model.image_encoder.blocks[0].attn, f"rel_pos_{axis}")
        assert table.grad.abs().sum() > 0


@torch.inference_mode()
def test_bfloat16_comes_close():
    model, patch, prompts = tiny(), torch.randn(1, 1, 64, 64, 64), some_prompts()
    exact = model(patch, prompts).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = model.encode_image(patch)
        rounded = model.decode_masks(embedding, prompts).logits
    assert embedding.features.dtype == rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).abs().max()) < 0.02 * float(exact.abs().max())


@torch.inference_mode()
def test_a_mask_of_another_resolution_is_interpolated():
    model, prompts = tiny(), some_prompts()
    embedding = model.encode_image(torch.randn(1, 1, 64, 64, 64))
    fine = torch.full((1, 1, 64, 64, 64), 2.0)
    coarse = torch.full((1, 1, 16, 16, 16), 2.0)
    found = [
        model.decode_masks(embedding, PatchPrompts(prompts.points, prompts.labels, mask)).logits
        for mask in (fine, coarse)
    ]
    assert close(*found)


def test_boxes_need_the_file_that_learned_them():
    box = torch.tensor([[[10.0, 12, 14], [40, 42, 44]]])
    asked = some_prompts()
    prompts = PatchPrompts(asked.points, asked.labels, asked.mask, box)
    patch = torch.randn(1, 1, 64, 64, 64)
    with pytest.raises(ValueError, match="take no boxes"):
        tiny()(patch, prompts)
    model = tiny(point_kinds=4)
    with torch.inference_mode():
        assert not torch.equal(model(patch, prompts).logits, model(patch, asked).logits)


def test_the_expected_iou_is_that_of_the_probabilities():
    sure = torch.full((2, 1, 2, 2, 2), -50.0)
    sure[0, 0, 0] = 50
    assert torch.allclose(expected_iou(sure), torch.tensor([1.0, 0.0]))
    half = torch.zeros(1, 1, 1, 1, 2)
    half[..., 0] = torch.logit(torch.tensor(0.8))  # inside with chance 0.8; outside, but for 0.5
    assert torch.allclose(expected_iou(half), torch.tensor([0.8 / 1.5]))
