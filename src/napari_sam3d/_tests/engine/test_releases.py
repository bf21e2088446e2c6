"""Released files of every family become networks, and our own files the same ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.models.sam3d_adapter import release as adapter
from napari_sam3d.engine.releases import (
    Parts,
    build,
    fitted,
    load_exactly,
    read_parts,
    save_parts,
)

REFERENCE = Path(__file__).parents[5] / "shared" / "reference"
TINY = {
    "sam_med3d": "sam_med3d_full_tiny.pth",
    "sam3d_adapter": "3dsam_adapter_full_tiny_last.pth.tar",
}


def released(name: str) -> Path:
    path = REFERENCE / TINY[name]
    if not path.is_file():
        pytest.skip(f"../shared/reference/{path.name} is not beside this checkout")
    return path


@pytest.mark.parametrize("family", TINY)
def test_released_files_survive_conversion(tmp_path, family):
    parts = read_parts(released(family))
    assert parts.family == family
    save_parts(parts, tmp_path / "ours.safetensors", "released.pth")
    again = read_parts(tmp_path / "ours.safetensors")
    assert again.family == family and again.sizes == parts.sizes
    assert again.tensors.keys() == parts.tensors.keys()
    assert all(torch.equal(again.tensors[key], parts.tensors[key]) for key in parts.tensors)
    model = build(again, "ours")
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    assert not any(buffer.is_meta for buffer in model.buffers())


def test_the_row_is_fitted_to_the_file():
    turbo = model_spec("sam_med3d_turbo")
    assert fitted(turbo, Parts("sam_med3d", {"image_size": 128}, {})) == turbo
    small = fitted(turbo, Parts("sam_med3d", {"image_size": 64}, {}))
    assert small == replace(turbo, patch_shape=(64,) * 3, mask_shape=(16,) * 3)


def test_masks_and_optimisers_are_left_out(tmp_path):
    path = released("sam3d_adapter")
    parts = read_parts(path)
    save_parts(parts, tmp_path / "ours.safetensors", path.name)
    assert not any(key.endswith("attn_mask") for key in parts.tensors)
    assert (tmp_path / "ours.safetensors").stat().st_size < path.stat().st_size
    released_again = adapter.to_release(parts.tensors, window=parts.sizes["window"])
    assert released_again.keys() == {"encoder_dict", "decoder_dict", "feature_dict"}


def test_wrong_weights_are_refused_by_name(tmp_path):
    model = torch.nn.Linear(2, 3)
    good = model.state_dict()
    with pytest.raises(ValueError, match=r"lacks the tensor bias"):
        load_exactly(model, {"weight": good["weight"]}, "x.safetensors")
    with pytest.raises(ValueError, match="does not know"):
        load_exactly(model, {**good, "more": good["bias"]}, "x.safetensors")
    with pytest.raises(ValueError, match=r"weight has shape \(3, 3\)"):
        load_exactly(model, {**good, "weight": torch.zeros(3, 3)}, "x.safetensors")


def test_damaged_releases_are_refused_by_name(tmp_path):
    torch.save({"encoder_dict": {}, "decoder_dict": {}}, tmp_path / "last.pth.tar")
    with pytest.raises(ValueError, match=r"^last\.pth\.tar"):
        read_parts(tmp_path / "last.pth.tar")
    torch.save({"image_encoder.FacTu.weight": torch.zeros(4, 8)}, tmp_path / "epoch_159.pth")
    with pytest.raises(ValueError, match=r"epoch_159\.pth: its adapters belong on a SAM file"):
        read_parts(tmp_path / "epoch_159.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"12345678")
    with pytest.raises(ValueError, match=r"cut\.safetensors is damaged"):
        read_parts(tmp_path / "cut.safetensors")
