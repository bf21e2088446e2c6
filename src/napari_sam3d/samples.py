"""Sample volumes by name: drawn, found in an installed package, or fetched once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam3d.io import read_nifti
from napari_sam3d.phantom import draw_phantom
from napari_sam3d.volume import Grid, Point3, Volume


@dataclass(frozen=True, eq=False)
class Sample:
    """A volume to try things on.

    Parameters
    ----------
    volume
        The image.
    labels
        True label map (z, y, x) on the voxels of the image, or None.
    label_names
        What the labels mean.
    click_voxel
        (z, y, x), inside an object worth segmenting.
    contrast_limits
        Values to show as black and white, or None for the range of the image.
    """

    volume: Volume
    labels: np.ndarray | None
    label_names: Mapping[int, str]
    click_voxel: Point3
    contrast_limits: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A public file that is fetched at first use and kept in the user's cache."""

    url: str
    known_hash: str
    """Checksum of the file, "sha256:..." or "md5:..." as its publisher states it."""
    members: tuple[str, ...] = ()
    """Files to unpack when it is a tar archive."""


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """One row of the table of samples."""

    name: str
    title: str
    licence: str
    load: Callable[[SampleSpec], Sample]
    remote: Remote | None = None
    """What has to be fetched, when it is not on this computer from the start."""


def load_sample(name: str) -> Sample:
    """The sample called `name`.

    Raises
    ------
    ValueError
        For an unknown name, with the known ones.
    OSError
        When its file has to be fetched and cannot be; one sentence for the user.
    """
    try:
        spec = SAMPLES[name]
    except KeyError:
        known = ", ".join(SAMPLES)
        raise ValueError(f"There is no sample called {name!r}; known samples: {known}.") from None
    return spec.load(spec)


def fetch(remote: Remote, folder: Path | None = None) -> tuple[Path, ...]:
    """The file, or the members of the archive, from the cache or else from the network.

    Parameters
    ----------
    remote
        What to fetch.
    folder
        Where to keep it; the user's cache when None.

    Raises
    ------
    OSError
        When the address cannot be reached or the file has another checksum.
    """
    import pooch

    folder = Path(pooch.os_cache("napari-sam3d")) / "samples" if folder is None else folder
    unpack = pooch.Untar(members=list(remote.members)) if remote.members else None
    file_name = remote.url.rsplit("/", 1)[-1]
    try:
        found = pooch.retrieve(
            remote.url, remote.known_hash, fname=file_name, path=folder, processor=unpack
        )
    except (OSError, ValueError) as error:  # pooch raises ValueError for a wrong checksum
        raise OSError(
            f"{file_name} could not be fetched from {remote.url}: {error}. "
            "Check the connection, or use the sample 'phantom', which needs none."
        ) from error
    if not remote.members:
        return (Path(found),)
    files = {str(Path(f).as_posix()): Path(f) for f in found}
    return tuple(next(f for p, f in files.items() if p.endswith(m)) for m in remote.members)


def _phantom(spec: SampleSpec) -> Sample:
    image, labels, names = draw_phantom()
    grid = Grid.from_spacing(image.shape, PHANTOM_SPACING)
    lesion = next(number for number, name in names.items() if name == "liver lesion")
    z, y, x = np.argwhere(labels == lesion).mean(axis=0).round().tolist()
    return Sample(Volume(image, grid, spec.name), labels, names, (z, y, x), (-160.0, 240.0))


def _brain(spec: SampleSpec) -> Sample:
    from nibabel.testing import data_path

    volume = read_nifti(Path(data_path) / "anatomical.nii")
    return Sample(volume, None, {}, (11.0, 13.0, 17.0))


def _nuclei(spec: SampleSpec) -> Sample:
    from tifffile import imread

    assert spec.remote is not None
    (path,) = fetch(spec.remote)
    image = imread(path)[:, 1]  # (z, channel, y, x); channel 0 shows the membranes
    grid = Grid.from_spacing(image.shape, (0.29e-3, 0.26e-3, 0.26e-3))
    # the brightest place after averaging over blocks the size of a nucleus is inside one
    blocks = image[:56, :256, :256].reshape(7, 8, 16, 16, 16, 16).mean(axis=(1, 3, 5))
    z, y, x = np.unravel_index(blocks.argmax(), blocks.shape)
    click = (8.0 * float(z) + 4, 16.0 * float(y) + 8, 16.0 * float(x) + 8)
    return Sample(Volume(image, grid, spec.name), None, {}, click)


def _hippocampus(spec: SampleSpec) -> Sample:
    assert spec.remote is not None
    image, truth = (read_nifti(path) for path in fetch(spec.remote))
    labels = truth.data.astype(np.uint8)
    inside = np.argwhere(labels == 1)
    z, y, x = inside[np.linalg.norm(inside - inside.mean(axis=0), axis=1).argmin()].tolist()
    return Sample(image, labels, {1: "anterior", 2: "posterior"}, (z, y, x))


PHANTOM_SPACING = (3.0, 2.0, 2.0)

SAMPLES: dict[str, SampleSpec] = {
    spec.name: spec
    for spec in (
        SampleSpec(
            name="phantom",
            title="Synthetic CT-like torso with organs and lesions",
            licence="BSD-3-Clause",
            load=_phantom,
        ),
        SampleSpec(
            name="brain",
            title="MR of a head, 2 mm, from the nibabel package",
            licence="MIT (nibabel)",
            load=_brain,
        ),
        SampleSpec(
            name="nuclei",
            title="Fluorescence microscopy of cell nuclei, from scikit-image",
            licence="provided by the Allen Institute for Cell Science through scikit-image",
            load=_nuclei,
            remote=Remote(
                url="https://gitlab.com/scikit-image/data/-/raw/"
                "2cdc5ce89b334d28f06a58c9f0ca21aa6992a5ba/cells3d.tif",
                known_hash="sha256:afc7c7d80d38bfde09788b4064ac1e64ec14e88454ab785ebdc8dbba5ca3b222",
            ),
        ),
        SampleSpec(
            name="hippocampus",
            title="MR around a hippocampus with expert labels, Medical Segmentation Decathlon",
            licence="CC BY-SA 4.0",
            load=_hippocampus,
            remote=Remote(
                url="https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar",
                known_hash="md5:9d24dba78a72977dbd1d2e110310f31b",
                members=(
                    "Task04_Hippocampus/imagesTr/hippocampus_001.nii.gz",
                    "Task04_Hippocampus/labelsTr/hippocampus_001.nii.gz",
                ),
            ),
        ),
    )
}
