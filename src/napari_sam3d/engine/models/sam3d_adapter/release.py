"""Files of the released 3DSAM-adapter and of SAM, to our tensors and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from napari_sam3d.engine.models.sam3d_adapter.image_encoder import Block, ImageEncoder

_USED = 3  # of the four released prompt encoders
_SHARED = -100.0  # what the released mask adds between tokens of opposite borders
_PARTS = {"encoder_dict": "image_encoder.", "decoder_dict": "mask_decoder."}


def from_release(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our flat tensors out of `last.pth.tar` or `best.pth.tar`, promptable or automatic.

    Left out, for no forward pass reads them: the shift masks (402.7 MB, computed by us), prompt
    encoders 0 to 2, and the state of training (epoch, loss, optimisers).

    Raises
    ------
    ValueError
        When a part is missing.
    """
    for part in _PARTS:
        if part not in checkpoint:
            raise ValueError(f"A checkpoint of 3DSAM-adapter has {part!r}; this one lacks it.")
    flat = {
        prefix + name: tensor
        for part, prefix in _PARTS.items()
        for name, tensor in checkpoint[part].items()
        if not name.endswith(".attn_mask")
    }
    if "feature_dict" in checkpoint:
        encoders = checkpoint["feature_dict"]
        if len(encoders) <= _USED:
            raise ValueError(
                f"A checkpoint of 3DSAM-adapter has {_USED + 1} prompt encoders; "
                f"this one has {len(encoders)}."
            )
        flat |= {f"prompt_encoder.{name}": t for name, t in encoders[_USED].items()}
    return flat


def to_release(tensors: Mapping[str, Tensor], window: int = 8) -> dict[str, Any]:
    """The released layout of our tensors, with the masks and prompt encoders that nothing reads.

    Prompt encoders 0 to 2 are copies of number 3.
    """

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    checkpoint: dict[str, Any] = {name: part(prefix) for name, prefix in _PARTS.items()}
    encoder = checkpoint["encoder_dict"]
    mask = shift_mask(encoder["depth_embed"].shape[1], window)
    for block in range(0, _depth(encoder), 2):
        encoder[f"blocks.{block}.attn_mask"] = mask
    if prompts := part("prompt_encoder."):
        checkpoint["feature_dict"] = [prompts] * (_USED + 1)
    return checkpoint


def release_sizes(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of the network that a released checkpoint belongs to, but its crop."""
    encoder, decoder = checkpoint["encoder_dict"], checkpoint["decoder_dict"]
    levels = sorted(_numbers(encoder, r"neck_3d\.(\d+)\."))
    depth = _depth(encoder)
    tables = [len(encoder[f"blocks.{i}.attn.rel_pos_h"]) for i in range(depth)]
    dim, head = encoder["patch_embed.proj.weight"].shape[0], encoder["blocks.0.attn.rel_pos_h"]
    sizes = {
        "dim": dim,
        "depth": depth,
        "heads": dim // head.shape[1],
        "levels": tuple((i + 1) * depth // len(levels) - 1 for i in levels),
        "grid": encoder["depth_embed"].shape[1],
        "token": encoder["patch_embed.proj.weight"].shape[-1],
        "table_window": (min(tables) + 1) // 2,
        "width": encoder["neck_3d.0.0.weight"].shape[0],
        "narrow": decoder["cls.0.weight"].shape[0],
    }
    if "blocks.0.attn_mask" in encoder:
        sizes["window"] = round(encoder["blocks.0.attn_mask"].shape[-1] ** (1 / 3))
    if "feature_dict" in checkpoint:
        hidden = checkpoint["feature_dict"][_USED]["transformer.layers.0.mlp.lin1.weight"]
        sizes["prompt_mlp"] = hidden.shape[0]
    return sizes


@torch.no_grad()
def initialise_from_sam(encoder: ImageEncoder, sam: Any) -> None:
    """Start from a SAM of the same size, as `segment_anything.sam_model_registry` builds it.

    What SAM has is copied; the new axis of relative positions starts as half the sum of the other
    two. Adapters, slice embedding and necks keep the random start they have.

    Raises
    ------
    ValueError
        Naming the first tensor whose shape differs, or that is missing.
    """
    given = sam.image_encoder.state_dict()
    own = encoder.state_dict()
    new = re.compile(
        r"depth_embed|slice_embed\.|neck_3d\.|blocks\.\d+\.(adapter\.|attn\.(lr|rel_pos_d)$)"
    )
    for name, tensor in own.items():
        if new.match(name):
            continue
        if name not in given or given[name].shape != tensor.shape:
            found = tuple(given[name].shape) if name in given else "nothing"
            raise ValueError(
                f"This SAM has {found} for {name}, the encoder needs {tuple(tensor.shape)}; "
                "take the SAM file of the same size."
            )
        tensor.copy_(given[name])
    for block in encoder.blocks:
        assert isinstance(block, Block)
        attn = block.attn
        attn.rel_pos_d.copy_(0.5 * (attn.rel_pos_h + attn.rel_pos_w))


def shift_mask(grid: int, window: int) -> Tensor:
    """The released mask (windows, tokens, tokens) of shifted windows: 0, or -100 across borders.

    Our encoder needs none; files of the released code have it in every even block.
    """
    region = torch.zeros(grid, dtype=torch.long)
    for i, (start, stop) in enumerate(pairwise([0, grid - window, grid - window // 2, grid])):
        region[start:stop] = i
    by_axis = region.view(-1, window)  # (windows, tokens) along an axis
    count = len(by_axis)
    number = (
        by_axis[:, None, None, :, None, None] * 9
        + by_axis[None, :, None, None, :, None] * 3
        + by_axis[None, None, :, None, None, :]
    ).reshape(count**3, window**3)
    return (number[:, :, None] != number[:, None, :]).float() * _SHARED


def _depth(encoder: Mapping[str, Tensor]) -> int:
    return 1 + max(_numbers(encoder, r"blocks\.(\d+)\."))


def _numbers(names: Mapping[str, Tensor], pattern: str) -> set[int]:
    return {int(found[1]) for name in names if (found := re.match(pattern, name))}
