import numpy as np
import pytest
from napari.layers import Image, Labels, Layer

from napari_sam3d._tests.nifti_files import AFFINE, nifti, put
from napari_sam3d.io import read_nifti
from napari_sam3d.plugin.layers import source_of, volume_from_layer
from napari_sam3d.plugin.reader import read
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


def test_label_files_become_labels_that_can_be_painted(tmp_path):
    path = put(tmp_path / "case_seg.nii", nifti(dtype="f4"))
    layer = open_layer(path)
    assert isinstance(layer, Labels)
    assert layer.data.dtype == np.uint8
    layer.data[0, 0, 0] = 77
    assert save(path, layer) == [str(path)]  # back over the file it came from
    assert open_layer(path).data[0, 0, 0] == 77


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
