"""3DSAM-adapter as released: 512-cubed upsampling, rolled windows, masks and all of the decoder.

Naive on purpose, on the parameters of our own network. Run it to compare both:

    python benchmarks/plain/sam3d_adapter.py --path plain
    python benchmarks/plain/sam3d_adapter.py --path fast --precision bf16
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.sam3d_adapter import Sam3DAdapter
from napari_sam3d.engine.models.sam3d_adapter.model import SAM_SIZES, small_image
from napari_sam3d.engine.models.sam3d_adapter.release import shift_mask

CLICK = (64.0, 60.0, 70.0)  # in the ball of `example_patch`
_SAMPLER_FLOP = 9.0e9  # of the prompt encoder, measured on the released code


def encode(model: Sam3DAdapter, patch: Tensor) -> tuple[list[Tensor], Tensor]:
    """Features of four levels, and the small image, for one patch (1, 1, d, h, w)."""
    encoder = model.image_encoder
    slices = upsample(patch, encoder)
    tokens = encoder.patch_embed.proj(slices)  # (s, c, h, w)
    tokens = encoder.slice_embed(tokens.permute(1, 2, 3, 0)[None]).permute(0, 2, 3, 4, 1)
    across = F.avg_pool2d(encoder.pos_embed.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    x = tokens + across[:, :, :, None] + encoder.depth_embed[:, None, None]
    features = []
    for i, block in enumerate(encoder.blocks):
        x = run_block(block, x)
        if i in encoder.levels:
            features.append(encoder.neck_3d[len(features)](x.permute(0, 4, 1, 2, 3)))
    scale = 2 * encoder.grid / patch.shape[-1]
    turned = patch.permute(0, 1, 3, 4, 2)
    return features, F.interpolate(turned, scale_factor=scale, mode="trilinear")


def upsample(patch: Tensor, encoder: nn.Module) -> Tensor:
    """Slices (s, 3, h, w) of the patch, upsampled, its channel three times."""
    fine = encoder.grid * encoder.patch_embed.proj.kernel_size[0]
    three = patch.expand(-1, 3, -1, -1, -1)
    return F.interpolate(three, scale_factor=fine / patch.shape[-1], mode="trilinear")[0].transpose(
        0, 1
    )


def run_block(block: nn.Module, x: Tensor) -> Tensor:
    """A block on tokens (1, h, w, d, c): adapter, rolled and masked windows, MLP."""
    y = F.relu(block.adapter.linear1(x)).permute(0, 4, 1, 2, 3)
    y = F.relu(block.adapter.conv(y)).permute(0, 2, 3, 4, 1)
    x = x + F.relu(block.adapter.linear2(y))
    grid, attn = x.shape[1], block.attn
    side, shift = attn.window, attn.shift
    n = grid // side
    y = torch.roll(block.norm1(x), (-shift,) * 3, (1, 2, 3))
    y = y.view(n, side, n, side, n, side, -1).permute(0, 2, 4, 1, 3, 5, 6)
    y = attend(attn, y.reshape(n**3, side**3, -1), shift_mask(grid, side) if shift else None)
    y = y.view(n, n, n, side, side, side, -1).permute(0, 3, 1, 4, 2, 5, 6)
    x = x + torch.roll(y.reshape(x.shape), (shift,) * 3, (1, 2, 3))
    return x + block.mlp(block.norm2(x))


def attend(attn: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of windows (n, tokens, c) with every weight in memory."""
    n, tokens, c = x.shape
    heads, side = attn.heads, attn.window
    q, k, v = attn.qkv(x).view(n, tokens, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
    logits = (q * (c // heads) ** -0.5) @ k.transpose(-2, -1)
    at = torch.arange(side)
    cube = q.reshape(n, heads, side, side, side, -1)
    h, w, d = (
        F.interpolate(table.T[None], 2 * side - 1, mode="linear")[0].T[at[:, None] - at + side - 1]
        for table in (attn.rel_pos_h, attn.rel_pos_w, attn.rel_pos_d)
    )
    logits = logits.view(n, heads, *(side,) * 6) + attn.lr * (
        torch.einsum("nehwdc,hkc->nehwdk", cube, h)[..., :, None, None]
        + torch.einsum("nehwdc,wkc->nehwdk", cube, w)[..., None, :, None]
        + torch.einsum("nehwdc,dkc->nehwdk", cube, d)[..., None, None, :]
    )
    logits = logits.view(n, heads, tokens, tokens)
    if mask is not None:
        logits = logits + mask[:, None]
    mixed = torch.softmax(logits, -1) @ v
    return attn.proj(mixed.transpose(1, 2).reshape(n, tokens, c))


def click(model: Sam3DAdapter, embedding: tuple[list[Tensor], Tensor], points: Tensor) -> Tensor:
    """Logits (1, 2, d, h, w) for points (1, n, 3), voxels (d, h, w)."""
    features, image = embedding
    crop = model.image_encoder.crop
    prompted = sample(model, features[3], points, crop)
    joined = join(model, [*features[:3], prompted], image)
    logits = model.mask_decoder.cls["3"](joined)
    fine = F.interpolate(
        logits, scale_factor=crop / logits.shape[-1], mode="trilinear", align_corners=True
    )
    return fine.permute(0, 1, 4, 2, 3)


def sample(model: Sam3DAdapter, feature: Tensor, points: Tensor, crop: int) -> Tensor:
    """The prompt encoder, for which there is nothing to speed up."""
    return model.prompt_encoder(feature, points, torch.ones(points.shape[:2]), (crop,) * 3)


def join(model: Sam3DAdapter, features: list[Tensor], image: Tensor) -> Tensor:
    """What the decoder's last convolution sees (1, narrow, h, w, d)."""
    decoder = model.mask_decoder
    lines = []
    for line, feature in zip(decoder.mlahead.values(), features, strict=True):
        x = F.relu(F.instance_norm(line[0](feature)))
        x = F.relu(F.instance_norm(line[3](x)))
        lines.append(F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True))
    return F.relu(F.instance_norm(decoder.cls["0"](torch.cat([*lines, image], 1))))


def build(size: str = "vit_b", seed: int = 0) -> Sam3DAdapter:
    """The network at full size with seeded random weights, positions included."""
    torch.manual_seed(seed)
    model = Sam3DAdapter(**SAM_SIZES[size]).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.02)
    return model


def example_patch(crop: int = 128, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A bright ball among darker ones in noise (1, 1, d, h, w), and the ball's mask (d, h, w)."""
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 1, crop, crop, crop, generator=source)
    at = torch.stack(torch.meshgrid(*[torch.arange(crop)] * 3, indexing="ij"), -1) / crop * 128
    ball = (at - torch.tensor(CLICK)).norm(dim=-1) < 20
    other = (at - torch.tensor([30.0, 90.0, 40.0])).norm(dim=-1) < 16
    smooth = F.avg_pool3d(F.pad(noise, (2,) * 6), 5, 1) * 4
    return smooth + 2.0 * ball - 1.5 * other, ball


@torch.no_grad()
def fit_readout(model: Sam3DAdapter, patch: Tensor, mask: Tensor) -> None:
    """Let the last convolution, by least squares, tell a mask (d, h, w) from the rest.

    All else stays random. Masks of a network with random weights have no object: everything is
    about as likely as not, and any rounding moves their surface.
    """
    features = model.image_encoder(patch)  # the fast path, which is exact
    image = small_image(patch, features[0])
    prompted = sample(model, features[3], torch.tensor([[CLICK]]), model.image_encoder.crop)
    seen = join(model, [*features[:3], prompted], image)[0].flatten(1).double()
    target = F.interpolate(mask[None, None].float(), image.shape[2:], mode="trilinear")
    inside = target[0, 0].permute(1, 2, 0).flatten().double()
    share = inside.mean()
    weight = inside / share + (1 - inside) / (1 - share)  # object and background count alike
    gram = (seen * weight) @ seen.T
    gram.diagonal().add_(1e-3 * gram.diagonal().mean())
    found = torch.linalg.solve(gram, (seen * weight) @ (2 * inside - 1))
    last = model.mask_decoder.cls["3"].weight
    last.zero_()
    last[1, :, 1, 1, 1] = found.float()


@dataclass(frozen=True)
class Compare:
    """Time an encoding and clicks of 3DSAM-adapter at full size."""

    path: Literal["plain", "fast"] = "fast"
    precision: Literal["fp32", "bf16"] = "fp32"
    size: Literal["vit_b", "vit_l", "vit_h"] = "vit_b"
    threads: int = 2
    clicks: int = 3
    weights: Path | None = None
    """Where the fitted readout is kept between runs (made when missing): masks with an object."""
    output: Path | None = None
    """Where to put the logits, to compare runs."""

    def run(self) -> None:
        torch.set_num_threads(self.threads)
        model, (patch, mask) = build(self.size), example_patch()
        if self.weights and not self.weights.exists():
            with torch.inference_mode():
                fit_readout(model, patch, mask)
            torch.save(model.mask_decoder.cls["3"].weight, self.weights)
            return
        if self.weights:
            model.mask_decoder.cls["3"].weight.copy_(torch.load(self.weights))
        points = torch.tensor([[CLICK]])
        figures: dict[str, float] = {"resident before, GB": resident()}
        on = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=on):
            began, cpu = time.perf_counter(), time.process_time()
            plain = encode(model, patch) if self.path == "plain" else None
            fast = model.encode_image(patch) if plain is None else None
            figures["encoding, s"] = time.perf_counter() - began
            figures["encoding, CPU s"] = time.process_time() - cpu
            figures["peak, GB"] = resident()
            seconds = []
            for _ in range(self.clicks):
                began, cpu = time.perf_counter(), time.process_time()
                if plain is not None:
                    pair = click(model, plain, points)
                    logits = pair[:, 1:] - pair[:, :1]
                else:
                    prompts = PatchPrompts(points, torch.ones(1, 1), torch.zeros(1))
                    logits = model.decode_masks(fast, prompts).logits
                seconds.append((time.perf_counter() - began, time.process_time() - cpu))
        figures["click, s"], figures["click, CPU s"] = min(seconds)
        figures["peak with clicks, GB"] = resident()
        found = logits[0, 0] > 0
        figures["Dice"] = float(2 * (found & mask).sum() / (found.sum() + mask.sum()))
        for name, count in arithmetic(self.size).items():
            if name.startswith(self.path):
                step = name.split()[1]
                figures[f"{step}, GFLOP"] = count / 1e9
                figures[f"{step}, GFLOP/s"] = count / 1e9 / figures[f"{step}, s"]
        figures["matrix product, GFLOP/s"] = matrix_rate(self.precision)
        print(json.dumps(figures, indent=1))
        if self.output:
            torch.save(logits, self.output)


def arithmetic(size: str) -> dict[str, int]:
    """Floating point operations of both paths, counted without computing."""
    counts = {}
    with torch.device("meta"), torch.inference_mode():
        model = Sam3DAdapter(**SAM_SIZES[size]).requires_grad_(False)
        patch = torch.empty(1, 1, 128, 128, 128)
        with FlopCounterMode(display=False) as counter:
            embedding = model.encode_image(patch)
        counts["fast encoding"] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            model.mask_decoder.decode(embedding.prepared, embedding.deepest)
        counts["fast click"] = counter.get_total_flops() + int(_SAMPLER_FLOP)
        with FlopCounterMode(display=False) as counter:
            features, image = encode(model, patch)
        counts["plain encoding"] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            model.mask_decoder.cls["3"](join(model, features, image))
        counts["plain click"] = counter.get_total_flops() + int(_SAMPLER_FLOP)
    return counts


def matrix_rate(precision: str, n: int = 4096) -> float:
    """GFLOP/s of this machine's plain matrix product."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - began)
    return 2 * n**3 / min(times) / 1e9


def resident() -> float:
    """Most memory this process ever held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    tyro.cli(Compare).run()
