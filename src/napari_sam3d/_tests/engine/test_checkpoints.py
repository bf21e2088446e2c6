"""Files of weights, good and bad."""

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_sam3d.engine.checkpoints import read_checkpoint, recognise

CONV3D, CONV2D = torch.zeros(8, 1, 2, 2, 2), torch.zeros(8, 3, 2, 2)


def test_tensors_of_both_formats_are_read(tmp_path):
    tensors = {"a": torch.arange(4.0)}
    torch.save(tensors, tmp_path / "new.pth")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "safe.safetensors")
    for name in ("new.pth", "old.pth", "safe.safetensors"):
        assert torch.equal(read_checkpoint(tmp_path / name)["a"], tensors["a"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_of_3dsam_adapter_is_allowed(tmp_path, dtype):
    torch.save({"best_val_loss": dtype(0.25), "epoch": 3}, tmp_path / "best.pth.tar")
    assert read_checkpoint(tmp_path / "best.pth.tar")["best_val_loss"] == 0.25


class Trap:
    def __reduce__(self):
        return (print, ("run!",))


@pytest.mark.parametrize("thing", [argparse.Namespace(lr=1), Trap()])
@pytest.mark.parametrize("zipped", [True, False])
def test_anything_that_might_run_is_refused(tmp_path, capsys, thing, zipped):
    content = {"a": torch.zeros(1), "args": thing}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"^x\.pth holds a Python object \(.*might run code"):
        read_checkpoint(tmp_path / "x.pth")
    assert "run!" not in capsys.readouterr().out


def test_damaged_files_are_refused_in_one_sentence(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "cut.pth")
    cut = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "text.pth").write_text("weights, honestly")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("weights, honestly")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("cut.pth", "text.pth", "empty.pth", "text.safetensors", "list.pth", "no.pth"):
        with pytest.raises(ValueError, match=name) as caught:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("checkpoint", "family"),
    [
        ({"encoder_dict": {}, "decoder_dict": {}, "feature_dict": []}, "sam3d_adapter"),
        ({"encoder_dict": {}, "decoder_dict": {}}, "sam3d_adapter_auto"),
        ({"model_state_dict": {"image_encoder.patch_embed.proj.weight": CONV3D}}, "sam_med3d"),
        ({"image_encoder.FacTu.weight": torch.zeros(32, 768)}, "ma_sam"),
        (
            {
                "image_encoder.patch_embed.proj.weight": CONV2D,
                "mask_decoder.iou_token.weight": torch.zeros(1, 256),
            },
            "sam",
        ),
    ],
)
def test_families_are_recognised_by_their_keys(checkpoint, family):
    assert recognise(checkpoint, "x.pth") == family


def test_others_are_refused_by_name():
    with pytest.raises(ValueError, match=r"x\.pt is a MobileSAM"):
        recognise({"image_encoder.layers.0.blocks.0.conv1.c.weight": CONV2D}, "x.pt")
    with pytest.raises(ValueError, match=r"no model known here: its keys begin with a, b"):
        recognise({"b": CONV2D, "a": CONV2D}, "x.pt")
