"""Layers to files: on the voxels of their source, with names, and over nothing that is in use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_sam3d._tests.nifti_files import AFFINE, anatomy, forms, nifti, put, stored_as, turn
from napari_sam3d._tests.plugin.conftest import sentences
from napari_sam3d.io import open_nifti, read_nifti
from napari_sam3d.io.label_names import LabelName, read_label_names
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.files.combine import combine
from napari_sam3d.plugin.files.writer import (
    NotSaved,
    write_combined,
    write_label_text,
    write_multi,
    write_single,
)
from napari_sam3d.plugin.layers.convert import layer_data, volume_from_layer
from napari_sam3d.plugin.session.objects import OBJECTS, Object

OBLIQUE = AFFINE.copy()
OBLIQUE[:2, :2] = [[1.9, 0.45], [-0.6, 1.4]]


def open_layer(path: str | Path, **options) -> Layer:
    return Layer.create(*layer_data(open_nifti(path), **options))


@pytest.fixture
def image(tmp_path) -> Image:
    return open_layer(put(tmp_path / "scan.nii.gz", nifti(sform=OBLIQUE)))


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """What was asked; every answer is the last option, and "yes"."""
    texts: list[str] = []

    def choose(text, options, parent=None):
        texts.append(text)
        return len(options) - 1

    def allow(text, action, parent=None):
        texts.append(text)
        return True

    monkeypatch.setattr(questions, "choose", choose)
    monkeypatch.setattr(questions, "allow", allow)
    return texts


def save(path, layer) -> list[str]:
    data, meta, _ = layer.as_layer_data_tuple()
    return write_single(str(path), data, meta)


def on(layer: Layer, data=None, **options) -> Labels:
    """Labels in the place of another layer, as napari's button makes them."""
    data = np.zeros(layer.data.shape[-3:], np.uint8) if data is None else data
    options = {"scale": layer.scale[-3:], "translate": layer.translate[-3:], **options}
    return Labels(data, units=("mm",) * 3, **options)


def test_labels_with_the_metadata_of_the_image_get_its_header(image, tmp_path):
    labels = on(image, (image.data > 50).astype(np.uint8), metadata=dict(image.metadata))
    (path,) = save(tmp_path / "mask", labels)
    assert path.endswith("mask.nii.gz")
    again = read_nifti(path)
    assert again.grid == volume_from_layer(image).grid
    np.testing.assert_array_equal(again.data, labels.data)


def test_labels_without_a_source_are_written_by_scale_and_translate(tmp_path):
    labels = Labels(np.arange(24).reshape(2, 3, 4), scale=(3, 2, 1), translate=(5, -6, 7))
    again = open_layer(save(tmp_path / "a.nii", labels)[0])
    assert isinstance(again, Labels)
    np.testing.assert_array_equal(again.data, labels.data)
    np.testing.assert_allclose(again.scale, labels.scale)
    np.testing.assert_allclose(again.translate, labels.translate)


def test_images_are_written_with_their_values(image, tmp_path):
    again = open_layer(save(tmp_path / "copy.nii", image)[0])
    assert again.data.dtype == image.data.dtype
    np.testing.assert_array_equal(again.data, image.data)
    assert volume_from_layer(again).grid == volume_from_layer(image).grid
    assert not (tmp_path / "copy.labels.json").exists()


def test_films_and_colours_are_written(tmp_path):
    place = {"scale": (3, 2, 1), "translate": (5, -6, 7)}
    colours = Image(np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3), rgb=True, **place)
    again = open_layer(save(tmp_path / "colours", colours)[0])
    assert again.rgb
    np.testing.assert_array_equal(again.data, colours.data)
    np.testing.assert_allclose(again.translate, place["translate"])
    place = {key: (1, *value) for key, value in place.items()}
    for name, kind in (("film", Image), ("film_seg", Labels)):
        layer = kind(np.arange(120).reshape(5, 2, 3, 4).astype(np.int16), **place)
        again = open_layer(save(tmp_path / name, layer)[0])
        assert isinstance(again, kind)
        np.testing.assert_array_equal(again.data, layer.data)
        np.testing.assert_allclose(again.scale[1:], (3, 2, 1))
        np.testing.assert_allclose(again.translate[1:], (5, -6, 7))
    assert read_label_names(tmp_path / "film_seg.nii.gz")[0].volume_ml is None


def test_a_film_and_labels_on_it_keep_the_header_of_its_file(tmp_path):
    data = np.arange(5 * 6 * 7 * 4, dtype="i2").reshape(5, 6, 7, 4)
    film = open_layer(put(tmp_path / "film.nii", nifti(data, sform=OBLIQUE)))
    grid = open_nifti(tmp_path / "film.nii").source.grid
    for layer in (
        film,
        Labels(film.data.astype(np.int32) % 5, scale=film.scale, metadata=film.metadata),
        on(film, film.data[0] % 5, metadata=film.metadata),
    ):
        layer.translate = film.translate[-layer.ndim :]
        again = open_nifti(save(tmp_path / "out.nii.gz", layer)[0])
        assert again.source.grid == grid
        np.testing.assert_array_equal(again.data, layer.data)


def test_the_finest_level_is_written(tmp_path):
    levels = [np.arange(64).reshape(4, 4, 4).astype(np.int16), np.zeros((2, 2, 2), np.int16)]
    again = open_layer(save(tmp_path / "a", Image(levels, multiscale=True))[0])
    np.testing.assert_array_equal(again.data, levels[0])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Image(np.zeros((4, 4)), name="flat"), "flat has 2 dimensions"),
        (Labels(np.zeros((4, 4, 4), int), rotate=(0, 0, 20), name="turned"), "turned is rotated"),
        (Image(np.zeros((2, 4, 4, 4)), shear=[0] * 5 + [0.1], name="leans"), "leans is rotated"),
        (Image(np.zeros((4, 4, 4, 3)), rgb=True, name="float"), "8 bits"),
    ],
)
def test_what_nifti_cannot_say_is_one_sentence(tmp_path, layer, words):
    # an OSError: npe2 swallows ValueErrors, and napari then says that nothing was found to write
    with pytest.raises(OSError, match=words):
        save(tmp_path / "a", layer)
    assert not list(tmp_path.iterdir())


# names


def test_names_colours_and_volumes_are_written_beside_the_mask(tmp_path):
    data = np.zeros((4, 5, 6), np.uint16)
    data[0, 0, :3], data[1] = 2, 300
    labels = Labels(
        data,
        scale=(2, 1, 0.5),
        features={"index": [0, 2, 7], "name": ["background", "liver", "spleen"]},
        colormap={2: "red", 300: "#00ff0080", None: "transparent"},
    )
    (path,) = save(tmp_path / "mask", labels)
    liver, spleen, other = read_label_names(path)
    assert liver == LabelName(2, "liver", (1, 0, 0, 1), 0.003)
    assert (spleen.id, spleen.name, spleen.volume_ml) == (7, "spleen", 0)
    assert other == LabelName(300, "", (0, 1, 0, 128 / 255), 0.03)
    # and the layer that is read again has them
    again = Layer.create(*layer_data(open_nifti(path), names=read_label_names(path)))
    assert save(tmp_path / "again", again)
    assert read_label_names(tmp_path / "again.nii.gz")[0] == liver


def test_names_without_an_index_are_those_of_the_rows(tmp_path):
    data = np.arange(3)[:, None, None] * np.ones((3, 2, 2), int)
    save(tmp_path / "a", Labels(data, features={"name": ["nothing", "one", "two"]}))
    assert [it.name for it in read_label_names(tmp_path / "a.nii.gz")] == ["one", "two"]


def test_segmented_objects_have_names(tmp_path):
    data = np.zeros((3, 3, 3), np.uint8)
    data[0, 0, :] = 1, 2, 3
    objects = {1: Object(), 2: Object(name="Tumour")}
    save(tmp_path / "a", Labels(data, metadata={OBJECTS: objects}))
    names = [it.name for it in read_label_names(tmp_path / "a.nii.gz")]
    assert names == ["Object 1", "Tumour", ""]


def test_a_foreign_file_in_place_of_the_names_stays(tmp_path):
    foreign = tmp_path / "a.labels.json"
    foreign.write_text('{"mine": 1}')
    labels = Labels(np.ones((3, 3, 3), int))
    before = len(sentences())
    assert save(tmp_path / "a", labels) == [str(tmp_path / "a.nii.gz")]
    assert foreign.read_text() == '{"mine": 1}'
    (said,) = sentences()[before:]
    assert "a.nii.gz is saved, the names of its labels are not" in said


def test_itksnap_gets_the_names(tmp_path):
    labels = Labels(
        np.array([[[0, 1, 70_000]]]), features={"index": [1], "name": ["liver"]}, name="x"
    )
    data, meta, _ = labels.as_layer_data_tuple()
    before = len(sentences())
    (path,) = write_label_text(str(tmp_path / "a"), data, meta)
    lines = Path(path).read_text().splitlines()
    assert path.endswith("a.txt") and lines[-1].endswith('"liver"') and len(lines) == 16
    assert sentences()[before:] == [
        "ITK-SNAP cannot hold the labels 70000; they are left out of its file."
    ]


@pytest.mark.parametrize("large", [2**31, -(2**40)])
def test_labels_that_some_programs_cannot_read_are_saved_with_a_warning(tmp_path, large):
    before = len(sentences())
    (path,) = save(tmp_path / "a", Labels(np.array([[[0, 1, large]]])))
    np.testing.assert_array_equal(read_nifti(path).data, [[[0, 1, large]]])
    assert "a.nii.gz has labels beyond 32 bits" in sentences()[before]


def test_a_nifti2_file_is_saved_with_a_warning(tmp_path):
    before = len(sentences())
    save(tmp_path / "a", Labels(np.ones((1, 1, 40_000), np.uint8)))
    assert "a.nii.gz is a NIfTI-2 file" in sentences()[before]


# several layers


def test_several_layers_go_into_several_files(image, tmp_path):
    masks = [
        on(image, np.full(image.data.shape, n), name="left / right", metadata=image.metadata)
        for n in (1, 2)
    ]
    points = (np.zeros((1, 3)), {"name": "clicks"}, "points")
    layers = [layer.as_layer_data_tuple() for layer in (image, *masks)]
    before = len(sentences())
    paths = write_multi(str(tmp_path / "all.nii"), [*layers, points])
    names = [Path(path).name for path in paths]
    assert names == ["all_scan.nii", "all_left_right.nii", "all_left_right-2.nii"]
    assert sentences()[before:] == [f"Saved {', '.join(names)}. Left out: clicks."]
    assert read_nifti(paths[2]).grid == read_nifti(paths[0]).grid
    assert (read_nifti(paths[2]).data == 2).all()
    (only,) = write_multi(str(tmp_path / "one.nii"), [layers[1], points])
    assert only.endswith("one.nii")
    with pytest.raises(NotSaved, match="no image or labels"):
        write_multi(str(tmp_path / "none.nii"), [points])


def test_names_that_nobody_typed_replace_nothing_unasked(image, tmp_path, asked, monkeypatch):
    layers = [on(image, name=name).as_layer_data_tuple() for name in ("a", "b")]
    old = tmp_path / "x_b.nii.gz"
    old.write_bytes(b"precious")
    with monkeypatch.context() as script:
        script.setattr(questions, "allow", lambda *args: None)  # nobody there
        with pytest.raises(NotSaved, match=r"x_b\.nii\.gz exists already"):
            write_multi(str(tmp_path / "x.nii.gz"), layers)
    assert old.read_bytes() == b"precious" and not (tmp_path / "x_a.nii.gz").exists()
    assert len(write_multi(str(tmp_path / "x.nii.gz"), layers)) == 2
    assert asked == ["x_b.nii.gz exists already."]


def test_an_extension_that_nobody_typed_replaces_nothing_unasked(tmp_path, monkeypatch):
    """napari's dialog asks about "mask", and "mask.nii.gz" is what is there."""
    data, meta, kind = Labels(np.ones((3, 3, 3), int), name="mask").as_layer_data_tuple()
    for write, end in (
        (lambda path: write_single(path, data, meta), ".nii.gz"),
        (lambda path: write_multi(path, [(data, meta, kind)]), ".nii.gz"),
        (lambda path: write_combined(path, [(data, meta, kind)]), ".nii.gz"),
        (lambda path: write_label_text(path, data, meta), ".txt"),
    ):
        old = tmp_path / f"mask{end}"
        old.write_bytes(b"precious")
        with monkeypatch.context() as script:
            script.setattr(questions, "allow", lambda *args: None)
            with pytest.raises(NotSaved, match=f"mask{end} exists already"):
                write(str(tmp_path / "mask"))
        assert old.read_bytes() == b"precious"
        assert write(str(old)) == [str(old)]  # this name was typed
        assert old.read_bytes() != b"precious"


def test_label_maps_are_combined_by_hand():
    lower = np.array([[[1, 1, 2, 0, 5]]])
    upper = np.array([[[0, 3, 1, 0, 1]]])
    made = combine([lower, upper])
    np.testing.assert_array_equal(made.labels, [[[1, 3, 6, 0, 6]]])
    assert made.ids == ({1: 1, 2: 2, 5: 5}, {1: 6, 3: 3}) and made.shared == 3
    assert made.labels.dtype == np.uint8
    same = combine([np.zeros((2, 2), int)] * 2)
    assert not same.labels.any() and same.shared == 0
    wide = combine([np.array([[-1, 0]]), np.array([[0, 70_000]])])
    np.testing.assert_array_equal(wide.labels, [[-1, 70_000]])
    with pytest.raises(ValueError, match="do not fit"):
        combine([np.array([[-1, 0]]), np.array([[0, 2**64 - 1]], np.uint64)])


def test_layers_become_one_label_map(image, tmp_path):
    first, second = np.zeros((2, *image.data.shape), np.uint8)
    first[0], second[0, 0], second[1] = 1, 1, 2
    layers = [
        image,
        on(image, first, name="organ", features={"index": [1], "name": ["liver"]}),
        on(image, second, name="tumour", metadata=image.metadata),
    ]
    before = len(sentences())
    data = [layer.as_layer_data_tuple() for layer in layers]
    (path,) = write_combined(str(tmp_path / "both"), data)
    expected = first.copy()
    expected[0, 0], expected[1] = 3, 2
    again = read_nifti(path)
    np.testing.assert_array_equal(again.data, expected)
    assert again.grid == volume_from_layer(image).grid
    names = [it.name for it in read_label_names(path)]
    assert names == ["organ: liver", "tumour: 2", "tumour: 1"]
    colors = [it.color for it in read_label_names(path)]
    np.testing.assert_allclose(colors[2], layers[2].get_color(1), atol=0.5 / 255)
    (said,) = sentences()[before:]
    assert said.startswith("Saved both.nii.gz. Left out: scan.")
    assert "Labels of tumour that were taken have new numbers: 1 is 3." in said
    assert f"{image.data.shape[2]} voxels are in several layers" in said


def test_layers_on_other_voxels_are_not_combined(image, tmp_path):
    layers = [on(image, name="a"), on(image, name="b", translate=(0, 0, 0))]
    with pytest.raises(NotSaved, match="b does not have the voxels of a"):
        write_combined(str(tmp_path / "x"), [layer.as_layer_data_tuple() for layer in layers])
    with pytest.raises(NotSaved, match="no labels layer"):
        write_combined(str(tmp_path / "x"), [image.as_layer_data_tuple()])


# files in use


def test_the_image_itself_is_not_replaced_unasked(image, tmp_path, asked, monkeypatch):
    path = tmp_path / "scan.nii.gz"
    before = path.read_bytes()
    labels = on(image, metadata=image.metadata)
    with monkeypatch.context() as script:
        script.setattr(questions, "allow", lambda *args: None)
        for layer in (labels, image):
            with pytest.raises(NotSaved, match=r"scan\.nii\.gz is the image that .* comes from"):
                save(path, layer)
    assert path.read_bytes() == before
    save(path, labels)
    assert "cannot be undone" in asked[0] and path.read_bytes() != before


def test_label_files_go_back_over_themselves(tmp_path):
    path = put(tmp_path / "case_seg.nii", nifti(dtype="f4"))
    layer = open_layer(path)
    layer.data[0, 0, 0] = 77
    assert save(path, layer) == [str(path)]
    assert open_layer(path).data[0, 0, 0] == 77


# in a viewer


@pytest.fixture
def viewer(real_viewer, npe2pm, manifest):
    npe2pm.register(manifest)
    return real_viewer(show=True)


def opened(viewer, path, **fields):
    """Layer of a new file, which has voxel sizes of 2, 1.5 and 3 mm."""
    return viewer.add_layer(open_layer(put(path, nifti(**fields)), as_labels=False))


def test_labels_of_the_new_button_are_saved_on_the_exact_grid(viewer, tmp_path):
    stored, affine = stored_as(*anatomy(True), (2, 0, 1), (1, -1, 1))
    image = viewer.add_layer(
        open_layer(put(tmp_path / "ct.nii.gz", nifti(stored, **forms(affine, "both"))))
    )
    viewer.add_points(np.zeros((1, 3)))
    viewer.layers.selection = {image}
    buttons = getattr(viewer, "__wrapped__", viewer).window._qt_viewer.layerButtons
    QTest.mouseClick(buttons.newLabelsButton, Qt.MouseButton.LeftButton)
    (labels,) = [layer for layer in viewer.layers if isinstance(layer, Labels)]
    labels.data[1, 2, 3] = 9
    viewer.layers.selection = {labels}
    (path,) = viewer.layers.save(str(tmp_path / "mask"), selected=True)
    again = read_nifti(path)
    assert again.grid == read_nifti(tmp_path / "ct.nii.gz").grid
    assert np.argwhere(again.data).tolist() == [[1, 2, 3]]
    kept = read_nifti(tmp_path / "ct.nii.gz").source.raw_header
    assert again.source.raw_header[252:328] == kept[252:328]
    assert json.loads((tmp_path / "mask.labels.json").read_text())["labels"][0]["id"] == 9


def test_of_several_images_the_user_says_which(viewer, tmp_path, asked, monkeypatch):
    straight = opened(viewer, tmp_path / "straight.nii.gz")
    opened(viewer, tmp_path / "copy.nii.gz")
    middle = np.eye(4)
    middle[:3, 3] = (AFFINE @ [2, 2.5, 3, 1])[:3]
    turned = middle @ turn((0, 0, 10)) @ np.linalg.inv(middle) @ AFFINE
    opened(viewer, tmp_path / "turned.nii.gz", sform=turned)
    labels = viewer.add_layer(on(straight, np.ones((7, 6, 5), int), name="mask"))
    viewer.layers.selection = {labels}
    with monkeypatch.context() as script:
        script.setattr(questions, "choose", lambda *args: None)
        with pytest.raises(OSError, match="mask could have been drawn on straight, turned"):
            viewer.layers.save(str(tmp_path / "mask.nii"), selected=True)
    (path,) = viewer.layers.save(str(tmp_path / "mask.nii"), selected=True)
    assert read_nifti(path).grid == read_nifti(tmp_path / "turned.nii.gz").grid
    assert len(asked) == 1 and "Several images" in asked[0]
    viewer.layers.remove("turned")  # the two others say the same
    (path,) = viewer.layers.save(str(tmp_path / "mask.nii"), selected=True)
    assert read_nifti(path).grid == read_nifti(tmp_path / "copy.nii.gz").grid
    assert len(asked) == 1


def test_the_file_of_another_layer_is_not_replaced_unasked(viewer, tmp_path, monkeypatch):
    image = opened(viewer, tmp_path / "scan.nii")
    before = (tmp_path / "scan.nii").read_bytes()
    (tmp_path / "link.nii").symlink_to(tmp_path / "scan.nii")
    labels = viewer.add_layer(Labels(np.ones((3, 3, 3), int), name="mask"))
    viewer.layers.selection = {labels}
    for name in ("scan.nii", "link.nii"):
        with pytest.raises(OSError, match=rf"{name} is the file of the open layer {image.name}"):
            viewer.layers.save(str(tmp_path / name), selected=True)
    assert (tmp_path / "scan.nii").read_bytes() == before
    assert np.asarray(image.data).any()


def test_all_layers_and_the_choice_of_the_dialog(viewer, tmp_path):
    """Without a choice each layer gets its file; the combined map is there to be chosen."""
    image = opened(viewer, tmp_path / "scan.nii.gz")
    for name in ("a", "b"):
        viewer.add_layer(on(image, np.ones((7, 6, 5), int), name=name))
    paths = viewer.layers.save(str(tmp_path / "all.nii.gz"))
    assert [Path(p).name for p in paths] == ["all_scan.nii.gz", "all_a.nii.gz", "all_b.nii.gz"]
    (only,) = viewer.layers.save(str(tmp_path / "one.nii.gz"), plugin="napari-sam3d")[-1:]
    assert Path(only).name == "one_b.nii.gz"
    viewer.layers.selection = {viewer.layers["a"]}
    (path,) = viewer.layers.save(str(tmp_path / "bare"), selected=True)
    assert Path(path).name == "bare.nii.gz"
