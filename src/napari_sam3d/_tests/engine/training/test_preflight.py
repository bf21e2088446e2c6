"""What is wrong with labelled pairs is told before a training, and mended by a button."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam3d._tests.engine.training.small import balls, settings
from napari_sam3d.catalog import MODELS, model_spec
from napari_sam3d.engine.places import adapters_folder
from napari_sam3d.engine.releases import Parts, _network
from napari_sam3d.engine.training.cases import objects_of
from napari_sam3d.engine.training.checking import machine
from napari_sam3d.engine.training.checking.check import Check
from napari_sam3d.engine.training.preflight import labelled, mend, mend_all, preflight
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.labelled import Pair, PairFiles
from napari_sam3d.volume import Grid


def pairs_of(count: int) -> list[Pair]:
    return [Pair(it.volume, it.labels, it.volume.grid, {3: "ball"}) for it in balls(count)]


def checks(pairs, model="compact", name="x") -> list[Check]:
    return list(preflight(settings(model=model), pairs, name))


def one(found, kind, pair="") -> Check:
    (check,) = [it for it in found if it.kind == kind and it.pair == pair]
    return check


def with_labels(pair: Pair, labels) -> Pair:
    return replace(pair, labels=np.asarray(labels))


def with_image(pair: Pair, data) -> Pair:
    return replace(pair, volume=replace(pair.volume, data=np.asarray(data)))


def shifted(pair: Pair, *millimetres: float) -> Pair:
    affine = pair.labels_grid.affine.copy()
    affine[:3, 3] += millimetres
    return replace(pair, labels_grid=Grid(pair.labels_grid.shape, affine))


def test_what_is_good_is_said_too():
    found = checks(pairs_of(3))
    assert {it.state for it in found} == {"good"}
    kinds = {"grid", "empty", "ids", "extent", "intensity", "name", "count", "disk", "memory"}
    assert {it.kind for it in found} == kinds | {"weights"}
    assert one(found, "count").sentence == "3 volumes, 1 kind of object, 3 objects."
    assert one(found, "empty", "ball 1").sentence == "1 object: ball."
    assert one(found, "extent").sentence.startswith("Objects of 7 to 9 mm")
    assert one(found, "name").sentence == "The adapter will be called x."
    assert all(it.sentence.endswith(".") and "\n" not in it.sentence for it in found)


def test_labels_elsewhere_are_resampled_by_position():
    pair = shifted(pairs_of(1)[0], 0, 2, 0)
    check = one(checks([pair]), "grid", "ball 0")
    assert check.state == "problem" and "2.0 voxels from the image" in check.sentence
    assert (check.fix, check.other) == ("Resample the labels", "Use the image's position")
    with pytest.raises(ValueError, match=r"2\.0 voxels from the image"):
        labelled([pair])
    (moved,) = labelled(mend([pair], check))
    assert (moved.labels[:, 2:] == pair.labels[:, :-2]).all() and not moved.labels[:, :2].any()
    (placed,) = labelled(mend([pair], check, check.other))
    assert (placed.labels == pair.labels).all()


def test_a_header_that_cannot_be_right_is_not_followed():
    """As many voxels as the image, yet what is labelled would lie outside of it."""
    pair = shifted(pairs_of(1)[0], 500, 0, 0)
    check = one(checks([pair]), "grid", "ball 0")
    assert (check.fix, check.other) == ("Use the image's position", "Resample the labels")
    assert "100% of what is labelled is outside of it" in check.sentence
    assert mend_all([pair]) == ((pair,), [])  # somebody has to look
    (mended,) = labelled(mend([pair], check))
    assert (mended.labels == pair.labels).all()


def test_a_header_that_was_lost_is_not_followed():
    """As many voxels as the image, but of another size: no scan is labelled like that."""
    (pair,) = pairs_of(1)
    grid = Grid.from_spacing(pair.volume.grid.shape, (1.2, 1, 1))
    image = replace(pair.volume, grid=grid)
    lost = replace(pair, volume=image)
    check = one(checks([lost]), "grid", "ball 0")
    assert (check.fix, check.other) == ("Use the image's position", "Resample the labels")
    assert "voxels of another size" in check.sentence
    assert mend_all([lost]) == ((lost,), [])
    (mended,) = labelled(mend([lost], check))
    assert (mended.labels == pair.labels).all()


def test_labels_of_another_shape_are_resampled_or_belong_elsewhere():
    pair = pairs_of(1)[0]
    fine = np.repeat(np.repeat(np.repeat(pair.labels, 2, 0), 2, 1), 2, 2)
    grid = pair.volume.grid.patch(pair.volume.grid.center_voxel, fine.shape, pair.volume.grid.shape)
    twice = replace(pair, labels=fine, labels_grid=grid)
    check = one(checks([twice]), "grid", "ball 0")
    assert "32 x 36 x 40 voxels and the image 16 x 18 x 20 (z, y, x)" in check.sentence
    assert check.fix == "Resample the labels" and not check.other
    (mended,) = labelled(mend([twice], check))
    assert (mended.labels == pair.labels).all()
    elsewhere = shifted(twice, 500, 0, 0)
    check = one(checks([elsewhere]), "grid", "ball 0")
    assert check.fix == "Leave it out" and "belong to another image" in check.sentence
    assert mend([elsewhere], check) == ()


def test_files_are_named_when_there_are_some():
    files = PairFiles(Path("x.nii.gz"), Path("x_seg.nii.gz"))
    pair = replace(shifted(pairs_of(1)[0], 0, 2, 0), files=files)
    assert one(checks([pair]), "grid", "ball 0").sentence.startswith("x_seg.nii.gz lies 2.0")


@pytest.mark.parametrize(
    ("spoil", "kind", "sentence", "fix"),
    [
        (lambda it: it * 0, "empty", "have no labelled voxel", "Leave it out"),
        (lambda it: it * 0.5, "ids", "are no label map", "Leave it out"),
        (lambda it: it * np.nan, "ids", "are no label map", "Leave it out"),
    ],
)
def test_labels_that_are_none_are_left_out(spoil, kind, sentence, fix):
    first, *others = pairs_of(4)
    pairs = [with_labels(first, spoil(first.labels.astype(float))), *others]
    check = one(checks(pairs), kind, "ball 0")
    assert check.state == "problem" and sentence in check.sentence and check.fix == fix
    with pytest.raises(ValueError, match=sentence):
        labelled(pairs)
    assert mend(pairs, check) == tuple(others)


@pytest.mark.parametrize("value", [-1, 0.5, np.nan, np.inf, 2**40])
def test_single_values_that_are_no_labels_are_left_out(value):
    pair = pairs_of(1)[0]
    spoilt = pair.labels.astype(float)
    spoilt[0, 0, :2] = value
    pair = with_labels(pair, spoilt)
    check = one(checks([pair]), "ids", "ball 0")
    assert check.state == "problem" and "have 2 voxels with values" in check.sentence
    (mended,) = labelled(mend([pair], check))
    assert mended.labels.dtype == np.uint8 and np.unique(mended.labels).tolist() == [0, 3]


def test_tiny_objects_are_told_and_left_out():
    pair = pairs_of(1)[0]
    labels = pair.labels.copy()
    labels[0, 0, :5] = 9
    pair = with_labels(pair, labels)
    check = one(checks([pair]), "ids", "ball 0")
    assert check.state == "warning" and "an object of fewer than 20 voxels (label 9)" in (
        check.sentence
    )
    (mended,) = mend([pair], check)
    assert np.unique(mended.labels).tolist() == [0, 3] and 9 in pair.labels
    only = with_labels(pair, np.where(labels == 9, 9, 0))
    check = one(checks([only]), "empty", "ball 0")
    assert "no object of at least 20 voxels" in check.sentence and check.fix == "Leave it out"


def test_labels_that_a_network_of_classes_does_not_know():
    pairs = pairs_of(3)  # with label 3
    check = one(checks(pairs, "ma_sam_prostate"), "ids", "ball 0")
    assert check.state == "problem" and "has label 3, but ma_sam_prostate knows label 1 alone" in (
        check.sentence
    )
    assert one(checks(pairs, "ma_sam_btcv"), "ids", "ball 0").state == "good"


def test_labels_of_large_numbers_are_told_apart_without_much_memory():
    pair = pairs_of(1)[0]
    labels = np.where(pair.labels, 4_000_000_000, 0).astype(np.uint32)
    labels[:, :, :8][labels[:, :, :8] > 0] = 70_000
    (case,) = labelled([with_labels(pair, labels)])
    found = objects_of(case)
    assert [it.label for it in found] == [70_000, 4_000_000_000]
    for it in found:
        assert (it.full() == (labels == it.label)).all()


def test_pairs_of_one_name_are_renamed():
    first, second, third = pairs_of(3)
    pairs = [first, replace(second, volume=replace(second.volume, name="ball 0")), third]
    check = one(checks(pairs), "name", "ball 0")
    assert check.state == "problem" and check.fix == "Rename it"
    mended = mend(pairs, check)
    assert [it.name for it in mended] == ["ball 0", "ball 0 (2)", "ball 2"]
    assert mended[1].labels is second.labels and len(labelled(mended)) == 3


def test_images_without_contrast_or_with_holes():
    first, second, third = pairs_of(3)
    flat = with_image(first, np.full(first.volume.grid.shape, 7.0))
    check = one(checks([flat, second, third]), "intensity", "ball 0")
    assert check.state == "problem" and check.fix == "Leave it out"
    data = first.volume.data.copy()
    data[0, 0, :3] = np.nan
    data[0, 1, 0] = -np.inf
    check = one(checks([with_image(first, data)]), "intensity", "ball 0")
    assert check.state == "problem" and "4 voxels that are no numbers" in check.sentence
    (mended,) = mend([with_image(first, data)], check)
    assert np.isnan(data[0, 0, 0])  # the layer of the user stays as it is
    lowest = data[np.isfinite(data)].min()
    assert (mended.volume.data[0, 0, :3] == lowest).all() and mended.volume.data[0, 1, 0] == lowest
    assert len(labelled([mended])) == 1


def test_an_image_of_another_kind_is_told():
    pairs = pairs_of(4)
    unit = with_image(pairs[0], pairs[0].volume.data / 1000)
    check = one(checks([unit, *pairs[1:]]), "intensity", "ball 0")
    assert check.state == "warning" and "an image of the same kind?" in check.sentence
    ct = with_image(pairs[0], pairs[0].volume.data * 10 - 900)
    check = one(checks([ct, *pairs[1:]]), "intensity", "ball 0")
    assert check.state == "warning" and "looks like CT" in check.sentence
    assert one(checks([ct]), "intensity", "ball 0").sentence.endswith(", as in CT.")
    check = one(checks(pairs, "sam3d_adapter_kits"), "intensity", "ball 1")
    assert check.state == "good"  # has values below zero, as soft tissue in CT
    positive = [with_image(it, np.abs(it.volume.data)) for it in pairs]
    check = one(checks(positive, "sam3d_adapter_kits"), "intensity", "ball 1")
    assert check.state == "warning" and "Hounsfield" in check.sentence


def test_objects_are_held_against_the_patch():
    (pair,) = pairs_of(1)
    for spacing, model, state, said in (
        (1, "sam_med3d_turbo", "good", "192 mm"),
        (30, "sam_med3d_turbo", "warning", "seen in part only; compact"),
        (30, "compact", "good", "fit themselves"),
        (0.3, "sam_med3d_turbo", "warning", "too coarse"),
    ):
        grid = Grid.from_spacing(pair.volume.grid.shape, (spacing,) * 3)
        other = Pair(replace(pair.volume, grid=grid), pair.labels, grid)
        check = one(checks([other], model), "extent")
        assert check.state == state and said in check.sentence


def test_few_volumes_are_judged_optimistically():
    assert one(checks([]), "count").state == "problem"
    check = one(checks(pairs_of(2)), "count")
    assert check.state == "warning" and check.sentence.endswith("and is optimistic.")
    (pair,) = pairs_of(1)
    flat = np.zeros_like(pair.labels)
    flat[4] = 1
    check = one(checks([with_labels(pair, flat)]), "count")
    assert check.state == "problem" and "too few slices" in check.sentence


def test_names_that_are_taken_get_another(data_folder):
    (data_folder / "runs" / "x").mkdir(parents=True)
    (data_folder / "runs" / "x" / "config.json").touch()
    adapters_folder().mkdir()
    (adapters_folder() / "x-2.safetensors").touch()
    check = one(checks(pairs_of(3)), "name")
    assert check.state == "problem" and "a run called x already" in check.sentence
    assert check.instead == "x-3" and check.fix == "Take another name"
    assert one(checks(pairs_of(3), name="x-2"), "name").instead == "x-3"
    assert one(checks(pairs_of(3), name="a/b:c"), "name").instead == "a_b_c"
    assert one(checks(pairs_of(3), name="con"), "name").instead == "con_"


def test_what_the_machine_lacks(monkeypatch):
    pairs = pairs_of(3)
    assert one(checks(pairs, "sam_vit_b"), "weights").sentence.startswith("sam_vit_b cannot be")
    check = one(checks(pairs, "sam_med3d_turbo"), "weights")
    assert check.state == "warning" and "downloaded first, 402 MB" in check.sentence
    check = one(checks(pairs, "sam3d_adapter_kits"), "weights")
    assert check.state == "problem" and "models add FILE" in check.sentence
    wrong = machine.weights_file(model_spec("sam_med3d_turbo"))
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"half of it")
    check = one(checks(pairs, "sam_med3d_turbo"), "weights")
    assert check.state == "warning" and "is downloaded again, 402 MB" in check.sentence
    usage = machine.shutil.disk_usage("/")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    assert one(checks(pairs), "disk").state == "problem"
    memory = machine.psutil.virtual_memory()
    monkeypatch.setattr(
        machine.psutil, "virtual_memory", lambda: memory._replace(available=1 << 20)
    )
    check = one(checks(pairs), "memory")
    assert check.state == "warning" and "rehearse" in check.sentence


@pytest.fixture(autouse=True)
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path / "models"))


@pytest.mark.parametrize("family", ["compact", "sam_med3d", "sam3d_adapter"])
def test_the_disk_is_reckoned_by_what_is_really_tuned(family):
    with torch.device("meta"):
        model = _network(Parts(family, {}, {}))
    tuned = sum(p.numel() for name, p in model.named_parameters() if model.is_adapter(name))
    assert machine._TUNED[family] == pytest.approx(tuned, rel=0.02)


def test_memory_and_disk_are_known_of_all_that_can_be_tuned():
    for spec in MODELS.values():
        try:
            recipe_of(spec)
        except ValueError:
            continue
        assert spec.family in machine._TUNED and spec.family in machine._WORK_GB


def test_all_buttons_at_once():
    first, second, third = pairs_of(3)
    same = replace(first, volume=replace(third.volume, name="ball 1"))
    empty = with_labels(first, first.labels * 0)
    odd = with_labels(third, np.where(third.labels, 3.0, -1.0))
    odd.labels[third.labels == 0] = 0
    odd.labels[0, 0, 0] = -1
    pairs = [empty, shifted(second, 0, 1, 0), same, odd]
    mended, done = mend_all(pairs)
    assert [it.name for it in mended] == ["ball 1", "ball 1 (2)", "ball 2"]
    assert {it.fix for it in done} == {
        "Rename it",
        "Leave it out",
        "Resample the labels",
        "Leave these voxels out",
    }
    assert len(labelled(mended)) == 3 and mend_all(mended) == (mended, [])


def test_nothing_is_written(data_folder):
    checks(pairs_of(3))
    assert not list(data_folder.iterdir())
