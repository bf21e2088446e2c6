"""Layers as volumes, and the layers that files of every kind become."""

from __future__ import annotations

import json

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer

from napari_sam3d._tests.nifti_files import AFFINE, SHAPE, nifti, numbers, put
from napari_sam3d.io import read_nifti
from napari_sam3d.plugin.files import sample_data
from napari_sam3d.plugin.files.reader import read
from napari_sam3d.plugin.layers.convert import METADATA, layer_grid, volume_from_layer

OBLIQUE = AFFINE.copy()
OBLIQUE[:2, :2] = [[1.9, 0.45], [-0.6, 1.4]]


def open_layer(path) -> Layer:
    (data,) = read(str(path))
    return Layer.create(*data)


@pytest.fixture
def image(tmp_path) -> Image:
    return open_layer(put(tmp_path / "scan.nii.gz", nifti(sform=OBLIQUE)))


def test_layer_to_volume_has_the_true_grid(image, tmp_path):
    volume = volume_from_layer(image)
    assert volume.grid == read_nifti(tmp_path / "scan.nii.gz").grid
    assert volume.source is not None
    assert volume.data is image.data


def test_moved_layers_lose_their_source(image):
    image.translate = np.add(image.translate, 5)
    volume = volume_from_layer(image)
    assert volume.source is None
    assert volume.grid.tilt_deg == 0
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 0]), image.translate)


def test_large_images_bring_their_contrast_along(tmp_path, monkeypatch):
    stored = numbers(dtype="f4")
    stored[0, 0, 0] = np.nan
    path = put(tmp_path / "a.nii", nifti(stored))
    assert "contrast_limits" not in read(str(path))[0][1]
    monkeypatch.setattr("napari_sam3d.plugin.layers.convert._LARGE", 10)
    assert read(str(path))[0][1]["contrast_limits"] == (1, numbers().max())
    even = put(tmp_path / "b.nii", nifti(numbers() * 0 + 7))
    assert "contrast_limits" not in read(str(even))[0][1]  # napari refuses equal limits
    Layer.create(*read(str(path))[0])


@pytest.mark.parametrize(
    ("unit", "factor"), [("pixel", 1), ("mm", 1), ("um", 1e-3), ("nm", 1e-6), ("cm", 10)]
)
def test_any_layer_is_a_volume_in_millimetres(unit, factor):
    layer = Image(np.zeros((2, 3, 4)), scale=(3, 2, 1), translate=(1, 2, 3), units=(unit,) * 3)
    grid = volume_from_layer(layer).grid
    np.testing.assert_allclose(grid.spacing, np.array([3, 2, 1]) * factor)
    np.testing.assert_allclose(grid.to_world([0, 0, 0]), np.array([1, 2, 3]) * factor)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Image(np.zeros((4, 4)), name="flat"), "flat has 2 dimensions"),
        (Image(np.zeros((2, 2, 4, 4)), name="film"), "film has 4 dimensions"),
        (Image(np.zeros((4, 4, 4, 3)), rgb=True, name="photo"), "photo is a colour image"),
        (Image(np.zeros((4, 4, 4)), rotate=(0, 0, 20), name="turned"), "turned is rotated"),
        (Image(np.zeros((4, 4, 4)), shear=(0.1, 0, 0), name="leaning"), "leaning is rotated"),
    ],
)
def test_layers_that_are_no_volume_are_refused(layer, words):
    with pytest.raises(ValueError, match=words):
        volume_from_layer(layer)


def test_a_layer_of_any_number_of_axes_has_a_grid_in_space():
    moved = {"scale": (9, 3, 2, 1), "translate": (5, 1, 2, 3), "units": ("s", "um", "um", "um")}
    grid = layer_grid(Image(np.zeros((2, 3, 4, 5)), **moved))
    assert grid.shape == (3, 4, 5)
    np.testing.assert_allclose(grid.spacing, [3e-3, 2e-3, 1e-3])
    np.testing.assert_allclose(grid.to_world([0, 0, 0]), [1e-3, 2e-3, 3e-3])
    with pytest.raises(ValueError, match="2 dimensions"):
        layer_grid(Image(np.zeros((4, 5))))
    with pytest.raises(ValueError, match="rotated"):
        layer_grid(Image(np.zeros((2, 4, 4, 4)), shear=(0, 0, 0, 0.1, 0, 0)))


def test_image_layer(image):
    assert isinstance(image, Image)
    assert image.name == "scan"
    assert image.data.shape == SHAPE[::-1]
    assert [str(u) for u in image.units] == ["millimeter"] * 3
    assert image.axis_labels == ("I", "P", "L")
    assert image.metadata[METADATA]["tilt_deg"] > 10
    np.testing.assert_array_equal(image.affine.affine_matrix, np.eye(4))


def test_time_series(tmp_path):
    data = numbers((*SHAPE, 4))
    path = put(tmp_path / "film.nii.gz", nifti(data, pixdim=(1, 2, 1.5, 3, 2.5)))
    layer = open_layer(path)
    assert layer.data.shape == (4, *SHAPE[::-1])
    np.testing.assert_allclose(layer.scale, (2.5, 3, 1.5, 2))
    assert layer.translate[0] == 0
    assert [str(u) for u in layer.units] == ["second", *["millimeter"] * 3]
    assert layer.axis_labels == ("T", "I", "P", "L")
    i, j, k = read_nifti(path, 2).source.to_stored(np.array([1, 2, 3]))
    assert layer.data[2, 1, 2, 3] == data[i, j, k, 2]


def test_components_of_a_time_series(tmp_path):
    layer = open_layer(put(tmp_path / "a.nii", nifti(numbers((*SHAPE, 4, 2)))))
    assert layer.data.shape == (2, 4, *SHAPE[::-1])
    assert layer.axis_labels == ("C", "T", "I", "P", "L")
    assert [str(u) for u in layer.units] == ["pixel", "second", *["millimeter"] * 3]


def test_colours(tmp_path):
    data = numbers((3, *SHAPE), "u1")
    layer = open_layer(put(tmp_path / "a.nii", nifti(data, dim=(3, *SHAPE), code=128, bits=24)))
    assert layer.rgb and layer.ndim == 3
    assert layer.data.shape == (*SHAPE[::-1], 3)


def test_label_files_become_labels_that_can_be_painted(tmp_path):
    layer = open_layer(put(tmp_path / "case_seg.nii", nifti(dtype="f4")))
    assert isinstance(layer, Labels)
    assert layer.data.dtype == np.uint8
    layer.data[0, 0, 0] = 77


@pytest.mark.parametrize(
    ("dtype", "largest", "kept"),
    [("i2", 3, "i2"), ("i4", 3, "u1"), ("i8", 300, "u2"), ("i8", 2**53 + 1, "i8"), ("f4", 9, "u1")],
)
def test_labels_get_a_type_that_napari_draws_fast(tmp_path, dtype, largest, kept):
    data = np.zeros(SHAPE, dtype)
    data[1, 2, 3] = largest
    layer = open_layer(put(tmp_path / "a.nii", nifti(data, intent=1002)))
    assert layer.data.dtype == np.dtype(kept)
    assert layer.data.max() == largest


def put_labels(folder, rows):
    path = put(folder / "a.nii.gz", nifti(numbers(dtype="u1"), intent=1002))
    (folder / "a.labels.json").write_text(
        json.dumps({"format": "napari-sam3d labels", "version": 1, "labels": rows})
    )
    return path


def test_labels_have_their_names_and_colours(tmp_path):
    rows = [{"id": 5, "name": "liver", "color": "#ff0000ff"}, {"id": 300, "name": "spleen"}]
    layer = open_layer(put_labels(tmp_path, rows))
    assert dict(zip(layer.features["index"], layer.features["name"], strict=True)) == {
        0: "background",
        5: "liver",
        300: "spleen",
    }
    np.testing.assert_allclose(layer.get_color(5), (1, 0, 0, 1))
    usual = Labels(np.zeros((2, 2), np.uint8))
    for other in (1, 6, 200, 300):
        np.testing.assert_allclose(layer.get_color(other), usual.get_color(other))
    assert layer.get_color(1000)[3] == 1


def test_names_alone_leave_the_colours_to_napari(tmp_path):
    layer = open_layer(put_labels(tmp_path, [{"id": 5, "name": "liver"}]))
    usual = Labels(np.zeros((2, 2), np.uint8))
    assert type(layer.colormap) is type(usual.colormap)
    np.testing.assert_allclose(layer.get_color(5), usual.get_color(5))


def test_damaged_names_are_a_warning(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("napari_sam3d.plugin.files.reader.show_warning", shown.append)
    layer = open_layer(put_labels(tmp_path, [{"name": "nobody"}]))
    assert isinstance(layer, Labels)
    assert len(shown) == 1 and "a.labels.json" in shown[0] and "without their names" in shown[0]


def test_what_does_not_fit_into_memory_is_passed_on_as_it_is(tmp_path, monkeypatch):
    path = put(tmp_path / "a.nii", nifti(numbers((*SHAPE, 4)), scaling=(2.0, 1.0)))
    monkeypatch.setattr("napari_sam3d.io.read.is_large", lambda needed: True)
    layer = open_layer(path)
    assert not isinstance(layer.data, np.ndarray)
    np.testing.assert_array_equal(np.asarray(layer.data[2]), read_nifti(path, 2).data)
    assert layer.data[0].max().compute() == 2 * (np.prod(SHAPE) - 1) + 1


@pytest.mark.parametrize("name", ["phantom", "brain"])
def test_sample_data(name):
    layers = [Layer.create(*data) for data in getattr(sample_data, name)()]
    assert layers[0].name == name
    assert volume_from_layer(layers[0]).grid.shape == layers[0].data.shape
    for truth in layers[1:]:
        assert isinstance(truth, Labels)
        np.testing.assert_allclose(truth.extent.world, layers[0].extent.world)
