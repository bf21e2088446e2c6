"""The command line from typed words to files and exit codes; only the network is a stand-in."""

from __future__ import annotations

import json
import os
import sys

import nibabel as nib
import numpy as np
import pytest

import napari_sam3d.cli.demo
from napari_sam3d.catalog import MODELS
from napari_sam3d.cli import main
from napari_sam3d.cli.boxes import TypedBox, parse_box, parse_boxes, place_box
from napari_sam3d.cli.points import TypedPoint, parse_point, parse_points, require_positive
from napari_sam3d.engine import predictor as engine
from napari_sam3d.io import read_nifti
from napari_sam3d.io.label_names import read_label_names
from napari_sam3d.prompts import Box, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Grid, Volume

SHAPE = (20, 24, 16)  # stored, (i, j, k)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, 0, 3.0, -20], [0, 1.5, 0, -10], [0, 0, 0, 1]])
"""The first stored axis runs to the left, the second up, the third forward; in millimetres."""


class CubePredictor:
    """Stands in for a network: a cube of 3 voxels around the last positive point."""

    spec = MODELS["compact"]

    def __init__(self) -> None:
        self.prompts: list[Prompts] = []
        self.volumes: list[Volume] = []

    def predict(self, volume, prompts, previous=None, cancelled=lambda: False):
        self.prompts.append(prompts)
        self.volumes.append(volume)
        position = [p.position_voxel for p in prompts.points if p.positive][-1]
        window = tuple(
            slice(max(round(c) - 1, 0), min(round(c) + 2, n))
            for c, n in zip(position, volume.grid.shape, strict=True)
        )
        mask = np.ones([s.stop - s.start for s in window], bool)
        patch = Grid.from_spacing((3, 3, 3), (1, 1, 1))
        return engine.Prediction(mask, window, patch, mask.astype(np.float32), 0.9, 0.25)


@pytest.fixture
def predictor(monkeypatch):
    """The stand-in, and the settings it was loaded with."""
    cube = CubePredictor()
    cube.settings = []

    def load(settings, progress):
        cube.settings.append(settings)
        return cube

    monkeypatch.setattr(engine, "load_predictor", load)
    return cube


@pytest.fixture
def no_predictor(monkeypatch):
    """Fails the test when the slow part is reached."""

    def load(settings, progress):
        raise AssertionError("the model was loaded before the input was checked")

    monkeypatch.setattr(engine, "load_predictor", load)


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "ct.nii.gz")
    return "ct.nii.gz"


def stored(path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def fails(capsys, *words: str) -> str:
    """The one sentence that a wrong call says on stderr, and nothing else anywhere."""
    before = sorted(os.listdir())
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    assert sorted(os.listdir()) == before
    return err


# Points


@pytest.mark.parametrize(
    ("text", "object_id", "coordinates"),
    [
        ("10,20,30", 1, (10, 20, 30)),
        ("2:10,20,30", 2, (10, 20, 30)),
        ("-12.5,3,4e1", 1, (-12.5, 3, 40)),
        ("7: -1, 2 ,3", 7, (-1, 2, 3)),
    ],
)
def test_points_are_read(text, object_id, coordinates):
    assert parse_point(text) == TypedPoint(text, object_id, coordinates, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2",
        "1,2,3,4",
        "a,b,c",
        "1;2;3",
        "nan,1,2",
        "1,2,inf",
        "0:1,2,3",
        "x:1,2,3",
        "70000:1,2,3",
    ],
)
def test_what_is_no_point_is_refused(text):
    with pytest.raises(ValueError, match="not a point"):
        parse_point(text)


def test_points_are_collected_by_object():
    objects = parse_points(["3:1,1,1", "2,2,2", "3:4,4,4"], ["3:5,5,5"])
    assert list(objects) == [1, 3]
    assert [p.positive for p in objects[3]] == [True, True, False]


def test_an_object_needs_a_positive_point():
    with pytest.raises(ValueError, match="Object 2 has only negative points"):
        require_positive(parse_points(["1,1,1"], ["2:5,5,5"]))


@pytest.mark.parametrize(
    ("text", "object_id"), [("1,2,3,4,5,6", 1), ("2:1,2,3,4,5,6", 2), ("1, 2,3 ,4,5,6e0", 1)]
)
def test_boxes_are_read(text, object_id):
    assert parse_box(text) == TypedBox(text, object_id, (1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,4,5,nan", "0:1,2,3,4,5,6"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(ValueError, match="not a box: write two opposite corners"):
        parse_box(text)


def test_an_object_has_one_box():
    with pytest.raises(ValueError, match="Object 2 has two boxes"):
        parse_boxes(["2:1,2,3,4,5,6", "1,2,3,4,5,6", "2:1,2,3,4,5,7"])


def test_boxes_keep_their_corners_in_indices_and_in_millimetres(image):
    volume = read_nifti(image)
    box = place_box(parse_box("9,3,4,5,10,12"), volume, mm=False)
    (first, last) = box.array()
    corners = volume.source.to_stored(np.array([first, last]))
    np.testing.assert_allclose(np.sort(corners, axis=0), [[5, 3, 4], [9, 10, 12]])
    ends = [(AFFINE @ [*ijk, 1])[:3] for ijk in ([9, 3, 4], [5, 10, 12])]
    text = ",".join(f"{c}" for c in np.concatenate(ends))
    assert place_box(parse_box(text), volume, mm=True) == box


def test_a_tilted_box_becomes_the_one_about_it(tmp_path):
    turn = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    nib.save(nib.Nifti1Image(np.zeros((40, 40, 40), np.int16), affine), tmp_path / "tilted.nii")
    volume = read_nifti(tmp_path / "tilted.nii")
    first, last = (affine @ [20, 12, 5, 1])[:3], (affine @ [24, 30, 9, 1])[:3]
    text = ",".join(f"{c}" for c in (*first, *last))
    low, high = place_box(parse_box(text), volume, mm=True).array()
    stored = np.sort(volume.source.to_stored(np.array([low, high])), axis=0)
    assert (stored[0] <= [20.001, 12.001, 5.001]).all() and (
        stored[1] >= [23.99, 29.99, 8.99]
    ).all()
    with pytest.raises(ValueError, match=r"The box 0,0,0,99,1,1 leaves tilted\.nii"):
        place_box(parse_box("0,0,0,99,1,1"), volume, mm=False)


# segment


def test_stored_indices_become_a_mask_on_the_same_voxels(predictor, image):
    assert main(["segment", image, "--point", "5,10,12", "--negative", "1,2,3"]) == 0
    mask = nib.load("ct_seg.nii.gz")
    np.testing.assert_array_equal(mask.affine, AFFINE)
    expected = np.zeros(SHAPE)
    expected[4:7, 9:12, 11:14] = 1
    np.testing.assert_array_equal(stored("ct_seg.nii.gz"), expected)
    assert [point.positive for point in predictor.prompts[0].points] == [True, False]


@pytest.mark.parametrize("form", ["--point=-4,10,5", "--point -4,10,5"])
def test_millimetres_with_a_leading_minus(predictor, image, form):
    # the voxel of RAS (-4, 10, 5): i = 17, k = 10, j = 10
    assert main(["segment", image, "--mm", *form.split()]) == 0
    assert stored("ct_seg.nii.gz")[17, 10, 10] == 1
    assert np.count_nonzero(stored("ct_seg.nii.gz")) == 27


def test_objects_are_labels_and_the_first_keeps_its_voxels(predictor, image, capsys):
    words = ["--point", "3:11,10,10", "--point", "10,10,10", "-o", "out.nii", "--json"]
    assert main(["segment", image, *words]) == 0
    report = json.loads(capsys.readouterr().out)
    first, third = report["objects"]
    assert report["output"] == "out.nii" and report["model"] == "compact"
    assert (first["id"], first["voxels"], third["id"], third["voxels"]) == (1, 27, 3, 9)
    assert first["volume_ml"] == pytest.approx(27 * 2 * 3 * 1.5 / 1000)
    assert first["centroid"] == [10, 10, 10] and third["centroid"] == [12, 10, 10]
    assert first["score"] == 0.9 and first["seconds"] == 0.25
    labels = stored("out.nii")
    assert labels.dtype == np.uint8 and labels[11, 10, 10] == 1 and labels[12, 10, 10] == 3


def test_large_ids_are_kept(predictor, image):
    assert main(["segment", image, "--point", "300:10,10,10"]) == 0
    assert stored("ct_seg.nii.gz").max() == 300


def test_settings_reach_the_model(predictor, image):
    assert (
        main(["segment", image, "--point", "1,1,1", "--device", "cpu", "--threshold", "0.3"]) == 0
    )
    assert (predictor.settings[0].device, predictor.settings[0].threshold) == ("cpu", 0.3)
    finishing = ["--keep-clicked", "--fill-holes", "--smooth-mm", "1.5", "--overwrite"]
    assert main(["segment", image, "--point", "1,1,1", *finishing]) == 0
    it = predictor.settings[1]
    assert (it.keep_clicked, it.fill_holes, it.smooth_mm) == (True, True, 1.5)


def test_an_existing_mask_is_only_replaced_on_request(predictor, image, capsys):
    assert main(["segment", image, "--point", "5,5,5"]) == 0
    capsys.readouterr()
    old = stored("ct_seg.nii.gz")
    assert "--overwrite" in fails(capsys, "segment", image, "--point", "9,9,9")
    np.testing.assert_array_equal(stored("ct_seg.nii.gz"), old)
    assert main(["segment", image, "--point", "9,9,9", "--overwrite"]) == 0
    assert stored("ct_seg.nii.gz")[9, 9, 9] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say where the object is"),
        (["--point", "1,2"], "'1,2' is not a point"),
        (["--point", "20,0,0"], "voxel indices run from 0,0,0 to 19,23,15"),
        (["--point", "-1,0,0"], "The point -1,0,0 is outside ct.nii.gz"),
        (["--mm", "--point", "999,0,0"], "RAS coordinates in mm run from -8,-20,-10 to 30,25,24.5"),
        (["--negative", "1,1,1"], "only negative points"),
        (["--point", "1,1,1", "--model", "huge"], "no model called 'huge'"),
        (["--point", "1,1,1", "-o", "mask.png"], "must end in .nii or .nii.gz"),
        (["--point", "1,1,1", "-o", "none/mask.nii"], "There is no folder none"),
        (["--point", "1,1,1", "-o", "ct.nii.gz"], "must not replace the image"),
        (["--point", "1,1,1", "-o", "ct.nii.gz", "--overwrite"], "must not replace the image"),
    ],
)
def test_wrong_input_is_one_sentence_before_any_model_is_loaded(
    no_predictor, image, capsys, words, sentence
):
    assert sentence in fails(capsys, "segment", image, *words)


@pytest.mark.parametrize(
    ("model", "words", "sentence"),
    [
        ("sam_med3d_turbo", "--box 1,1,1,5,5,5", "takes points inside and outside the object; it"),
        ("sam3d_adapter_kits", "--point 1,1,1 --negative 2,2,2", "cannot use points outside of it"),
        ("sam3d_adapter_kits", "", "Say where the object is with --point"),
        ("sam3d_adapter_auto_kits", "--point 1,1,1", "takes no prompt at all; it cannot use po"),
        ("sam3d_adapter_auto_kits", "--box 1,1,1,5,5,5", "no prompt at all; it cannot use a box"),
        ("ma_sam_btcv", "--point 1,1,1", "takes a box or no prompt at all; it cannot use points"),
        ("ma_sam_btcv", "--prompts p.json", "it cannot use points"),
        ("ma_sam_btcv", "--save-prompts q.json", "There are no prompts to save"),
        ("medsam", "--point 1,1,1", "medsam takes a box; it cannot use points"),
        ("medsam", "", "Say where the object is with --box"),
        ("sam_vit_b", "--box 1,1,1,5,5,50", "The box 1,1,1,5,5,50 leaves ct.nii.gz, whose voxel"),
        ("sam_vit_b", "--box 1,1,1,5,5", "not a box"),
        ("sam_vit_b", "--box 1,1,1,5,5,5 --negative 2:1,1,1", "Object 2 has only negative points"),
    ],
)
def test_what_a_model_does_not_take_is_said_before_it_is_loaded(
    no_predictor, image, tmp_path, capsys, model, words, sentence
):
    prompts_file(tmp_path / "p.json", (1, "", "positive", [0, 0, 0]))
    assert sentence in fails(capsys, "segment", image, "--model", model, *words.split())


def test_boxes_and_points_reach_the_model(predictor, image):
    words = "--point 2:5,10,12 --box 2:4,9,11,6,11,13 --point 3:1,1,1 --negative 3:9,9,9"
    assert main(["segment", image, "--model", "sam_vit_b", *words.split()]) == 0
    second, third = predictor.prompts
    assert isinstance(second.box, Box) and third.box is None
    low, high = second.box.array()
    assert (second.points[0].position_voxel > low).all()
    assert (second.points[0].position_voxel < high).all()


def test_a_demo_of_a_model_that_takes_no_points_says_so(no_predictor, image, capsys):
    said = fails(capsys, "demo", "phantom", "--model", "ma_sam_btcv")
    assert "it cannot use points" in said


def test_files_that_are_no_nifti_are_refused(no_predictor, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.nii").write_text("not an image" * 100)
    assert "text.nii" in fails(capsys, "segment", "text.nii", "--point", "1,1,1")
    assert "gone.nii" in fails(capsys, "segment", "gone.nii", "--point", "1,1,1")


def test_a_folder_that_takes_no_file_is_refused(no_predictor, image, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system", "tmp")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert "Read-only file system" in fails(capsys, "segment", image, "--point", "1,1,1")


def test_a_disk_error_is_one_sentence(predictor, image, capsys, monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device", "ct_seg.nii.gz")

    monkeypatch.setattr("napari_sam3d.io.write_labels", no_space)
    assert "No space left on device: ct_seg.nii.gz" in fails(
        capsys, "segment", image, "--point", "1,1,1"
    )


def test_ctrl_c_ends_with_130(monkeypatch, image, capsys):
    def interrupted(settings, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "load_predictor", interrupted)
    assert main(["segment", image, "--point", "1,1,1"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert os.listdir() == ["ct.nii.gz"]


def test_settings_out_of_range_exit_with_2(image, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["segment", image, "--point", "1,1,1", "--threshold", "3"])
    assert ended.value.code == 2
    assert "0.01 to 0.99" in capsys.readouterr().err


def prompts_file(path, *rows, **image) -> str:
    """A file of prompts, from (id, name, label, RAS mm) of single points."""
    objects = [
        {"id": n, "name": name, "points": [{"label": label, "ras_mm": ras}]}
        for n, name, label, ras in rows
    ]
    value = {"format": "napari-sam3d prompts", "version": 1, "image": image, "objects": objects}
    path.write_text(json.dumps(value))
    return str(path)


def test_saved_prompts_give_the_same_mask(predictor, image, tmp_path):
    words = ["--point", "2:5,10,12", "--negative", "2:1,2,3", "--point", "7:11,10,10"]
    assert main(["segment", image, *words, "--save-prompts", "p.json"]) == 0
    first = predictor.prompts.copy()
    value = json.loads((tmp_path / "p.json").read_text())
    assert value["image"]["name"] == image and value["image"]["shape"] == list(SHAPE)
    assert value["objects"][0]["points"][0]["ijk"] == [5, 10, 12]
    np.testing.assert_allclose(
        value["objects"][0]["points"][0]["ras_mm"], (AFFINE @ [5, 10, 12, 1])[:3]
    )
    assert main(["segment", image, "--prompts", "p.json", "-o", "again.nii.gz"]) == 0
    assert predictor.prompts[len(first) :] == first
    np.testing.assert_array_equal(stored("again.nii.gz"), stored("ct_seg.nii.gz"))
    assert not os.path.exists("again.labels.json")  # there is no name to tell


def test_saved_boxes_and_scribbles_reach_the_model(predictor, image, tmp_path):
    words = ["segment", image, "--model", "sam_vit_b"]
    typed = ["--box", "4,9,11,6,11,13", "--point", "5,10,12", "--point", "2:5,10,12"]
    assert main([*words, *typed, "--save-prompts", "p.json"]) == 0
    value = json.loads((tmp_path / "p.json").read_text())
    assert value["version"] == 2 and "box" in value["objects"][0]
    stroke = {"label": "positive", "ijk": [[1, 1, 1], [2, 2, 2]], "ras_mm": None}
    value["objects"][1]["scribbles"] = [stroke]
    (tmp_path / "p.json").write_text(json.dumps(value))
    more = ["--box", "2:4,9,11,6,11,13", "--prompts", "p.json", "-o", "again.nii.gz"]
    assert main([*words, *more]) == 0
    one, _, again, both = predictor.prompts
    assert again == one and one.box is not None
    assert both.box is not None and both.points and len(both.scribbles[0].positions_voxel) == 2


def test_prompts_of_another_scan_and_typed_ones_come_together(predictor, image, tmp_path, capsys):
    near, far = (AFFINE @ [5, 10, 12, 1])[:3].tolist(), (AFFINE @ [11, 10, 10, 1])[:3].tolist()
    rows = [(1, "Leber", "negative", near), (4, "Milz", "positive", far)]
    path = prompts_file(tmp_path / "p.json", *rows)
    assert "Object 1 has only negative points" in fails(capsys, "segment", image, "--prompts", path)
    assert main(["segment", image, "--prompts", path, "--point", "15,3,3", "--json"]) == 0
    first, fourth = json.loads(capsys.readouterr().out)["objects"]
    assert (first["id"], first["name"], fourth["id"], fourth["name"]) == (1, "Leber", 4, "Milz")
    assert [p.positive for p in predictor.prompts[0].points] == [False, True]
    assert stored("ct_seg.nii.gz")[15, 3, 3] == 1 and stored("ct_seg.nii.gz")[11, 10, 10] == 4
    names = {it.id: it for it in read_label_names("ct_seg.nii.gz")}
    assert names[4].name == "Milz" and names[4].volume_ml == fourth["volume_ml"]
    # the next mask has no names; it must not go by those of this one
    assert main(["segment", image, "--point", "4:5,5,5", "--overwrite"]) == 0
    assert [(it.id, it.name) for it in read_label_names("ct_seg.nii.gz")] == [(4, "")]


def test_a_time_point_is_segmented(predictor, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = np.arange(3, dtype=np.int16) * np.ones((*SHAPE, 1), np.int16)
    nib.save(nib.Nifti1Image(data, AFFINE), "film.nii.gz")
    words = ["segment", "film.nii.gz", "--point", "5,10,12"]
    assert "film.nii.gz" in fails(capsys, *words)
    assert "film.nii.gz" in fails(capsys, *words, "--frame", "3")
    assert main([*words, "--frame", "2"]) == 0
    assert (predictor.volumes[-1].data == 2).all()
    assert stored("film_seg.nii.gz").shape == SHAPE
    np.testing.assert_array_equal(nib.load("film_seg.nii.gz").affine, AFFINE)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prompts", "gone.json"], "gone.json cannot be read"),
        (["--prompts", "ct.nii.gz"], "ct.nii.gz is not a text file"),
        (["--prompts", "far.json"], "which is outside ct.nii.gz"),
        (["--point", "1,1,1", "--save-prompts", "p.txt"], "must end in .json"),
        (["--point", "1,1,1", "--save-prompts", "none/p.json"], "There is no folder none"),
        (["--point", "1,1,1", "--save-prompts", "far.json"], "far.json exists; --overwrite"),
        (["--point", "1,1,1", "--frame", "1"], "ct.nii.gz"),
    ],
)
def test_wrong_files_of_prompts_are_one_sentence(
    no_predictor, image, tmp_path, capsys, words, sentence
):
    prompts_file(tmp_path / "far.json", (1, "", "positive", [999, 0, 0]))
    assert sentence in fails(capsys, "segment", image, *words)


# models


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    assert "compact" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    assert "compact" in [row["name"] for row in json.loads(capsys.readouterr().out)]


# demo


def test_demo_of_an_own_image_writes_a_mask_and_a_picture(predictor, image, capsys):
    words = ["demo", image, "--point", "5,10,12", "--no-view"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["ct_demo.nii.gz", "ct_demo.png"]
    assert stored("ct_demo.nii.gz")[5, 10, 12] == 1
    with open("ct_demo.png", "rb") as picture:
        assert picture.read(8) == b"\x89PNG\r\n\x1a\n"
    assert main(words) == 0  # a second run takes a free name
    assert "ct_demo-2.nii.gz" in os.listdir()


def test_demo_without_a_display_says_so(predictor, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["demo"]) == 0
    assert "There is no display" in capsys.readouterr().out
    assert sorted(os.listdir()) == ["phantom_demo.nii.gz", "phantom_demo.png"]


def test_demo_with_a_display_opens_napari(predictor, image, monkeypatch):
    shown = []
    monkeypatch.setattr(napari_sam3d.cli.demo, "no_screen", lambda: None)
    monkeypatch.setattr(napari_sam3d.cli.demo, "show", lambda *args: shown.append(args))
    assert main(["demo", image, "--point", "5,10,12"]) == 0
    ((volume, prompts, sample, settings),) = shown
    assert volume.name == image and list(prompts) == [1] and sample is None
    assert settings == InferenceSettings()
    assert os.listdir() == [image]


def test_demo_of_nothing_known_names_the_samples(no_predictor, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "phantom" in fails(capsys, "demo", "unheard-of")
    assert "own point" in fails(capsys, "demo", "phantom", "--point", "1,1,1")
    assert "There is no folder" in fails(capsys, "demo", "-o", "none")
