"""Small seeded files of weights in the layouts that the authors released, for every family.

They segment the phantom in seconds on one core, and what they find is not empty; that is all that
can be said for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_sam3d.engine.models import ma_sam, sam_med3d
from napari_sam3d.engine.models.sam3d_adapter import release as adapter
from napari_sam3d.engine.models.sam3d_adapter.automatic import AutomaticSam3DAdapter
from napari_sam3d.engine.models.sam3d_adapter.model import Sam3DAdapter
from napari_sam3d.engine.models.sam_slices import SliceSam

Checkpoint = dict[str, Any]

_SAM = {
    "embed_dim": 48,
    "depth": 2,
    "heads": 4,
    "global_blocks": (1,),
    "image_size": 96,
    "window": 4,
    "channels": 32,
    "mlp_dim": 64,
    "quality_dim": 16,
}
_MA_SAM = {
    "embed_dim": 48,
    "depth": 2,
    "heads": 4,
    "global_blocks": (1,),
    "image_size": 512,
    "patch_size": 64,  # few tokens, for the release makes every slice 512 pixels wide
    "window": 4,
    "channels": 64,
    "classes": 12,
    "adapter_channels": 12,
    "rank": 4,
    "mlp_dim": 96,
    "quality_dim": 32,
}
_ADAPTER = {
    "dim": 48,
    "depth": 4,
    "heads": 4,
    "levels": (0, 1, 2, 3),
    "token": 4,
    "window": 4,
    "table_window": 7,
    "width": 32,
    "narrow": 16,
}


def tiny_sam_med3d(boxes: bool = False) -> Checkpoint:
    """`sam_med3d_turbo.pth` for patches of 64 voxels; with boxes, the file of the challenge."""
    model = _random(
        lambda: sam_med3d.SamMed3D(
            image_size=64,
            width=48,
            depth=3,
            heads=4,
            window=6,
            global_blocks=(1,),
            out=48,
            decoder_mlp=96,
            iou_hidden=32,
            point_kinds=4 if boxes else 2,
        )
    )
    return {"model_state_dict": model.state_dict()}


def tiny_adapter() -> Checkpoint:
    """`last.pth.tar` of 3DSAM-adapter for patches of 32 voxels, with all that training leaves."""
    model = _random(lambda: Sam3DAdapter(**_ADAPTER, grid=8, crop=32, prompt_mlp=64))
    return _trained(adapter.to_release(model.state_dict(), window=4))


def tiny_automatic_adapter() -> Checkpoint:
    """The same without prompts, for windows of 128 voxels."""
    model = _random(lambda: AutomaticSam3DAdapter(**_ADAPTER, grid=16, crop=128))
    return _trained(adapter.to_release(model.state_dict(), window=4))


def tiny_ma_sam(**sizes: Any) -> tuple[Checkpoint, Checkpoint]:
    """`epoch_N.pth` of MA-SAM, and the SAM file that its adapters belong to."""
    model = _random(lambda: ma_sam.MaSam(**{**_MA_SAM, **sizes}))
    adapters = {k: torch.nn.Parameter(t) for k, t in ma_sam.to_release(model.state_dict()).items()}
    tuned = {ma_sam.release.rename(name) for name in adapters}
    return adapters, {k: t for k, t in model.state_dict().items() if k not in tuned}


def tiny_sam(**sizes: Any) -> Checkpoint:
    """`sam_vit_b_01ec64.pth` for slices of 96 pixels, and `medsam_vit_b.pth` alike."""
    return dict(_random(lambda: SliceSam(**{**_SAM, **sizes})).state_dict())


def save_tiny(checkpoint: Checkpoint, path: Path) -> Path:
    """Write a checkpoint as the authors did, with torch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path


def _random(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A network with seeded weights; what starts at zero or one has a value, too."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = build()
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.normal_(std=0.2)
            elif "rel_pos" in name:
                parameter.normal_(std=0.2)
    return model.eval().requires_grad_(False)


def _trained(checkpoint: Checkpoint) -> Checkpoint:
    """With the state of training that the release saves beside the tensors, each on its own."""
    checkpoint = copy.deepcopy(checkpoint)
    encoder = checkpoint["encoder_dict"]
    encoder |= {k: t.clone() for k, t in encoder.items() if k.endswith("attn_mask")}
    if "feature_dict" in checkpoint:
        checkpoint["feature_dict"] = [copy.deepcopy(d) for d in checkpoint["feature_dict"]]
    weights = next(iter(checkpoint["encoder_dict"].values()))
    moments = {"step": torch.tensor(7.0), "exp_avg": torch.zeros_like(weights)}
    optimiser = {"state": {0: moments}, "param_groups": [{"lr": 4e-4, "params": [0]}]}
    state = {f"{part}_opt": optimiser for part in ("encoder", "feature", "decoder")}
    return {"epoch": 7, "best_val_loss": np.float32(0.5), **checkpoint, **state}
