"""Every published model from the command line: from a file of weights to a mask of the phantom."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_sam3d import catalog
from napari_sam3d._tests.engine import test_fetch
from napari_sam3d._tests.tiny_checkpoints import (
    save_tiny,
    tiny_adapter,
    tiny_automatic_adapter,
    tiny_ma_sam,
    tiny_sam,
    tiny_sam_med3d,
)
from napari_sam3d.cli import main
from napari_sam3d.engine.classes import ClassPredictor
from napari_sam3d.engine.fixed import FixedPredictor
from napari_sam3d.engine.releases import build, fitted, read_parts
from napari_sam3d.engine.slicewise import SlicePredictor
from napari_sam3d.engine.weights import file_sum
from napari_sam3d.io import read_nifti
from napari_sam3d.io.label_names import read_label_names
from napari_sam3d.prompts import Box, Point, Prompts
from napari_sam3d.samples import load_sample
from napari_sam3d.settings import InferenceSettings

CLICK = "54,75,59"  # of the phantom, in stored indices
BOX = "46,67,55,62,83,63"
MIDDLE_BOX = "10,20,8,40,50,16"

server = test_fetch.server


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """An empty folder of the user's for weights."""
    folder = tmp_path / "models"
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """The phantom as a file, whole and its middle, for models that look at every voxel."""
    folder = tmp_path_factory.mktemp("phantom")
    volume = load_sample("phantom").volume
    z, y, x = volume.grid.spacing
    stored = np.asarray(volume.data).transpose(2, 1, 0)
    for name, data in (("whole", stored), ("middle", stored[56:120, 40:104, 40:64])):
        nib.save(nib.Nifti1Image(data, np.diag([-x, -y, z, 1])), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def publish(monkeypatch):
    """Make a file the published one of a row."""

    def publish(name: str, path: Path, **changes) -> None:
        spec = catalog.MODELS[name]
        weights = replace(spec.weights, sha256=file_sum(path), **changes)
        monkeypatch.setitem(catalog.MODELS, name, replace(spec, weights=weights))

    return publish


def expected(way: type, name: str, weights: Path, image: Path, base: Path | None = None, **said):
    """The mask that the network itself gives, in stored order, without any store of weights."""
    parts = read_parts(weights, base)
    if name == "medsam":
        parts = replace(parts, sizes={**parts.sizes, "med_sam": True})
    spec = fitted(catalog.MODELS[name], parts)
    predictor = way(build(parts, "x"), spec, InferenceSettings(model=name, device="cpu"))
    volume = read_nifti(image)
    to_display = volume.source.to_display
    if said:
        point, box = said.get("point"), said.get("box")
        prompts = Prompts()
        if point:
            prompts = prompts.add(Point(tuple(to_display(numbers(point)))))
        if box:
            corners = to_display(np.reshape(numbers(box), (2, 3)))
            prompts = replace(prompts, box=Box(*map(tuple, corners)))
        found = predictor.predict(volume, prompts).full(volume.grid.shape)
    else:
        found = predictor.segment_all(volume)
    places = np.indices(volume.source.stored_shape).reshape(3, -1).T
    z, y, x = np.rint(to_display(places)).astype(int).T
    return found[z, y, x].reshape(volume.source.stored_shape)


def numbers(text: str) -> np.ndarray:
    return np.array(text.split(","), float)


def segment(image: Path, name: str, *words: str) -> np.ndarray:
    """The mask that the command line writes; its report is on stdout."""
    command = ["segment", str(image), "--model", name, "--device", "cpu", *words]
    assert main([*command, "-o", "mask.nii.gz", "--json", "--overwrite"]) == 0
    return np.asarray(nib.load("mask.nii.gz").dataobj)


def refused(capsys, *words: str) -> str:
    """The one sentence that a wrong call says; nothing is added."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    assert sorted(Path().rglob("*")) == before
    return err


# Every family, through its released file


def test_sam_med3d_is_downloaded_over_a_bad_connection(
    server, publish, phantom, tmp_path, monkeypatch, capsys
):
    path = save_tiny(tiny_sam_med3d(), tmp_path / "released.pth")
    monkeypatch.setattr(test_fetch, "CONTENT", path.read_bytes())
    server.mishaps = ["drop", "wrong"]
    publish("sam_med3d_turbo", path, url=server.url, size=path.stat().st_size)
    image = phantom / "whole.nii.gz"
    mask = segment(image, "sam_med3d_turbo", "--point", CLICK)
    first, resumed, again = server.asked
    assert first == again == "" and int(resumed[6:-1]) > path.stat().st_size // 4
    whole = expected(FixedPredictor, "sam_med3d_turbo", path, image, point=CLICK)
    assert whole.any() and np.array_equal(mask, whole)
    segment(image, "sam_med3d_turbo", "--point", CLICK)
    assert len(server.asked) == 3
    assert capsys.readouterr().err == ""  # --json


def test_sam_med3d_of_the_challenge_takes_a_box(publish, phantom, tmp_path):
    path = save_tiny(tiny_sam_med3d(boxes=True), tmp_path / "anything")
    publish("sam_med3d_cvpr", path)
    assert main(["models", "add", str(path)]) == 0
    image = phantom / "whole.nii.gz"
    mask = segment(image, "sam_med3d_cvpr", "--box", BOX)
    whole = expected(FixedPredictor, "sam_med3d_cvpr", path, image, box=BOX)
    assert whole.any() and np.array_equal(mask, whole)


def test_3dsam_adapter_is_added_and_segments(phantom, models, tmp_path, capsys):
    path = save_tiny(tiny_adapter(), tmp_path / "KiTS21" / "checkpoint (1).bin")
    assert main(["models", "add", str(path)]) == 0
    out = capsys.readouterr().out
    kept = models / "sam3d_adapter_kits.safetensors"
    assert out.startswith("Added sam3d_adapter_kits from checkpoint (1).bin (3DSAM-adapter)\n")
    assert str(kept) in out and "MB before" in out and file_sum(path) in out
    with safe_open(kept, framework="pt") as file:
        said = file.metadata()
    assert (said["source"], said["sha256"]) == (path.name, file_sum(path))
    assert not any("attn_mask" in name or "_opt" in name for name in load_file(kept))
    image = phantom / "whole.nii.gz"
    mask = segment(image, "sam3d_adapter_kits", "--point", CLICK)
    whole = expected(FixedPredictor, "sam3d_adapter_kits", path, image, point=CLICK)
    assert whole.any() and np.array_equal(mask, whole)


def test_3dsam_adapter_without_clicks_finds_its_class(phantom, tmp_path, capsys):
    path = save_tiny(tiny_automatic_adapter(), tmp_path / "a")
    assert main(["models", "add", str(path), "--as", "sam3d_adapter_auto_colon"]) == 0
    image = phantom / "middle.nii.gz"
    capsys.readouterr()
    mask = segment(image, "sam3d_adapter_auto_colon")
    (found,) = json.loads(capsys.readouterr().out)["objects"]
    assert found["name"] == "colon tumour" and found["score"] is None
    assert found["voxels"] == np.count_nonzero(mask) > 0
    whole = expected(ClassPredictor, "sam3d_adapter_auto_colon", path, image)
    assert np.array_equal(mask, whole)


def test_ma_sam_finds_all_classes_or_what_is_in_a_box(phantom, models, tmp_path, capsys):
    adapters, sam = tiny_ma_sam()
    path = save_tiny(adapters, tmp_path / "btcv" / "epoch_159.pth")
    base = save_tiny(sam, tmp_path / "some_sam")
    assert main(["models", "add", str(path), "--base", "some_sam"]) == 0
    assert (models / "ma_sam_btcv.safetensors").stat().st_size < base.stat().st_size * 2
    image = phantom / "middle.nii.gz"
    capsys.readouterr()
    mask = segment(image, "ma_sam_btcv")
    objects = json.loads(capsys.readouterr().out)["objects"]
    assert np.array_equal(mask, expected(ClassPredictor, "ma_sam_btcv", path, image, base))
    names = {it.id: it.name for it in read_label_names("mask.nii.gz")}
    assert names[1] == "spleen" and len(names) == 12 and len(np.unique(mask)) > 2
    counts = np.bincount(mask.ravel(), minlength=13)
    assert [found["voxels"] for found in objects] == counts[1:].tolist()
    largest = objects[int(counts[1:].argmax())]
    centre = np.argwhere(mask == largest["id"]).mean(0)
    np.testing.assert_allclose(largest["centroid"], centre, atol=0.01)

    assert main(["segment", str(image), "--model", "ma_sam_btcv", "--overwrite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Object 1 (spleen): ") and len(lines) == 14
    assert lines[-2].startswith("All of them took") and lines[-1] == "Mask: middle_seg.nii.gz"

    boxed = segment(image, "ma_sam_btcv", "--box", f"3:{MIDDLE_BOX}")
    (found,) = json.loads(capsys.readouterr().out)["objects"]
    assert (found["id"], found["name"], found["score"]) == (3, "", None)
    within = expected(ClassPredictor, "ma_sam_btcv", path, image, base, box=MIDDLE_BOX)
    assert within.any() and np.array_equal(boxed, within * 3)


@pytest.mark.parametrize(("name", "workers"), [("ma_sam_btcv", 2), ("sam3d_adapter_auto_kits", 1)])
def test_a_batch_needs_no_prompts_where_the_model_needs_none(
    phantom, models, tmp_path, capsys, name, workers
):
    if name == "ma_sam_btcv":
        adapters, sam = tiny_ma_sam()
        path = save_tiny(adapters, tmp_path / "weights" / "epoch_159.pth")
        save_tiny(sam, tmp_path / "weights" / "sam.pth")
        words = ["--base", "weights/sam.pth"]
    else:
        path = save_tiny(tiny_automatic_adapter(), tmp_path / "weights" / "a.pth.tar")
        words = []
    assert main(["models", "add", str(path), "--as", name, *words]) == 0
    stored = nib.load(phantom / "middle.nii.gz")
    (tmp_path / "scans").mkdir()
    for number, turned in enumerate((stored, stored.slicer[8:, :, :])):
        nib.save(turned, tmp_path / "scans" / f"x{number}.nii.gz")
    command = ["batch", "scans", "-o", "masks", "--model", name, "--device", "cpu"]
    assert main([*command, "--workers", str(workers), "--threads", "1"]) == 0
    assert "2 of 2 cases are done" in capsys.readouterr().out
    for number in range(2):
        alone = segment(tmp_path / "scans" / f"x{number}.nii.gz", name)
        assert np.array_equal(np.asarray(nib.load(f"masks/x{number}_seg.nii.gz").dataobj), alone)
        named = read_label_names(tmp_path / "masks" / f"x{number}_seg.nii.gz")
        assert [it.name for it in named] == list(catalog.MODELS[name].classes)


def test_an_evaluation_of_classes_against_what_the_model_finds_is_perfect(
    phantom, tmp_path, capsys
):
    adapters, sam = tiny_ma_sam()
    path = save_tiny(adapters, tmp_path / "weights" / "epoch_159.pth")
    base = save_tiny(sam, tmp_path / "weights" / "sam.pth")
    assert main(["models", "add", str(path), "--as", "ma_sam_btcv", "--base", str(base)]) == 0
    segment(phantom / "middle.nii.gz", "ma_sam_btcv")
    (tmp_path / "scans").mkdir()
    shutil.copy(phantom / "middle.nii.gz", tmp_path / "scans" / "x.nii.gz")
    shutil.copy("mask.nii.gz", tmp_path / "scans" / "x_seg.nii.gz")
    words = ["--pairs", "scans", "--model", "ma_sam_btcv", "--protocol", "ma-sam", "-o", "out"]
    capsys.readouterr()
    assert main(["evaluate", *words, "--device", "cpu"]) == 0
    with open("out/results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["round"] for row in rows} == {"none", "tight", "relaxed"}
    alone = [row for row in rows if row["round"] == "none"]
    labels = set(np.unique(np.asarray(nib.load("mask.nii.gz").dataobj)).tolist()) - {0}
    assert {int(row["class"]) for row in alone} == labels and len(alone) == len(labels)
    assert all(float(row["dice"]) == 1 and float(row["nsd"]) == 1 for row in alone)


def test_sam_is_known_by_its_checksum(phantom, models, publish, tmp_path):
    path = save_tiny(tiny_sam(), tmp_path / "x.pt")
    publish("sam_vit_b", path)
    for _ in range(2):
        assert main(["models", "add", str(path)]) == 0
    assert (models / "sam_vit_b_01ec64.pth").read_bytes() == path.read_bytes()
    image = phantom / "whole.nii.gz"
    mask = segment(image, "sam_vit_b", "--point", CLICK)
    whole = expected(SlicePredictor, "sam_vit_b", path, image, point=CLICK)
    assert whole.any() and np.array_equal(mask, whole)


def test_medsam_is_added_by_name(phantom, tmp_path):
    path = save_tiny(tiny_sam(), tmp_path / "x.pt")
    assert main(["models", "add", str(path), "--as", "medsam"]) == 0
    image = phantom / "whole.nii.gz"
    mask = segment(image, "medsam", "--box", BOX)
    whole = expected(SlicePredictor, "medsam", path, image, box=BOX)
    assert whole.any() and np.array_equal(mask, whole)


# What models add makes of other files


@pytest.fixture
def kits(tmp_path):
    return save_tiny(tiny_adapter(), tmp_path / "kits.pth")


def test_wrong_files_are_refused_in_one_sentence(tmp_path, kits, capsys):
    good = torch.load(kits, weights_only=False)
    encoder = good["encoder_dict"]
    key = "blocks.2.norm1.weight"
    short = {k: t for k, t in encoder.items() if k != key}
    wide = {**encoder, key: torch.zeros(49)}
    more = {**encoder, "extra.weight": torch.zeros(1)}
    cases = {
        "mobile.pt": ({"image_encoder.layers.0.conv.weight": torch.zeros(1)}, "is a MobileSAM"),
        "object": ({**good, "args": argparse.Namespace()}, "argparse.Namespace"),
        "short": ({**good, "encoder_dict": short}, f"lacks the tensor image_encoder.{key}"),
        "wide": ({**good, "encoder_dict": wide}, f"image_encoder.{key} has shape (49,), the"),
        "more": ({**good, "encoder_dict": more}, "image_encoder.extra.weight"),
        "other": ({"a": torch.zeros(1)}, "its keys begin with a"),
        "empty": ({"encoder_dict": {}, "decoder_dict": {}}, "empty"),
    }
    for name, (checkpoint, words) in cases.items():
        path = save_tiny(checkpoint, tmp_path / "kits" / name)
        said = refused(capsys, "models", "add", str(path))
        assert name in said and words in said
        assert words in refused(capsys, "models", "convert", str(path), "out.safetensors")


def test_damaged_files_are_refused_in_one_sentence(tmp_path, kits, capsys):
    whole = kits.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (tmp_path / "flipped.pth").write_bytes(flipped)
    assert "cut.pth" in refused(capsys, "models", "add", "cut.pth")
    assert "flipped.pth is damaged: its record" in refused(capsys, "models", "add", "flipped.pth")
    assert "gone.pth is no file" in refused(capsys, "models", "add", "gone.pth")
    assert "models is no file" in refused(capsys, "models", "add", "models")
    assert "no model called 'x'" in refused(capsys, "models", "add", "kits.pth", "--as", "x")


def test_what_nothing_tells_needs_a_name(tmp_path, models, kits, publish, capsys):
    os.rename(kits, "last.pth.tar")
    said = refused(capsys, "models", "add", "last.pth.tar")
    assert "--as NAME, one of sam3d_adapter_kits, sam3d_adapter_lits" in said
    said = refused(capsys, "models", "add", "last.pth.tar", "--as", "ma_sam_btcv")
    assert "is a 3DSAM-adapter, which ma_sam_btcv is not; it can be sam3d_adapter_kits" in said
    save_tiny(tiny_sam_med3d(), tmp_path / "other.pth")
    said = refused(capsys, "models", "add", "other.pth")
    assert "not the published file of sam_med3d_turbo or sam_med3d_cvpr: its SHA-256" in said
    save_tiny(tiny_sam(embed_dim=768, heads=12), tmp_path / "medsam.pth")
    said = refused(capsys, "models", "add", "medsam.pth")
    assert "shapes of sam_vit_b" in said and "models fetch sam_vit_b" in said
    save_tiny(tiny_sam(), tmp_path / "small.pth")
    assert "one of medsam." in refused(capsys, "models", "add", "small.pth")
    assert "not the published file of sam_vit_b" in refused(
        capsys, "models", "add", "medsam.pth", "--as", "sam_vit_b"
    )
    publish("sam_vit_b", tmp_path / "medsam.pth")
    assert "the published file of sam_vit_b, not of medsam" in refused(
        capsys, "models", "add", "medsam.pth", "--as", "medsam"
    )
    assert "is no MA-SAM" in refused(capsys, "models", "add", "last.pth.tar", "--base", "x")


def test_ma_sam_finds_the_sam_of_its_size(tmp_path, models, publish, capsys):
    adapters, sam = tiny_ma_sam(embed_dim=768, heads=12)
    save_tiny(adapters, tmp_path / "prostate.pth")
    said = refused(capsys, "models", "add", "prostate.pth", "--base", "gone.pth")
    assert "gone.pth of prostate.pth is missing" in said
    publish("sam_vit_b", save_tiny(sam, models / "sam_vit_b_01ec64.pth"))
    assert main(["models", "add", "prostate.pth", "--as", "ma_sam_prostate"]) == 0
    kept = models / "ma_sam_prostate.safetensors"
    assert load_file(kept).keys() == adapters.keys()
    small = save_tiny(tiny_sam(), tmp_path / "small.pth")
    assert "use the matching SAM file" in refused(
        capsys, "models", "add", "prostate.pth", "--base", str(small)
    )


# models convert


def test_conversion_leaves_masks_and_optimisers_out(tmp_path, models, kits, capsys):
    assert main(["models", "convert", "kits.pth", "out.safetensors"]) == 0
    assert "Converted kits.pth (3DSAM-adapter)" in capsys.readouterr().out
    out = tmp_path / "out.safetensors"
    assert out.stat().st_size < 0.8 * kits.stat().st_size
    encoder = torch.load(kits, weights_only=False)["encoder_dict"]
    assert any(k.endswith("attn_mask") for k in encoder)
    before, after = read_parts(kits), read_parts(out)
    assert before.sizes == after.sizes and before.tensors.keys() == after.tensors.keys()
    assert all(torch.equal(after.tensors[k], t) for k, t in before.tensors.items())
    assert not any(("mask" in k and "decoder" not in k) or "opt" in k for k in load_file(out))
    assert main(["models", "add", "out.safetensors", "--as", "sam3d_adapter_lits"]) == 0
    assert (models / "sam3d_adapter_lits.safetensors").is_file()
    os.rename(out, "lits")  # what a file holds counts, not what it is called
    assert main(["models", "add", "lits"]) == 0


def test_conversion_replaces_nothing_unasked(tmp_path, kits, capsys):
    assert "must end in .safetensors" in refused(capsys, *"models convert kits.pth o.pth".split())
    assert "no folder none" in refused(
        capsys, "models", "convert", "kits.pth", "none/o.safetensors"
    )
    save_file({"a": torch.zeros(1)}, "old.safetensors")
    words = ["models", "convert", "kits.pth", "old.safetensors"]
    assert "--overwrite replaces it" in refused(capsys, *words)
    assert main([*words, "--overwrite"]) == 0
    assert "a" not in load_file("old.safetensors")
    same = ["models", "convert", "old.safetensors", "old.safetensors", "--overwrite"]
    assert "choose another name" in refused(capsys, *same)


def test_converted_adapters_remember_their_sam(tmp_path, models):
    adapters, sam = tiny_ma_sam()
    save_tiny(adapters, tmp_path / "a.pth")
    save_tiny(sam, tmp_path / "sam.pth")
    assert main(["models", "convert", "a.pth", "btcv.safetensors", "--base", "sam.pth"]) == 0
    assert main(["models", "add", "btcv.safetensors"]) == 0
    assert load_file(models / "ma_sam_btcv.safetensors").keys() == adapters.keys()


# models fetch and the list


def rows(capsys) -> dict[str, dict]:
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_the_list_says_where_weights_are(models, kits, capsys):
    assert main(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["compact"].endswith("built in")
    assert lines["sam_med3d_turbo"].endswith("downloaded at first use, 402 MB")
    assert lines["sam3d_adapter_kits"].endswith(
        "to be added, from https://github.com/med-air/3DSAM-adapter"
    )
    assert main(["models", "add", "kits.pth"]) == 0
    states = {name: row["weights"]["state"] for name, row in rows(capsys).items()}
    assert states["sam3d_adapter_kits"] == "here" and states["sam3d_adapter_lits"] == "to be added"
    assert states["sam_vit_h"] == "to download" and states["compact"] == "built in"


def test_weights_are_fetched_when_asked_for(server, publish, tmp_path, monkeypatch, capsys):
    content = bytes(3_000_000)
    monkeypatch.setattr(test_fetch, "CONTENT", content)
    (tmp_path / "file").write_bytes(content)
    publish("sam_vit_b", tmp_path / "file", url=server.url)
    assert main(["models", "fetch", "sam_vit_b"]) == 0
    out, err = capsys.readouterr()
    assert "sam_vit_b" in out and "3.0 MB" in out
    assert err == "Downloading weights for sam_vit_b, 3 MB\n"  # no terminal, no bar
    assert rows(capsys)["sam_vit_b"]["weights"]["state"] == "here"
    said = refused(capsys, "models", "fetch", "ma_sam_btcv")
    assert "models add FILE --as ma_sam_btcv" in said
    assert "no model called 'x'" in refused(capsys, "models", "fetch", "x")


def test_a_terminal_shows_a_bar(server, publish, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    (tmp_path / "file").write_bytes(test_fetch.CONTENT)
    publish("sam_vit_b", tmp_path / "file", url=server.url)
    assert main(["models", "fetch", "sam_vit_b"]) == 0
    assert "/2.10M" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["models", "fetch"], ["segment", "whole", "--point", CLICK]])
def test_an_interrupted_download_goes_on_later(
    server, publish, phantom, tmp_path, monkeypatch, capsys, words
):
    path = save_tiny(tiny_sam(), tmp_path / "file")
    monkeypatch.setattr(test_fetch, "CONTENT", path.read_bytes())
    publish("sam_vit_b", path, url=server.url)
    words = [str(phantom / "whole.nii.gz") if word == "whole" else word for word in words]
    words = [*words, *(["--model"] if "segment" in words else []), "sam_vit_b"]
    pieces = requests.Response.iter_content

    def interrupted(answer, size):
        yield next(pieces(answer, size))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(requests.Response, "iter_content", interrupted)
        assert main(words) == 130
    assert "MB are kept; the next download goes on from there" in capsys.readouterr().err
    assert not Path("whole_seg.nii.gz").exists()
    assert main(words) == 0
    assert server.asked == ["", f"bytes={1 << 16}-"]
