"""Labelled cases of a folder, however its data set is laid out: found by names, read one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3d.io.challenge import read_boxes, read_gts, read_image
from napari_sam3d.io.json_file import is_whole, load_json
from napari_sam3d.io.label_names import count_labels
from napari_sam3d.io.pairs import (
    LABELS,
    PairFiles,
    find_pairs,
    read_pair,
    same_grid,
    voxels_apart,
)
from napari_sam3d.io.read import is_nifti_name, nifti_stem
from napari_sam3d.io.split_file import find_file, read_split
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import LARGEST_ID, Box

_NPZ = ".npz"


@dataclass(frozen=True)
class CaseFiles:
    """Where an image and its labels are.

    Parameters
    ----------
    name
        What the case is called; no other of its data set is.
    image
        NIfTI, or an npz file of the CVPR 2025 challenge.
    labels
        The file with the labels; None when they are in the image's file.
    dataset
        nnU-Net's dataset.json, which names the labels, where there is one.
    """

    name: str
    image: Path
    labels: Path | None
    dataset: Path | None = None


def find_cases(
    folder: Path,
    *,
    split: Path | None = None,
    fold: int = 0,
    part: str = "test",
    labels_folder: Path | None = None,
) -> list[CaseFiles]:
    """The labelled cases of a folder, by their names; none of their files is opened.

    With a split its cases, in its order. Else npz files where there is no NIfTI file, directly in
    the folder or two folders further down, as the challenge has them for training; else pairs, as
    `find_pairs` has them. Images without labels are left out.

    Parameters
    ----------
    folder
        Where the data is.
    split
        A file of a split; its paths are looked up in the folder by their ends.
    fold, part
        Which cases of the split.
    labels_folder
        Where files with the labels are, called like those of the images, unless they are where
        images and labels are together.

    Raises
    ------
    ValueError
        With one sentence: no cases, a split that has no such part, or files that are missing.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    if labels_folder is not None and not labels_folder.is_dir():
        raise ValueError(f"There is no folder {labels_folder}.")
    if labels_folder is not None and labels_folder.samefile(folder):
        labels_folder = None
    if split is not None:
        if labels_folder is not None:
            raise ValueError(f"{split.name} says where the labels are; leave out {labels_folder}.")
        return _of_split(folder, split, fold, part)
    npz = _npz_files(folder)
    if npz:
        return _of_challenge(folder, npz, labels_folder)
    cases = []
    for files in find_pairs(folder, labels_folder):
        name = nifti_stem(files.labels.name)
        if files.labels.parent == files.image.parent:
            told = LABELS.fullmatch(name)
            name = told[1] if told else name
        cases.append(CaseFiles(name, files.image, files.labels, _dataset(files)))
    return _distinct(cases)


def read_case(files: CaseFiles) -> Labelled:
    """Read an image and its labels, which must lie on the voxels of the image.

    Labels are whole numbers as they are in the file, uint8 or uint16.

    Raises
    ------
    ValueError
        With one sentence that names the file, when it cannot be read, or image and labels do not
        go together.
    """
    if files.image.suffix.lower() == _NPZ:
        volume = replace(read_image(files.image), name=files.name)
        source = files.labels or files.image
        labels = _whole(read_gts(source), source.name)
        if labels.shape != volume.grid.shape:
            raise ValueError(_differ(source, labels.shape, files.image, volume.grid.shape))
        return Labelled(volume, labels)
    assert files.labels is not None, "NIfTI images have their labels in another file"
    pair = read_pair(PairFiles(files.image, files.labels))
    own, wanted = pair.labels_grid.shape, pair.volume.grid.shape
    if own != wanted:
        raise ValueError(_differ(files.labels, own, files.image, wanted))
    if not same_grid(pair):
        raise ValueError(
            f"{files.labels.name} lies {voxels_apart(pair):.2g} voxels from {files.image.name} by "
            "the headers; resample the labels to the image, or mend the header that is wrong."
        )
    return Labelled(
        replace(pair.volume, name=files.name),
        _whole(pair.labels, files.labels.name),
        {**_dataset_names(files.dataset), **pair.names},
        pair.files,
    )


def given_boxes(files: CaseFiles, case: Labelled) -> dict[int, Box] | None:
    """The boxes that come with a case of the challenge, by label; None for all other files.

    Parameters
    ----------
    files
        Where the case is.
    case
        As it was read, with all of its labels.

    Raises
    ------
    ValueError
        With one sentence, when the boxes are damaged or do not fit the labels.
    """
    if files.image.suffix.lower() != _NPZ:
        return None
    return read_boxes(files.image, list(count_labels(case.labels)), case.volume.grid.shape)


def _of_split(folder: Path, path: Path, fold: int, part: str) -> list[CaseFiles]:
    split = read_split(path)
    cases, missing = [], []
    for name, said in split.part(fold, part).items():
        image, labels = (find_file(folder, it) for it in said)
        if image is None or labels is None:
            missing.append((name, said[0] if image is None else said[1]))
        else:
            dataset = _dataset(PairFiles(image, labels))
            cases.append(CaseFiles(name, image, labels, dataset))
    if missing:
        name, said_path = missing[0]
        raise ValueError(
            f"{len(missing)} of {len(missing) + len(cases)} cases of {part!r} in {path.name} are "
            f"not in {folder}, such as {name}, whose file is {said_path}."
        )
    return cases


def _of_challenge(folder: Path, npz: list[Path], labels_folder: Path | None) -> list[CaseFiles]:
    if labels_folder is None:
        return _distinct([CaseFiles(path.stem, path, None) for path in npz])
    cases = [
        CaseFiles(path.stem, path, labels_folder / path.relative_to(folder))
        for path in npz
        if (labels_folder / path.relative_to(folder)).is_file()
    ]
    if not cases:
        raise ValueError(
            f"{labels_folder} holds no file that is called like an image of {folder}, such as "
            f"{npz[0].name}."
        )
    return _distinct(cases)


def _npz_files(folder: Path) -> list[Path]:
    """The npz files of a folder that holds no NIfTI file."""
    if any(is_nifti_name(path.name) for path in folder.iterdir()):
        return []
    found = sorted(folder.glob("*.npz")) or sorted(folder.glob("*/*/*.npz"))
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def _distinct(cases: list[CaseFiles]) -> list[CaseFiles]:
    """The cases; ValueError when two have one name."""
    known: dict[str, CaseFiles] = {}
    for case in cases:
        other = known.setdefault(case.name, case)
        if other is not case:
            raise ValueError(f"{other.image} and {case.image} have one name; rename one of them.")
    return cases


def _whole(values: Any, name: str) -> np.ndarray:
    """Labels as whole numbers; looked through slice by slice, since they may be on disk.

    Raises
    ------
    ValueError
        For a label map that holds fractions, negative numbers, or larger ones than label maps do.
    """
    low, high = 0, 0
    for part in values:
        piece = np.asarray(part)
        if piece.dtype.kind == "f" and not (
            np.isfinite(piece).all() and (piece == np.rint(piece)).all()
        ):
            raise ValueError(f"{name} is no label map: its values are no whole numbers.")
        low, high = min(low, int(piece.min())), max(high, int(piece.max()))
    if low < 0 or high > LARGEST_ID:
        raise ValueError(
            f"{name} has the label {low if low < 0 else high}; labels are 0 to {LARGEST_ID}."
        )
    labels = np.asarray(values)
    if labels.dtype in (np.uint8, np.uint16):
        return labels
    return labels.astype(np.uint8 if high < 256 else np.uint16)


def _dataset(files: PairFiles) -> Path | None:
    """The dataset.json beside the folders of images and of labels."""
    path = files.labels.parent.parent / "dataset.json"
    return path if files.labels.parent != files.image.parent and path.is_file() else None


def _dataset_names(path: Path | None) -> Mapping[int, str]:
    """Names in a dataset.json: by number in nnU-Net 1 and the Decathlon, by name in nnU-Net 2."""
    if path is None:
        return {}
    value = load_json(path, "names of labels")
    rows = value.get("labels") if isinstance(value, dict) else None
    names: dict[int, str] = {}
    for key, said in rows.items() if isinstance(rows, dict) else ():
        if is_whole(said):
            names[said] = key
        elif isinstance(said, str) and key.isdecimal():
            names[int(key)] = said
    names.pop(0, None)  # the background
    return names


def _differ(labels: Path, own: tuple[int, ...], image: Path, wanted: tuple[int, ...]) -> str:
    shown, expected = (" x ".join(map(str, shape)) for shape in (own, wanted))
    return (
        f"{labels.name} has {shown} voxels and {image.name} has {expected} (z, y, x); they do not "
        "belong together."
    )
