"""3DSAM-adapter against tensors of the released code, and against its plain formulation."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.sam3d_adapter import (
    AutomaticSam3DAdapter,
    Sam3DAdapter,
    from_release,
    initialise_from_sam,
    release_sizes,
    segment_automatically,
    to_release,
)
from napari_sam3d.engine.models.sam3d_adapter.attention import runs
from napari_sam3d.engine.models.sam3d_adapter.automatic import window_count
from napari_sam3d.engine.models.sam3d_adapter.image_encoder import ImageEncoder
from napari_sam3d.engine.models.sam3d_adapter.mask_decoder import MaskDecoder, convolve_doubled
from napari_sam3d.engine.models.sam3d_adapter.model import SAM_SIZES, is_tuned
from napari_sam3d.engine.models.sam3d_adapter.patch_embedding import embed_patch
from napari_sam3d.engine.models.sam3d_adapter.prompt_encoder import VisualSampler, sample_tokens
from napari_sam3d.engine.models.sam3d_adapter.release import shift_mask

GOLDEN = Path(__file__).parents[2] / "golden"
PLAIN = Path(__file__).parents[5] / "benchmarks" / "plain" / "sam3d_adapter.py"
REFERENCE = Path(__file__).parents[6] / "shared" / "reference"
ENCODER = {"dim": 48, "depth": 12, "heads": 4, "grid": 8, "crop": 32, "window": 4, "width": 32}
TINY = {**ENCODER, "table_window": 7, "narrow": 16, "prompt_mlp": 64}


pytestmark = pytest.mark.usefixtures("one_thread")


def golden(name: str) -> dict[str, Tensor]:
    path = GOLDEN / f"3dsam_adapter_{name}.safetensors"
    if not path.exists():
        path = REFERENCE / path.name
    if not path.exists():
        pytest.skip(f"{path.name} is too large for the repository and ../shared is not here")
    return {k: t.float() if t.is_floating_point() else t for k, t in load_file(path).items()}


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def close(found: Tensor, expected: Tensor) -> bool:
    """Within the tolerances of the reference: 2e-4, and 2e-5 of the largest value."""
    assert found.shape == expected.shape and found.dtype == torch.float32
    expected = expected.detach()
    difference = float((found.detach() - expected).abs().max())
    return difference < 2e-4 and difference <= 2e-5 * float(expected.abs().max())


def prompts(points: Tensor, labels: Tensor | None = None) -> PatchPrompts:
    labels = torch.ones(points.shape[:2]) if labels is None else labels
    return PatchPrompts(points, labels, torch.zeros(len(points), 1, 1, 1, 1))


def tiny(kind: type = Sam3DAdapter, **changes) -> Sam3DAdapter:
    torch.manual_seed(0)
    sizes = {**TINY, **changes}
    if kind is AutomaticSam3DAdapter:
        sizes.pop("prompt_mlp")
    model = kind(**sizes).eval()
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        if name.endswith(".lr"):
            torch.nn.init.constant_(parameter, 1.3)
    return model


def released() -> dict:
    """The small released checkpoint, in its nested layout."""
    tensors = golden("full")
    keys = [f"feature_dict.{i}." for i in range(4)]
    if not under(tensors, keys[0]):
        keys = [f"feature_dict[{i}]." for i in range(4)]
    return {
        "encoder_dict": under(tensors, "encoder_dict."),
        "decoder_dict": under(tensors, "decoder_dict."),
        "feature_dict": [under(tensors, key) for key in keys],
    }


@pytest.fixture(scope="module")
def plain():
    if not PLAIN.exists():
        pytest.skip("benchmarks/ is not in this installation")
    spec = importlib.util.spec_from_file_location("plain_sam3d_adapter", PLAIN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("grad", [False, True])
def test_image_encoder_equals_the_released_one(grad):
    tensors = golden("image_encoder")
    encoder = ImageEncoder(**ENCODER, token=4, table_window=7)
    own = under(tensors, "sd.")
    encoder.load_state_dict({k: t for k, t in own.items() if not k.endswith("attn_mask")})
    with torch.set_grad_enabled(grad):
        patch = tensors["in.slices"].transpose(0, 1)[None]  # three channels, all different
        tokens = encoder.embed(patch)
        assert close(tokens, tensors["mid.after_pos"])
        adapted = encoder.blocks[0].adapter.add_to(tokens.clone())
        assert close(adapted, tensors["mid.block0.adapter"])
        assert close(encoder.blocks[0](tokens.clone()), tensors["mid.block0"])
        features = encoder(patch)
    for i in range(3):
        assert close(features[i], tensors[f"out.feature{i}"])
    assert close(features[3], tensors["out.final"])
    assert torch.equal(shift_mask(8, 4), own["blocks.0.attn_mask"])


@pytest.mark.parametrize("box", ["cubic", "noncubic"])
@pytest.mark.parametrize("count", [1, 4, 30])
def test_prompt_encoder_equals_the_released_one(box, count):
    tensors = golden("prompt_encoder")
    model = VisualSampler(64, mlp=96)
    model.load_state_dict(under(tensors, "sd."))
    shape = {"cubic": (32, 32, 32), "noncubic": (40, 24, 32)}[box]  # d, h, w
    points = tensors[f"in.{box}.p{count}.points"][..., [0, 2, 1]]
    feature = tensors[f"in.{box}.feature"]
    with torch.no_grad():
        sampled = sample_tokens(feature, points, shape)
        assert close(sampled, tensors[f"mid.{box}.p{count}.sampled_point_embedding"])
        found = model(feature, points, torch.ones(1, count), shape)
    assert close(found.contiguous(), tensors[f"out.{box}.p{count}"])


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("case", ["s2", "s4", "noncubic"])
def test_mask_decoder_equals_the_released_one(case, grad):
    tensors = golden("mask_decoder")
    model = MaskDecoder(32, 16)
    model.load_state_dict(under(tensors, "sd."))
    features = [tensors[f"in.{case}.feature{i}"] for i in range(4)]
    with torch.set_grad_enabled(grad):
        odds = model(features, tensors[f"in.{case}.image"])
    coarse, fine = tensors[f"mid.{case}.cls"], tensors[f"out.{case}"]
    assert close(odds, coarse[:, 1:] - coarse[:, :1])
    up = F.interpolate(odds, fine.shape[2:], mode="trilinear", align_corners=True)
    assert close(up, fine[:, 1:] - fine[:, :1])


def test_the_whole_network_equals_the_released_one():
    tensors, checkpoint = golden("full"), released()
    model = Sam3DAdapter(**{**release_sizes(checkpoint), "window": 4, "crop": 32})
    model.load_state_dict(from_release(checkpoint))
    with torch.no_grad():
        embedding = model.encode_image(tensors["in.crop"][None, None])
        assert close(embedding.deepest, tensors["mid.feature3"])
        for name in ("p1", "p3"):
            points = tensors[f"in.{name}.points"][None][..., [0, 2, 1]]
            masks = model.decode_masks(embedding, prompts(points))
            logits = tensors[f"out.{name}.logits"]
            assert close(masks.logits, logits[:, 1:] - logits[:, :1])
            assert close(torch.sigmoid(masks.logits[:, 0]), tensors[f"out.{name}.prob"])
            assert 0 <= masks.iou <= 1
        again = model.decode_masks(embedding, prompts(points)).logits
    assert torch.equal(masks.logits, again)  # the embedding is not used up


def test_the_released_file_loads_without_trusting_it():
    path = REFERENCE / "3dsam_adapter_full_tiny_last.pth.tar"
    if not path.exists():
        pytest.skip("the small released checkpoint lies in ../shared, which is not here")
    allowed = [
        (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        np.dtypes.Float32DType,
    ]
    with torch.serialization.safe_globals(allowed):
        checkpoint = torch.load(path, weights_only=True)
    sizes = release_sizes(checkpoint)
    assert {**TINY, "token": 16, "levels": (2, 5, 8, 11)} == {**sizes, "crop": 32}
    expected = from_release(released())
    found = from_release(checkpoint)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[k].float(), t, atol=1e-3) for k, t in expected.items())


def released_shapes() -> dict:
    keys = json.loads((GOLDEN / "3dsam_adapter_keys.json").read_text())

    def empty(part: str) -> dict[str, Tensor]:
        return {k: torch.empty(shape, device="meta") for k, (shape, _) in keys[part].items()}

    encoder, decoder = empty("encoder_dict"), empty("decoder_dict")
    features = [empty("feature_dict[i]") for _ in range(4)]
    return {"encoder_dict": encoder, "decoder_dict": decoder, "feature_dict": features}


def shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {k: t.shape for k, t in tensors.items()}


def test_all_keys_of_the_released_files_are_covered_exactly():
    checkpoint = released_shapes()
    with torch.device("meta"):
        model = Sam3DAdapter()
        assert release_sizes(checkpoint) == {
            **SAM_SIZES["vit_b"],
            **{"grid": 32, "token": 16, "table_window": 14, "window": 8},
            **{"width": 256, "narrow": 128, "prompt_mlp": 2048},
        }
    flat = from_release(checkpoint)
    assert shapes(flat) == shapes(model.state_dict())
    back = to_release(flat)
    assert back.keys() == checkpoint.keys()
    assert shapes(back["encoder_dict"]) == shapes(checkpoint["encoder_dict"])
    assert shapes(back["decoder_dict"]) == shapes(checkpoint["decoder_dict"])
    assert [shapes(p) for p in back["feature_dict"]] == [
        shapes(p) for p in checkpoint["feature_dict"]
    ]
    checkpoint.pop("feature_dict")  # the automatic variant's file
    with torch.device("meta"):
        assert shapes(from_release(checkpoint)) == shapes(AutomaticSam3DAdapter().state_dict())


def test_what_is_used_survives_the_way_to_the_release_and_back():
    model = tiny()
    state = model.state_dict()
    back = from_release(to_release(state, window=4))
    assert back.keys() == state.keys() and all(torch.equal(back[k], t) for k, t in state.items())


def test_incomplete_files_are_refused_by_name():
    with pytest.raises(ValueError, match="'encoder_dict'"):
        from_release({"model": {}})
    with pytest.raises(ValueError, match="has 3"):
        from_release({"encoder_dict": {}, "decoder_dict": {}, "feature_dict": [{}] * 3})


def count(parameters) -> int:
    return sum(p.numel() for p in parameters)


def test_parameter_counts_are_those_of_the_paper():
    with torch.device("meta"):
        model = Sam3DAdapter()
    tuned = {k: p for k, p in model.named_parameters() if model.is_adapter(k)}
    encoder = {k: p for k, p in tuned.items() if k.startswith("image_encoder.")}
    added = [
        p
        for k, p in encoder.items()
        if any(part in k for part in ("adapter", "slice_embed", "depth_embed", "rel_pos_d"))
    ]
    assert count(model.image_encoder.parameters()) == 104_056_588
    assert count(model.prompt_encoder.parameters()) == 3_164_160
    assert count(model.mask_decoder.parameters()) == 7_088_256
    assert count(encoder.values()) == 15_209_984  # 15.21 M
    assert count(tuned.values()) == 25_462_400  # 25.46 M
    assert round(100 * count(added) / 93_735_472, 2) == 7.79  # percent of SAM vit_b


@pytest.mark.parametrize("size", SAM_SIZES)
def test_every_size_starts_from_its_sam(size):
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        encoder = Sam3DAdapter(**SAM_SIZES[size]).image_encoder
        sam = sam_model_registry[size]()
    assert len(encoder.neck_3d) == 4
    initialise_from_sam(encoder, sam)  # raises where a shape differs
    other = {"vit_b": "vit_l", "vit_l": "vit_h", "vit_h": "vit_b"}[size]
    with torch.device("meta"):
        wrong = Sam3DAdapter(**SAM_SIZES[other]).image_encoder
    with pytest.raises(ValueError, match="pos_embed"):
        initialise_from_sam(wrong, sam)


def test_start_from_sam_copies_it_and_halves_the_sum_for_the_new_axis():
    from segment_anything.modeling import ImageEncoderViT

    torch.manual_seed(0)
    levels = (2, 5, 8, 11)
    vit = ImageEncoderViT(256, 16, 3, 48, 12, 4, use_rel_pos=True, window_size=7,
                          global_attn_indexes=levels)  # fmt: skip
    for name, parameter in vit.named_parameters():
        if "rel_pos" in name:
            torch.nn.init.normal_(parameter)
    sam = torch.nn.ModuleDict({"image_encoder": vit})
    encoder = tiny().image_encoder
    adapter = encoder.blocks[0].adapter.linear1.weight.clone()
    initialise_from_sam(encoder, sam)
    attn, given = encoder.blocks[2].attn, vit.blocks[2].attn
    assert torch.equal(attn.qkv.weight, given.qkv.weight)
    assert torch.equal(encoder.patch_embed.proj.weight, vit.patch_embed.proj.weight)
    assert torch.allclose(attn.rel_pos_d, 0.5 * (given.rel_pos_h + given.rel_pos_w))
    assert torch.equal(encoder.blocks[0].adapter.linear1.weight, adapter)


@pytest.mark.parametrize("grad", [False, True])
def test_fast_paths_equal_the_plain_formulation(plain, grad):
    model = tiny()
    patch, points = torch.randn(1, 1, 32, 32, 32), torch.rand(1, 3, 3) * 31
    with torch.set_grad_enabled(grad):
        features, image = plain.encode(model, patch)
        pair = plain.click(model, (features, image), points)
        embedding = model.encode_image(patch)
        masks = model.decode_masks(embedding, prompts(points))
    assert close(embedding.deepest, features[3])
    assert close(masks.logits, pair[:, 1:] - pair[:, :1])


def test_merged_windows_of_accelerators_equal_the_plain_formulation(plain, monkeypatch):
    model, patch = tiny(), torch.randn(1, 1, 32, 32, 32)
    merged = "napari_sam3d.engine.models.sam3d_adapter.attention.runs"
    monkeypatch.setattr(merged, lambda n, window, shift, merged: runs(n, window, shift, True))
    with torch.no_grad():
        features, _ = plain.encode(model, patch)
        assert close(model.encode_image(patch).deepest, features[3])


@pytest.mark.parametrize("crop", [16, 32, 64])
def test_folded_patch_embedding_equals_its_three_steps(plain, crop):
    encoder = tiny(crop=crop).image_encoder.double()
    patch = torch.randn(1, 1, crop, crop, crop).double()
    slices = plain.upsample(patch, encoder)
    whole = encoder.slice_embed(encoder.patch_embed.proj(slices).permute(1, 2, 3, 0)[None])
    expected = whole.permute(0, 2, 3, 4, 1)
    encoder = encoder.float()
    found = embed_patch(patch.float(), encoder.patch_embed.proj, encoder.slice_embed, 8)
    assert torch.allclose(found, expected.float(), atol=1e-5)


def test_convolving_before_doubling_equals_after():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 3, 4, 6), torch.randn(21, 5, 3, 3, 3)
    up = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
    parts = [part for _, part in convolve_doubled(x, weight)]
    assert len(parts) == 2  # some channels at a time
    assert torch.allclose(torch.cat(parts, 1), F.conv3d(up, weight, padding=1), atol=1e-4)


def test_windows_tile_an_axis_whole_and_shifted():
    assert runs(32, 8, 0, merged=True) == [(0, 4, 8)]
    assert runs(32, 8, 4, merged=True) == [(0, 1, 4), (4, 3, 8), (28, 1, 4)]
    assert runs(32, 8, 4, merged=False) == [
        (0, 1, 4),
        (4, 1, 8),
        (12, 1, 8),
        (20, 1, 8),
        (28, 1, 4),
    ]
    assert runs(8, 8, 4, merged=True) == [(0, 1, 4), (4, 1, 4)]


def test_a_batch_is_its_patches_one_by_one_and_other_labels_are_left_out():
    model = tiny()
    patch, points = torch.randn(2, 1, 32, 32, 32), torch.rand(2, 3, 3) * 31
    labels = torch.tensor([[1, 0, -1], [1, 1, -1]])
    with torch.no_grad():
        both = model(patch, prompts(points, labels))
        first = model(patch[:1], prompts(points[:1, :1]))
        second = model(patch[1:], prompts(points[1:, :2]))
    assert torch.allclose(both.logits, torch.cat([first.logits, second.logits]), atol=1e-5)
    assert torch.allclose(both.iou, torch.cat([first.iou, second.iou]), atol=1e-5)
    with torch.no_grad():
        nothing = model(patch[:1], prompts(points[:1], torch.zeros(1, 3)))
    assert torch.isfinite(nothing.logits).all()


def test_gradients_reach_what_is_tuned_and_nothing_else():
    model = tiny()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(model.is_adapter(name))
    model(torch.randn(1, 1, 32, 32, 32), prompts(torch.rand(1, 2, 3) * 31)).logits.sum().backward()
    reached = {k for k, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    tuned = {k for k, _ in model.named_parameters() if is_tuned(k)}
    never = {k for k in tuned if "cross_attn_token_to_image" in k}  # released, but never called
    assert reached <= tuned
    missed = tuned - reached - never
    # a key's bias moves all logits of a query alike, which softmax does not see
    assert all(k.endswith(".k_proj.bias") for k in missed), missed
    assert "image_encoder.slice_embed.weight" in reached
    assert "image_encoder.blocks.3.attn.qkv.weight" not in reached


def test_bf16_stays_near_float32():
    model = tiny()
    patch, asked = torch.randn(1, 1, 32, 32, 32), prompts(torch.rand(1, 2, 3) * 31)
    with torch.no_grad():
        exact = model(patch, asked).logits
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(patch, asked).logits
    assert rounded.dtype == torch.float32
    assert (rounded - exact).std() < 0.03 * exact.std()


def test_automatic_windows_are_blended_as_monai_does():
    model = tiny(AutomaticSam3DAdapter)
    image = torch.randn(40, 32, 24)  # one axis longer than a window, one shorter
    windows: list[None] = []
    found = segment_automatically(model, image, lambda: windows.append(None))
    assert len(windows) == window_count(model, image.shape) == 2
    assert found.shape == image.shape and 0 <= found.min() and found.max() <= 1
    window = torch.randn(32, 32, 32)
    with torch.no_grad():
        odds = model.decode_masks(model.encode_image(window[None, None])).logits[0, 0]
    assert torch.allclose(segment_automatically(model, window), torch.sigmoid(odds), atol=1e-5)
    automatic = {k for k, _ in model.named_parameters()}
    prompted = {k for k, _ in tiny().named_parameters() if not k.startswith("prompt_encoder.")}
    assert automatic == prompted
