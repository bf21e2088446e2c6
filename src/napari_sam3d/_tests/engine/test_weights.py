"""Weights from the user's folder: added, loaded, and refused when they are not what they should."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_sam3d._tests.tiny_checkpoints import (
    save_tiny,
    tiny_adapter,
    tiny_automatic_adapter,
    tiny_ma_sam,
    tiny_sam,
    tiny_sam_med3d,
)
from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.places import is_here
from napari_sam3d.engine.releases import Parts, read_parts
from napari_sam3d.engine.store import add, choose_row
from napari_sam3d.engine.weights import check_sum, load_model, weights_path

OF_SIZES = ("sizes of the network", "is no MA-SAM", "adapters were tuned on")
"""What is said of a tensor without which nobody knows what network it is."""
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_what_has_to_be_added_says_how():
    spec = model_spec("sam3d_adapter_kits")
    assert not is_here(spec)
    with pytest.raises(ValueError, match="models add FILE --as sam3d_adapter_kits"):
        weights_path(spec)
    assert is_here(model_spec("compact")) and weights_path(model_spec("compact")).is_file()


def test_shipped_weights_are_held_against_their_checksum(tmp_path):
    path = tmp_path / "compact.safetensors"
    with pytest.raises(ValueError, match="are missing"):
        check_sum(path, "0")
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="are damaged"):
        check_sum(path, model_spec("compact").weights.sha256)
    check_sum(path, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")


def test_what_was_added_is_what_is_loaded(tmp_path):
    path = save_tiny(tiny_adapter(), tmp_path / "colon.pth")
    kept = add(path)
    assert kept.name == "sam3d_adapter_colon" and is_here(model_spec(kept.name))
    model, spec = load_model(model_spec(kept.name), CPU)
    assert spec == replace(model_spec(kept.name), patch_shape=(32, 32, 32))
    expected = read_parts(path).tensors
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(model.state_dict()[k], t) for k, t in expected.items())
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_medsam_prepares_slices_in_its_own_way(tmp_path):
    add(save_tiny(tiny_sam(), tmp_path / "x"), "medsam")
    model, _ = load_model(model_spec("medsam"), CPU)
    assert model.boxes_only


def test_adapters_without_their_sam_say_where_it_was(tmp_path):
    adapters, sam = tiny_ma_sam()
    base = save_tiny(sam, tmp_path / "sam.pth")
    add(save_tiny(adapters, tmp_path / "btcv.pth"), base=base)
    model, _ = load_model(model_spec("ma_sam_btcv"), CPU)
    assert model.classes == 12
    base.unlink()
    with pytest.raises(ValueError, match=r"sam\.pth is no file"):
        load_model(model_spec("ma_sam_btcv"), CPU)


def test_files_put_into_the_folder_by_hand_are_checked(models, tmp_path):
    kept = add(save_tiny(tiny_adapter(), tmp_path / "kits.pth")).path
    kept.rename(models / "medsam.safetensors")
    with pytest.raises(ValueError, match="holds weights of sam3d_adapter, not of medsam"):
        load_model(model_spec("medsam"), CPU)
    save_file({"a": torch.zeros(1)}, kept)
    with pytest.raises(ValueError, match="its keys begin with a"):
        load_model(model_spec("sam3d_adapter_kits"), CPU)
    kept.write_bytes(kept.read_bytes()[:-2])
    with pytest.raises(ValueError, match=f"{kept.name} is damaged"):
        load_model(model_spec("sam3d_adapter_kits"), CPU)


def test_a_later_file_takes_the_place_of_an_earlier_one(tmp_path):
    first = tiny_adapter()
    second = copy.deepcopy(first)
    second["encoder_dict"]["pos_embed"] += 1
    kept = add(save_tiny(first, tmp_path / "kits" / "last.pth.tar")).path
    add(save_tiny(second, tmp_path / "kits" / "best.pth.tar"))
    assert torch.equal(
        load_file(kept)["image_encoder.pos_embed"], second["encoder_dict"]["pos_embed"]
    )
    assert [p.name for p in kept.parent.iterdir()] == [kept.name]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kits/last.pth.tar", "sam3d_adapter_kits"),
        ("downloads/KiTS21/x", "sam3d_adapter_kits"),
        ("pancreas/lits_best.pth", "sam3d_adapter_lits"),  # the nearest name counts
        ("3dsam-colon.pth", "sam3d_adapter_colon"),
        ("splits/toolkits/last.pth", None),  # parts of other words do not
        ("kits/kits_to_lits.pth", None),
    ],
)
def test_names_of_files_and_folders_tell_the_task(tmp_path, path, name):
    def choose():
        return choose_row(tmp_path / path, Parts("sam3d_adapter", {}, {}), "0").name

    if name is not None:
        assert choose() == name
        return
    with pytest.raises(ValueError, match="nothing tells which"):
        choose()


def test_classes_tell_the_tasks_of_ma_sam_apart(tmp_path):
    organs = Parts("ma_sam", {"classes": 12}, {})
    assert choose_row(tmp_path / "btcv.pth", organs, "0").name == "ma_sam_btcv"
    with pytest.raises(ValueError, match=r"one of ma_sam_btcv\."):
        choose_row(tmp_path / "prostate.pth", organs, "0")
    assert choose_row(tmp_path / "x", organs, "0", "ma_sam_prostate").name == "ma_sam_prostate"


def test_no_file_takes_the_place_of_shipped_weights(tmp_path):
    with pytest.raises(ValueError, match="is a compact, but not to be added"):
        choose_row(tmp_path / "x", Parts("compact", {}, {}), "0")


def leaves(checkpoint, path=()) -> Iterator[tuple]:
    """Where the tensors are that a network reads."""
    items = checkpoint.items() if isinstance(checkpoint, dict) else enumerate(checkpoint)
    for key, value in items:
        unread = path[-1:] == ("feature_dict",) and key != 3
        if unread or str(key).endswith(("_opt", "attn_mask")):
            continue
        if isinstance(value, torch.Tensor):
            yield (*path, key)
        elif isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def changed(checkpoint, path: tuple, tensor: torch.Tensor | None):
    """A copy with another tensor at a place, or none."""
    first, *rest = path
    result = copy.copy(checkpoint)
    if rest:
        result[first] = changed(checkpoint[first], tuple(rest), tensor)
    elif tensor is None:
        del result[first]
    else:
        result[first] = tensor
    return result


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("family", ["sam_med3d", "adapter", "automatic", "ma_sam", "sam"])
def test_any_tensor_that_is_missing_or_of_another_shape_is_found(tmp_path, models, family):
    base = None
    if family == "ma_sam":
        checkpoint, sam = tiny_ma_sam()
        base = save_tiny(sam, tmp_path / "sam.pth")
    else:
        checkpoint = {
            "sam_med3d": tiny_sam_med3d,
            "adapter": tiny_adapter,
            "automatic": tiny_automatic_adapter,
            "sam": tiny_sam,
        }[family]()
    places = list(leaves(checkpoint))
    assert len(places) > 50
    for place in places[::23]:
        for tensor in (None, torch.zeros(3, 5)):
            path = save_tiny(changed(checkpoint, place, tensor), tmp_path / "x.pth")
            with pytest.raises(ValueError, match=r"x\.pth") as caught:
                add(path, base=base)
            said = str(caught.value)
            assert "\n" not in said and "nothing tells" not in said and "SHA-256" not in said
            assert place[-1].split(".")[-1] in said or any(words in said for words in OF_SIZES)
    assert not models.exists()
