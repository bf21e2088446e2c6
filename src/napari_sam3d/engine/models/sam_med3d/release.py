"""The files of SAM-Med3D: from their layouts to the network's tensors and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

STATE = "model_state_dict"
"""Where the published files and the saves of training keep the tensors."""
_POINT_EMBEDDING = "prompt_encoder.point_embeddings."


def from_release(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the names of `SamMed3D`'s own state dict.

    The published file holds nothing but `model_state_dict`; a save of training holds the optimiser,
    the schedule, figures and arguments beside it, which are left out. A state dict alone is taken
    as it is.

    Raises
    ------
    ValueError
        When there are no such tensors.
    """
    state = checkpoint.get(STATE, checkpoint)
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"This is no file of SAM-Med3D: it holds no tensors under {STATE!r}.")
    return dict(state)


def to_release(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The layout of the published file."""
    return {STATE: dict(state)}


def sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `SamMed3D` that fit the tensors of a file, by their shapes.

    Raises
    ------
    ValueError
        When a tensor that tells a size is missing.
    """
    try:
        return _sizes(state)
    except KeyError as key:
        raise ValueError(f"This is no file of SAM-Med3D: it lacks the tensor {key}.") from None


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    _, grid, _, _, width = state["image_encoder.pos_embed"].shape
    patch_size = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    depth = 0
    while f"image_encoder.blocks.{depth}.norm1.weight" in state:
        depth += 1
    tables = [state[f"image_encoder.blocks.{i}.attn.rel_pos_d"].shape for i in range(depth)]
    edges = [(length + 1) // 2 for length, _ in tables]  # of the windows, in tokens
    kinds = sum(key.startswith(_POINT_EMBEDDING) for key in state)
    if kinds not in (2, 4):
        raise ValueError(f"A SAM-Med3D has 2 or 4 of {_POINT_EMBEDDING}N; this one has {kinds}.")
    decoder = "mask_decoder.transformer.layers.0.mlp.lin1.weight"
    return {
        "image_size": grid * patch_size,
        "patch_size": patch_size,
        "width": width,
        "depth": depth,
        "heads": width // tables[0][1],
        "window": next((edge for edge in edges if edge != grid), grid),
        "global_blocks": tuple(i for i, edge in enumerate(edges) if edge == grid),
        "out": state["image_encoder.neck.0.weight"].shape[0],
        "mask_channels": state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        "point_kinds": kinds,
        "decoder_mlp": state[decoder].shape[0],
        "iou_hidden": state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    }
