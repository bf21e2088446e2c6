"""Cases are found in each layout and read one by one; what does not fit is told."""

from __future__ import annotations

import json
import pickle

import nibabel as nib
import numpy as np
import pytest

from napari_sam3d.io.datasets import CaseFiles, find_cases, given_boxes, read_case
from napari_sam3d.io.label_names import LabelName, write_label_names
from napari_sam3d.io.split_file import Split, write_split
from napari_sam3d.prompts import Box

SHAPE = (4, 5, 6)
AFFINE = np.diag([1.5, 1.0, 2.0, 1.0])
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:3, 2, 3] = 2
BOX = {"z_min": 1, "z_max": 2, "z_mid": 1, "z_mid_x_min": 3, "z_mid_y_min": 2}
BOX |= {"z_mid_x_max": 4, "z_mid_y_max": 2}


def save(path, data=LABELS, affine=AFFINE):
    path.parent.mkdir(exist_ok=True, parents=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def save_npz(path, **arrays):
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, **{"imgs": LABELS * 100, "spacing": (3.0, 1.0, 2.0), **arrays})


def found(folder, **given):
    """Names of cases, images and labels, these relative to the folder."""

    def short(path):
        return None if path is None else path.relative_to(folder).as_posix()

    return [(it.name, short(it.image), short(it.labels)) for it in find_cases(folder, **given)]


def test_pairs_side_by_side(tmp_path):
    for name in ("b.c", "b.c-label", "a_image", "a_seg", "alone"):
        save(tmp_path / "data" / f"{name}.nii.gz")
    save_npz(tmp_path / "data" / "other.npz", gts=LABELS)  # of some other program
    (tmp_path / "dataset.json").write_text('{"labels": {"2": "of another data set"}}')
    assert found(tmp_path / "data") == [
        ("a", "a_image.nii.gz", "a_seg.nii.gz"),
        ("b.c", "b.c.nii.gz", "b.c-label.nii.gz"),
    ]
    assert {it.dataset for it in find_cases(tmp_path / "data")} == {None}


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "2": "liver"},
        {"background": 0, "liver": 2, "both": [1, 2]},
        {"liver": 2, "yes": True, "x": None},
    ],
)
def test_the_layout_of_nnunet_with_its_names(tmp_path, labels):
    save(tmp_path / "imagesTr" / "liver_1_0000.nii.gz")
    save(tmp_path / "labelsTr" / "liver_1.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "numTraining": 1}))
    assert found(tmp_path) == [
        ("liver_1", "imagesTr/liver_1_0000.nii.gz", "labelsTr/liver_1.nii.gz")
    ]
    (files,) = find_cases(tmp_path)
    assert read_case(files).names == {2: "liver"}
    write_label_names(tmp_path / "labelsTr" / "liver_1.nii.gz", [LabelName(2, "Leber")])
    assert read_case(files).names == {2: "Leber"}  # beside the mask, where users write
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match=r"^dataset\.json is damaged or not JSON"):
        read_case(files)
    (tmp_path / "dataset.json").write_text("[]")
    assert read_case(files).names == {2: "Leber"}


def test_labels_of_nifti_images_in_a_folder_of_their_own(tmp_path):
    save(tmp_path / "imagesTs" / "x_0000.nii.gz")
    save(tmp_path / "imagesTs" / "unlabelled_0000.nii.gz")
    save(tmp_path / "labelsTs" / "x.nii.gz")
    (tmp_path / "dataset.json").write_text('{"labels": {"2": "liver"}}')
    (files,) = find_cases(tmp_path / "imagesTs", labels_folder=tmp_path / "labelsTs")
    assert (files.name, files.image.name, files.labels.name) == ("x", "x_0000.nii.gz", "x.nii.gz")
    assert read_case(files).names == {2: "liver"}


def test_npz_files_with_and_without_a_folder_of_labels(tmp_path):
    for name in ("b", "a", ".hidden"):
        save_npz(tmp_path / "imgs" / f"{name}.npz")
    save_npz(tmp_path / "gts" / "b.npz", gts=LABELS)
    assert found(tmp_path / "imgs") == [("a", "a.npz", None), ("b", "b.npz", None)]
    cases = find_cases(tmp_path / "imgs", labels_folder=tmp_path / "gts")
    assert cases == [CaseFiles("b", tmp_path / "imgs/b.npz", tmp_path / "gts/b.npz")]
    assert find_cases(tmp_path / "imgs", labels_folder=tmp_path / "imgs")[0].labels is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no file that is called like an image of"):
        find_cases(tmp_path / "imgs", labels_folder=tmp_path / "empty")


def test_the_folders_of_the_challenge_s_training_set(tmp_path):
    save_npz(tmp_path / "CT/CT_AMOS/CT_AMOS_1.npz", gts=LABELS)
    assert found(tmp_path) == [("CT_AMOS_1", "CT/CT_AMOS/CT_AMOS_1.npz", None)]
    save_npz(tmp_path / "CT/CT_Other/CT_AMOS_1.npz", gts=LABELS)
    with pytest.raises(ValueError, match=r"CT_AMOS_1\.npz and .* have one name"):
        find_cases(tmp_path)


def test_a_split_says_which_cases_and_in_which_order(tmp_path):
    for name in ("1", "2", "3"):
        save(tmp_path / "data" / "imagesTr" / f"{name}.nii.gz")
        save(tmp_path / "data" / "labelsTr" / f"{name}.nii.gz")
    files = {n: (f"/old/imagesTr/{n}.nii.gz", f"labelsTr/{n}.nii.gz") for n in ("3", "1")}
    (tmp_path / "data" / "dataset.json").write_text('{"labels": {"2": "liver"}}')
    split = tmp_path / "split.json"
    write_split(split, Split(({"test": {"2": ("x", "y")}}, {"val": files})))
    assert found(tmp_path / "data", split=split, fold=1, part="val") == [
        ("3", "imagesTr/3.nii.gz", "labelsTr/3.nii.gz"),
        ("1", "imagesTr/1.nii.gz", "labelsTr/1.nii.gz"),
    ]
    first, _ = find_cases(tmp_path / "data", split=split, fold=1, part="val")
    assert read_case(first).names == {2: "liver"}
    with pytest.raises(ValueError, match=r"1 of 1 cases of 'test' .* such as 2, whose file is x\."):
        find_cases(tmp_path / "data", split=split)
    with pytest.raises(ValueError, match="has val; there is no part 'test'"):
        find_cases(tmp_path / "data", split=split, fold=1)
    with pytest.raises(ValueError, match=r"split\.json says where the labels are"):
        find_cases(tmp_path / "data", split=split, labels_folder=tmp_path)
    pickled = tmp_path / "split.pkl"
    pickled.write_bytes(pickle.dumps([{"test": {n: list(it) for n, it in files.items()}}]))
    assert [it.name for it in find_cases(tmp_path / "data", split=pickled)] == ["3", "1"]


def test_a_folder_without_cases_is_told(tmp_path):
    with pytest.raises(ValueError, match="holds no labelled pairs"):
        find_cases(tmp_path)
    with pytest.raises(ValueError, match=r"There is no folder .*nowhere"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"There is no folder .*nowhere"):
        find_cases(tmp_path, labels_folder=tmp_path / "nowhere")


def test_a_case_is_read_with_the_name_of_the_case(tmp_path):
    image = np.arange(120, dtype=np.int16).reshape(SHAPE)
    save(tmp_path / "x_image.nii.gz", image)
    save(tmp_path / "x_label.nii.gz", LABELS.astype(np.float32))
    (files,) = find_cases(tmp_path)
    case = read_case(files)
    assert case.name == files.name == "x"
    assert case.labels.dtype == np.uint8 and case.volume.grid.spacing == (2.0, 1.0, 1.5)
    assert sorted(case.volume.data[case.labels == 2]) == sorted(image[LABELS == 2])
    assert case.files is not None and case.files.labels == files.labels
    assert given_boxes(files, case) is None


def test_a_case_of_the_challenge_is_read_as_it_is(tmp_path):
    labels = LABELS.astype(np.int32) * 200
    save_npz(tmp_path / "x.npz", gts=labels, boxes=[BOX])
    (files,) = find_cases(tmp_path)
    case = read_case(files)
    assert np.array_equal(case.labels, labels) and case.labels.dtype == np.uint16
    assert np.array_equal(case.volume.data, LABELS * 100)
    assert case.volume.grid.spacing == (3.0, 1.0, 2.0) and case.name == "x"
    assert given_boxes(files, case) == {400: Box((1, 2, 3), (2, 2, 4))}


def test_labels_of_the_challenge_in_another_folder(tmp_path):
    save_npz(tmp_path / "imgs" / "x.npz")
    save_npz(tmp_path / "gts" / "x.npz", gts=LABELS)
    (files,) = find_cases(tmp_path / "imgs", labels_folder=tmp_path / "gts")
    assert np.array_equal(read_case(files).labels, LABELS)
    (files,) = find_cases(tmp_path / "imgs")
    with pytest.raises(ValueError, match=r"^x\.npz holds no gts"):
        read_case(files)


FRACTIONS = np.where(LABELS == 2, 0.5, 0)
MOVED = AFFINE + np.array([[0, 0, 0, 0.5]] + [[0] * 4] * 3)


@pytest.mark.parametrize(
    ("labels", "affine", "sentence"),
    [
        (LABELS[1:], AFFINE, "x_seg.nii has 6 x 5 x 3 voxels and x.nii has 6 x 5 x 4 (z, y, x)"),
        (LABELS, MOVED, "x_seg.nii lies 0.33 voxels from x.nii by the headers"),
        (LABELS, AFFINE * 1.01, "x_seg.nii lies "),
        (FRACTIONS, AFFINE, "x_seg.nii is no label map: its values are no whole numbers."),
        (LABELS * np.float32("nan"), AFFINE, "x_seg.nii is no label map"),
        (np.where(LABELS == 2, np.inf, 0), AFFINE, "x_seg.nii is no label map"),
        (LABELS.astype(np.int16) - 3, AFFINE, "x_seg.nii has the label -3; labels are 0 to 65535."),
        (LABELS * np.int32(99_999), AFFINE, "x_seg.nii has the label 199998; labels are"),
        (LABELS * 1e30, AFFINE, "x_seg.nii has the label 2000"),
        (np.zeros((*SHAPE, 2), np.uint8), AFFINE, "x_seg.nii has 2 time points"),
    ],
)
def test_labels_that_do_not_fit_their_image_are_refused(tmp_path, labels, affine, sentence):
    save(tmp_path / "x.nii")
    with np.errstate(all="ignore"):
        save(tmp_path / "x_seg.nii", labels, affine)
    (files,) = find_cases(tmp_path)
    with pytest.raises(ValueError) as raised:
        read_case(files)
    assert str(raised.value).startswith(sentence) and "\n" not in str(raised.value)


def test_labels_stored_in_another_order_lie_on_the_image(tmp_path):
    save(tmp_path / "x.nii", LABELS)
    turned = AFFINE @ np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    save(tmp_path / "x_seg.nii", LABELS[::-1], turned)
    case = read_case(find_cases(tmp_path)[0])
    assert np.array_equal(case.volume.data, case.labels)


def test_gts_of_another_shape_or_kind_are_refused(tmp_path):
    save_npz(tmp_path / "x.npz", gts=LABELS[1:])
    (files,) = find_cases(tmp_path)
    with pytest.raises(ValueError, match=r"^x\.npz has 3 x 5 x 6 voxels and x\.npz has 4 x 5 x 6"):
        read_case(files)
    save_npz(tmp_path / "x.npz", gts=LABELS / 4)
    with pytest.raises(ValueError, match=r"^x\.npz is no label map"):
        read_case(files)
    save_npz(tmp_path / "x.npz", gts=np.array(5))
    with pytest.raises(ValueError, match=r"^x\.npz is damaged"):
        read_case(files)


def test_one_broken_file_does_not_hide_the_others(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.nii.gz")
        save(tmp_path / f"{name}_seg.nii.gz")
    (tmp_path / "a_seg.nii.gz").write_bytes(b"broken")
    broken, sound = find_cases(tmp_path)
    with pytest.raises(ValueError, match=r"^a_seg\.nii\.gz"):
        read_case(broken)
    assert read_case(sound).name == "b"
