"""The published files of SAM and MedSAM, and clear words about files that are something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# Tensors, or beginnings of their names, that tell what a file is instead.
_OTHERS = (
    ("image_encoder.layers.", "a MobileSAM (its image encoder is a TinyViT)"),
    ("image_encoder.trunk.", "a SAM 2"),
    ("vision_encoder.", "a SAM in the layout of transformers"),
    ("image_encoder.FacTu", "the adapters of an MA-SAM"),
    ("image_encoder.blocks.0.Adapter.", "a SAM-Med2D"),
    ("image_encoder.blocks.0.attn.rel_pos_d", "a SAM-Med3D"),
)
_NEEDED = (
    "image_encoder.pos_embed",
    "image_encoder.patch_embed.proj.weight",
    "image_encoder.blocks.0.attn.rel_pos_h",
    "image_encoder.neck.0.weight",
    "prompt_encoder.no_mask_embed.weight",
    "mask_decoder.transformer.layers.0.mlp.lin1.weight",
    "mask_decoder.iou_prediction_head.layers.0.weight",
)


def from_release(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """State of `SliceSam(**infer_sizes(checkpoint))`: the file as it is, its kind checked.

    Raises
    ------
    ValueError
        When the file is not SAM's; the sentence says what it is or what is missing.
    """
    infer_sizes(checkpoint)
    return dict(checkpoint)


def infer_sizes(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `SliceSam` from the shapes in a file of SAM or MedSAM.

    Raises
    ------
    ValueError
        When the file is not SAM's.
    """
    for start, kind in _OTHERS:
        if any(name.startswith(start) for name in checkpoint):
            raise ValueError(f"This is {kind}; slice-wise SAM needs a SAM vit_b, vit_l or vit_h.")
    for name in _NEEDED:
        if name not in checkpoint:
            raise ValueError(
                f"This is no file of SAM vit_b, vit_l or vit_h: the tensor {name} is missing."
            )
    grid, embed_dim = checkpoint["image_encoder.pos_embed"].shape[2:]
    patch = checkpoint["image_encoder.patch_embed.proj.weight"].shape[-1]
    if checkpoint["image_encoder.patch_embed.proj.weight"].ndim != 4:
        raise ValueError("This is a 3D network; slice-wise SAM needs a SAM vit_b, vit_l or vit_h.")
    depth = sum(name.endswith(".attn.rel_pos_h") for name in checkpoint)
    tables = [checkpoint[f"image_encoder.blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
    shortest = min(map(len, tables))  # those of the windows
    return {
        "embed_dim": embed_dim,
        "depth": depth,
        "heads": embed_dim // tables[0].shape[1],
        "global_blocks": tuple(i for i, table in enumerate(tables) if len(table) != shortest),
        "image_size": grid * patch,
        "window": (shortest + 1) // 2,
        "channels": len(checkpoint["image_encoder.neck.0.weight"]),
        "mlp_dim": len(checkpoint["mask_decoder.transformer.layers.0.mlp.lin1.weight"]),
        "quality_dim": len(checkpoint["mask_decoder.iou_prediction_head.layers.0.weight"]),
    }
