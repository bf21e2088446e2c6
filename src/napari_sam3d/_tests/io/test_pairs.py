"""Images and their labels are found by their names, and read."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from napari_sam3d.io.label_names import LabelName, write_label_names
from napari_sam3d.io.pairs import find_pairs, read_pair, read_steps

AFFINE = np.diag([1.5, 1, 2, 1])
SHAPE = (4, 5, 6)


def save(path, data=None, affine=AFFINE):
    path.parent.mkdir(exist_ok=True, parents=True)
    if data is None:
        data = np.zeros(SHAPE, np.uint8)
        data[1:3, 2, 3] = 2
    nib.save(nib.Nifti1Image(data, affine), path)


def names(folder) -> list[tuple[str, str]]:
    return [(it.image.name, it.labels.name) for it in find_pairs(folder)]


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("x.nii.gz", "x_seg.nii.gz"),
        ("x.nii", "x-label.nii.gz"),
        ("x_image.nii.gz", "x_label.nii.gz"),
        ("a.b.nii.gz", "a.b.mask.nii.gz"),
        ("x_T1.nii.gz", "x_T1_Segmentation.nii"),
    ],
)
def test_pairs_side_by_side_are_told_by_their_endings(tmp_path, image, labels):
    save(tmp_path / image)
    save(tmp_path / labels)
    save(tmp_path / "not_labelled_yet.nii.gz")
    (tmp_path / "notes.txt").touch()
    assert names(tmp_path) == [(image, labels)]


def test_the_folders_of_nnunet(tmp_path):
    for name in ("liver_1_0000", "liver_1_0001", "liver_2_0000", "liver_3"):
        save(tmp_path / "imagesTr" / f"{name}.nii.gz")
    for name in ("liver_1", "liver_2", "liver_3"):
        save(tmp_path / "labelsTr" / f"{name}.nii.gz")
    save(tmp_path / "labelsTr" / "._liver_1.nii.gz")  # as macOS leaves them
    assert names(tmp_path) == [
        ("liver_1_0000.nii.gz", "liver_1.nii.gz"),
        ("liver_2_0000.nii.gz", "liver_2.nii.gz"),
        ("liver_3.nii.gz", "liver_3.nii.gz"),
    ]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "holds no labelled pairs"),
        (["x.nii.gz"], "holds no labelled pairs"),
        (["x_seg.nii.gz"], r"x_seg.nii.gz has no image x.nii.gz"),
        (["x.nii", "x.nii.gz", "x_seg.nii.gz"], r"x.nii and x.nii.gz both fit x_seg.nii.gz"),
        (["x.nii", "x_seg.nii", "x_mask.nii"], r"x_mask.nii and x_seg.nii are labels of one"),
    ],
)
def test_what_is_no_pair_is_told_in_a_sentence(tmp_path, files, sentence):
    for name in files:
        save(tmp_path / name)
    with pytest.raises(ValueError, match=sentence):
        find_pairs(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        find_pairs(tmp_path / "nowhere")


def test_a_pair_is_read_with_its_names(tmp_path):
    save(tmp_path / "x.nii.gz", np.arange(120, dtype=np.int16).reshape(SHAPE))
    save(tmp_path / "x_seg.nii.gz")
    write_label_names(tmp_path / "x_seg.nii.gz", [LabelName(2, "femur")])
    (files,) = find_pairs(tmp_path)
    pair = read_pair(files)
    assert pair.name == "x.nii.gz" and pair.files == files
    assert pair.volume.grid == pair.labels_grid and pair.labels_grid.shape == pair.labels.shape
    assert pair.labels.dtype == np.uint8 and np.unique(pair.labels).tolist() == [0, 2]
    assert pair.names == {2: "femur"}
    stored = np.asarray(nib.load(tmp_path / "x.nii.gz").dataobj)
    labelled = np.asarray(nib.load(tmp_path / "x_seg.nii.gz").dataobj) == 2
    assert sorted(pair.volume.data[pair.labels == 2]) == sorted(stored[labelled])
    shares = list(read_steps(files))
    assert shares == sorted(shares) and 0.5 <= max(shares) <= 1
