"""The released files of MA-SAM: a flat adapter file on top of a SAM file.

models.md sections 3.2 and 3.4. The adapter file has no image encoder; the matching
`sam_vit_{b,l,h}` file has it, for larger images, and is resized as the release does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

_SAM_ENCODERS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}  # by their number of channels
_IMAGE_SIZE = 512
_WRAPPERS = (("ImageEncoderViT.", ""), ("Block.", ""), ("Attention.", ""), ("qkv.qkv.", "qkv."))


def from_release(
    adapter: Mapping[str, Tensor], sam: Mapping[str, Tensor], image_size: int = _IMAGE_SIZE
) -> dict[str, Tensor]:
    """State of `MaSam(**infer_sizes(adapter, sam, image_size))` from the two released files.

    Of the SAM file only the image encoder is used: the adapter file brings its own prompt encoder
    and mask decoder.

    Raises
    ------
    ValueError
        When the files are not what they should be, or do not belong to each other.
    """
    sizes = infer_sizes(adapter, sam, image_size)
    side = image_size // sizes["patch_size"]
    state = {}
    for name, tensor in sam.items():
        if name.startswith("image_encoder."):
            state[name] = resize_for(name, tensor, side, sizes["global_blocks"])
    for name, tensor in adapter.items():
        state[rename(name)] = tensor.detach()
    return state


def to_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapter file of a state: what the release saves, under the names it uses."""
    released = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if name.startswith(("prompt_encoder.", "mask_decoder.", "image_encoder.FacT")):
            released[name] = tensor
        elif parts[-2] in ("q_FacTs", "v_FacTs"):
            released[f"{parts[-2]}_{int(parts[2]):03d}"] = tensor
        elif ".adapter_" in name:
            wrapped = name.replace(".adapter_", ".Block.adapter_")
            released[wrapped.replace("image_encoder.", "image_encoder.ImageEncoderViT.")] = tensor
    return released


def rename(name: str) -> str:
    """Our name of a tensor of an adapter file, or of the state of the whole released network."""
    if name.startswith(("q_FacTs_", "v_FacTs_")):
        factor, _, block = name.rpartition("_")
        return f"image_encoder.blocks.{int(block)}.attn.{factor}.weight"
    name = name.removeprefix("sam.")
    for wrapped, plain in _WRAPPERS:
        name = name.replace(wrapped, plain)
    return name.replace("attn.qkv.q_FacTs", "attn.q_FacTs").replace(
        "attn.qkv.v_FacTs", "attn.v_FacTs"
    )


def resize_for(name: str, tensor: Tensor, side: int, global_blocks: tuple[int, ...]) -> Tensor:
    """A tensor of SAM's image encoder for images of `side` x `side` tokens."""
    if name.endswith(".pos_embed") and tensor.shape[1] != side:
        image = tensor.float().permute(0, 3, 1, 2)
        resized = F.interpolate(image, (side, side), mode="bilinear", align_corners=False)
        return resized.permute(0, 2, 3, 1).contiguous()
    if ".rel_pos_" in name and int(name.split(".")[2]) in global_blocks:
        # kept for parity: the table is resized as if it were a picture
        size = (2 * side - 1, tensor.shape[1])
        picture = tensor.float()[None, None]
        return F.interpolate(picture, size, mode="bilinear", align_corners=False)[0, 0]
    return tensor


def infer_sizes(
    adapter: Mapping[str, Tensor], sam: Mapping[str, Tensor], image_size: int = _IMAGE_SIZE
) -> dict[str, Any]:
    """Keyword arguments of `MaSam` from the shapes in the two released files.

    Raises
    ------
    ValueError
        When a file is something else, or the adapters were tuned on another SAM.
    """
    for file, tensors, wanted in (
        ("adapter file of MA-SAM", adapter, "image_encoder.FacTu.weight"),
        ("adapter file of MA-SAM", adapter, "mask_decoder.mask_tokens.weight"),
        ("SAM file", sam, "image_encoder.pos_embed"),
        ("SAM file", sam, "image_encoder.blocks.0.attn.rel_pos_h"),
    ):
        if wanted not in tensors:
            raise ValueError(f"This is no {file}: the tensor {wanted} is missing.")
    tuned = adapter["image_encoder.FacTu.weight"].shape[1]
    found = sam["image_encoder.pos_embed"].shape[-1]
    if tuned != found:
        raise ValueError(
            f"The adapters were tuned on SAM's {_sam_name(tuned)}, "
            f"but the SAM file holds {_sam_name(found)}; use the matching SAM file."
        )
    return {
        **state_sizes({**sam, **{rename(name): tensor for name, tensor in adapter.items()}}),
        "image_size": image_size,
    }


def state_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Keyword arguments of `MaSam` from the shapes in a state of it, as `from_release` gives."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise ValueError(f"This is no MA-SAM: the tensor {name} is missing.")
        return tuple(state[name].shape)

    rank, embed_dim = shape("image_encoder.FacTu.weight")
    depth = sum(name.endswith(".attn.rel_pos_h") for name in state)
    tables = [shape(f"image_encoder.blocks.{i}.attn.rel_pos_h") for i in range(depth)]
    # those of the windows: the image has more tokens than a window
    shortest, head_dim = min(tables)
    patch_size = shape("image_encoder.patch_embed.proj.weight")[-1]
    return {
        "embed_dim": embed_dim,
        "depth": depth,
        "heads": embed_dim // head_dim,
        "global_blocks": tuple(i for i, table in enumerate(tables) if table[0] != shortest),
        "image_size": shape("image_encoder.pos_embed")[1] * patch_size,
        "patch_size": patch_size,
        "window": (shortest + 1) // 2,
        "channels": shape("mask_decoder.mask_tokens.weight")[1],
        "classes": shape("mask_decoder.mask_tokens.weight")[0] - 1,
        "adapter_channels": shape("image_encoder.blocks.0.adapter_linear_down.weight")[0],
        "rank": rank,
        "mlp_dim": shape("mask_decoder.transformer.layers.0.mlp.lin1.weight")[0],
        "quality_dim": shape("mask_decoder.iou_prediction_head.layers.0.weight")[0],
    }


def _sam_name(channels: int) -> str:
    name = _SAM_ENCODERS.get(channels, "an encoder")
    return f"{name} ({channels} channels)"
