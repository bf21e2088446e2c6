"""Images and their label maps in a folder, told by their names."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from napari_sam3d.io.affine import corner_distance
from napari_sam3d.io.label_names import read_label_names
from napari_sam3d.io.read import finish, is_nifti_name, nifti_stem, open_steps
from napari_sam3d.labelled import Pair, PairFiles

__all__ = [
    "PairFiles",
    "find_images",
    "find_pairs",
    "read_pair",
    "read_steps",
    "same_grid",
    "voxels_apart",
]

_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"))
LABELS = re.compile(r"(.+)[._-](seg|segmentation|labels?|mask|gt)", re.IGNORECASE)
"""The name of a label map beside its image, and what comes before the word at its end."""
_IMAGE = re.compile(r"(.+)[._-](image|img|0000)", re.IGNORECASE)
_ALIKE = 1e-3  # of a voxel, along the longest axis: so far grids may be apart and be the same
_OTHER_CHANNEL = re.compile(r".+_(?!0000)\d{4}")


def find_pairs(folder: Path, labels_folder: Path | None = None) -> list[PairFiles]:
    """The pairs in a folder, by the names of the label maps.

    Either `imagesTr` and `labelsTr` as nnU-Net and the Decathlon have them (`images` and `labels`
    will do), where of several channels the first is taken; or images and label maps side by side,
    the label map with a word at its end: `x.nii.gz` or `x_image.nii.gz` with `x_seg.nii.gz`,
    `x-label.nii.gz` and so on. Images without labels are left out.

    Parameters
    ----------
    folder
        With images and labels, or with images alone.
    labels_folder
        Where the label maps are, called like their images; as above when not given.

    Raises
    ------
    ValueError
        With one sentence, when there is no pair, or a label map has no image or several.
    """
    for needed in (folder, *([] if labels_folder is None else [labels_folder])):
        if not needed.is_dir():
            raise ValueError(f"There is no folder {needed}.")
    beside = [(folder / images, folder / labels) for images, labels in _FOLDERS]
    for images, labels in beside if labels_folder is None else [(folder, labels_folder)]:
        if images.is_dir() and labels.is_dir():
            named = {nifti_stem(path.name): path for path in _niftis(labels)}
            there = [it for it in _niftis(images) if not _is_other_channel(it)]
            break
    else:
        there, named = [], {}
        for path in _niftis(folder):
            told = LABELS.fullmatch(nifti_stem(path.name))
            if told is None:
                there.append(path)
            elif told[1] in named:
                other = named[told[1]].name
                raise ValueError(f"{other} and {path.name} are labels of one image; keep one.")
            else:
                named[told[1]] = path
    if not named:
        raise ValueError(
            f"{folder} holds no labelled pairs: it needs imagesTr and labelsTr, or label maps "
            "that are called like their image with _seg or _label at the end."
        )
    found: dict[str, list[Path]] = {stem: [] for stem in named}
    for path in there:
        stem = nifti_stem(path.name)
        told = _IMAGE.fullmatch(stem)
        for name in dict.fromkeys([stem, *([told[1]] if told else [])]):
            if name in found:
                found[name].append(path)
    for stem, paths in found.items():
        if not paths:
            raise ValueError(f"{named[stem].name} has no image {stem}.nii.gz that it belongs to.")
        if len(paths) > 1:
            both = " and ".join(path.name for path in paths[:2])
            raise ValueError(f"{both} both fit {named[stem].name}; keep one of them.")
    return [PairFiles(found[stem][0], named[stem]) for stem in sorted(named)]


def read_pair(files: PairFiles) -> Pair:
    """Read an image and its labels; as `read_steps`, in one go."""
    return finish(read_steps(files))


def read_steps(files: PairFiles) -> Generator[float, None, Pair]:
    """Read an image and its labels, piece by piece; whether they fit is for `preflight` to say.

    Closing the generator gives up.

    Yields
    ------
    float
        The share that has been read, 0 to 1.

    Raises
    ------
    NiftiError
        With one sentence, when a file cannot be used.
    """
    volumes = []
    for number, path in enumerate((files.image, files.labels)):
        steps = open_steps(path)
        with closing(steps):
            while True:
                try:
                    share = next(steps)
                except StopIteration as end:
                    volumes.append(end.value.volume())
                    break
                yield (number + share) / 2
    volume, labels = volumes
    return Pair(volume, labels.data, labels.grid, _names(files), files)


def same_grid(pair: Pair) -> bool:
    """Whether each voxel of the labels is one of the image."""
    own, wanted = pair.labels_grid, pair.volume.grid
    if own.shape != wanted.shape:
        return False
    return voxels_apart(pair) <= _ALIKE * max(wanted.shape)


def voxels_apart(pair: Pair) -> float:
    """How far a corner of the labels is from that of the image, in voxels of the image."""
    own, wanted = pair.labels_grid, pair.volume.grid
    return corner_distance(wanted.affine, own.affine, wanted.shape)


def find_images(folder: Path) -> list[PairFiles]:
    """Every image of a folder, with the file where its labels are, or would be written.

    Of `imagesTr` or `images`, also when that folder itself is given, labels are in the folder of
    labels beside it; of other folders they are beside the image, as `find_pairs` has it, and new
    ones are called like the image with _seg at the end.

    Raises
    ------
    ValueError
        With one sentence, when there is no image.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    for images, labels in _FOLDERS:
        root = folder.parent if folder.name == images else folder
        if (root / images).is_dir():
            there, named = list(_niftis(root / images)), {}
            if (root / labels).is_dir():
                named = {nifti_stem(path.name): path for path in _niftis(root / labels)}
            new = root / labels / "{}.nii.gz"
            break
    else:
        new, there, named = folder / "{}_seg.nii.gz", [], {}
        for path in _niftis(folder):
            told = LABELS.fullmatch(nifti_stem(path.name))
            if told is None:
                there.append(path)
            else:
                named[told[1]] = path
    found = []
    for path in there:
        stem = nifti_stem(path.name)
        told = _IMAGE.fullmatch(stem)
        short = told[1] if told else stem
        labels_path = named.get(stem) or named.get(short)
        if labels_path is None:
            name = short if new.parent != folder else stem
            labels_path = new.with_name(new.name.format(name))
        if not _is_other_channel(path):
            found.append(PairFiles(path, labels_path))
    if not found:
        raise ValueError(f"{folder} holds no NIfTI image.")
    return found


def _names(files: PairFiles) -> dict[int, str]:
    """What the file beside the labels calls them."""
    return {it.id: it.name for it in read_label_names(files.labels) if it.name}


def _niftis(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")  # such as what macOS leaves on other disks
        half = path.name.lower().endswith((".img", ".img.gz"))  # its header names the pair
        if is_nifti_name(path.name) and not hidden and not half and path.is_file():
            yield path


def _is_other_channel(path: Path) -> bool:
    """Whether it is not the first of several channels: x_0001 where there is x_0000."""
    stem = nifti_stem(path.name)
    if not _OTHER_CHANNEL.fullmatch(stem):
        return False
    return path.with_name(path.name.replace(stem, stem[:-4] + "0000", 1)).exists()
