import numpy as np
import pytest
from napari.layers import Image, Labels, Layer

from napari_sam3d._tests.nifti_files import AFFINE, SHAPE, nifti, numbers, put
from napari_sam3d.io import NiftiError, read_nifti
from napari_sam3d.plugin import sample_data
from napari_sam3d.plugin.layers import METADATA, source_of, volume_from_layer
from napari_sam3d.plugin.reader import get_reader, read
from napari_sam3d.plugin.writer import write_multi, write_single

OBLIQUE = AFFINE.copy()
OBLIQUE[:2, :2] = [[1.9, 0.45], [-0.6, 1.4]]


def open_layer(path) -> Layer:
    (data,) = read(str(path))
    return Layer.create(*data)


@pytest.fixture
def image(tmp_path) -> Image:
    return open_layer(put(tmp_path / "scan.nii.gz", nifti(sform=OBLIQUE)))


def save(path, layer) -> list[str]:
    data, meta, _ = layer.as_layer_data_tuple()
    return write_single(str(path), data, meta)


def test_reader_goes_by_name():
    assert get_reader("a/b.NII.gz") is read
    assert get_reader(["a.nii", "b.nii.gz"]) is read
    assert get_reader("a.gz") is None
    assert get_reader(["a.nii", "b.tif"]) is None
    assert get_reader([]) is None


def test_image_layer(image):
    assert isinstance(image, Image)
    assert image.name == "scan"
    assert image.data.shape == SHAPE[::-1]
    assert [str(u) for u in image.units] == ["millimeter"] * 3
    assert image.axis_labels == ("I", "P", "L")
    assert image.metadata[METADATA]["tilt_deg"] > 10
    np.testing.assert_array_equal(image.affine.affine_matrix, np.eye(4))


def test_label_files_become_labels_that_can_be_painted(tmp_path):
    path = put(tmp_path / "case_seg.nii", nifti(dtype="f4"))
    layer = open_layer(path)
    assert isinstance(layer, Labels)
    assert layer.data.dtype == np.uint8
    layer.data[0, 0, 0] = 77
    assert save(path, layer) == [str(path)]  # back over the file it came from
    assert open_layer(path).data[0, 0, 0] == 77


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
        (Image([np.zeros((4, 4, 4)), np.zeros((2, 2, 2))], name="levels"), "levels is multiscale"),
    ],
)
def test_layers_that_are_no_volume_are_refused(layer, words):
    with pytest.raises(ValueError, match=words):
        volume_from_layer(layer)


def test_labels_with_the_metadata_of_the_image_get_its_header(image, tmp_path):
    labels = Labels(
        (image.data > 50).astype(np.uint8),
        scale=image.scale,
        translate=image.translate,
        units=image.units,
        metadata=dict(image.metadata),
    )
    (path,) = save(tmp_path / "mask", labels)
    assert path.endswith("mask.nii.gz")
    again = read_nifti(path)
    assert again.grid == volume_from_layer(image).grid
    np.testing.assert_array_equal(again.data, labels.data)
    with pytest.raises(ValueError, match="image itself"):
        save(tmp_path / "scan.nii.gz", labels)


def test_labels_without_metadata_are_written_by_scale_and_translate(tmp_path):
    labels = Labels(np.arange(24).reshape(2, 3, 4), scale=(3, 2, 1), translate=(5, -6, 7))
    again = open_layer(save(tmp_path / "a.nii", labels)[0])
    assert isinstance(again, Labels)
    np.testing.assert_array_equal(again.data, labels.data)
    np.testing.assert_allclose(again.scale, labels.scale)
    np.testing.assert_allclose(again.translate, labels.translate)


def test_images_are_written_with_their_values(image, tmp_path):
    (path,) = save(tmp_path / "copy.nii", image)
    again = open_layer(path)
    assert again.data.dtype == image.data.dtype
    np.testing.assert_array_equal(again.data, image.data)
    assert source_of({"metadata": again.metadata}).grid == volume_from_layer(image).grid


def test_several_layers_go_into_several_files(image, tmp_path):
    place = {"scale": image.scale, "translate": image.translate}
    bare = [
        Labels(np.full(image.data.shape, n), name="left / right", units=image.units, **place)
        for n in (1, 2)
    ]
    points = (np.zeros((1, 3)), {}, "points")
    layers = [layer.as_layer_data_tuple() for layer in (image, *bare)]
    paths = write_multi(str(tmp_path / "all.nii"), [*layers, points])
    names = [path.rsplit("/", 1)[-1] for path in paths]
    assert names == ["all_scan.nii", "all_left_right.nii", "all_left_right-2.nii"]
    # the labels of the "new labels" button take the header of the image they lie on
    assert read_nifti(paths[2]).grid == read_nifti(paths[0]).grid
    assert (read_nifti(paths[2]).data == 2).all()
    (only,) = write_multi(str(tmp_path / "one.nii"), [layers[1], points])
    assert only.endswith("one.nii")
    with pytest.raises(ValueError, match="no image or labels"):
        write_multi(str(tmp_path / "none.nii"), [points])


def test_a_bad_file_is_one_sentence(tmp_path):
    (tmp_path / "bad.nii").write_bytes(b"nothing")
    with pytest.raises(NiftiError, match=r"^bad\.nii is not a NIfTI file"):
        read(str(tmp_path / "bad.nii"))


def test_warnings_and_tilt_are_shown(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("napari_sam3d.plugin.reader.show_warning", shown.append)
    monkeypatch.setattr("napari_sam3d.plugin.reader.show_info", shown.append)
    read(str(put(tmp_path / "a.nii", nifti(numbers(), codes=(0, 0)))))
    read(str(put(tmp_path / "b.nii", nifti(sform=OBLIQUE))))
    assert "left and right are unknown" in shown[0]
    assert any("tilt" in text for text in shown[1:])


@pytest.mark.parametrize("name", ["phantom", "brain"])
def test_sample_data(name):
    layers = [Layer.create(*data) for data in getattr(sample_data, name)()]
    assert layers[0].name == name
    assert volume_from_layer(layers[0]).grid.shape == layers[0].data.shape
    for truth in layers[1:]:
        assert isinstance(truth, Labels)
        np.testing.assert_allclose(truth.extent.world, layers[0].extent.world)
