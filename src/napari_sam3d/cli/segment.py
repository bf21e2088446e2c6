"""`napari-sam3d segment`: points in a NIfTI image become a NIfTI label map."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli.points import TypedPoint, parse_points, place, require_positive
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Point3, Volume

if TYPE_CHECKING:
    from napari_sam3d.io.prompt_file import ObjectPrompts

NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Segment objects of a NIfTI image from points.

    A point is three numbers i,j,k: stored voxel indices, counted from 0, as ITK-SNAP's or
    nibabel's arrays have them (ITK-SNAP's cursor shows them plus one), or with --mm RAS
    millimetres. Each --point lies inside the object, each --negative outside. With `id:` before
    the numbers the point belongs to another object than the first; every object becomes the
    label of its id in the one mask that is written, and voxels that two objects claim stay with
    the lower id.

    One object, corrected by a negative point:
    napari-sam3d segment ct.nii.gz --point 120,88,40 --negative 131,90,40

    Two objects, in millimetres, with the name of the mask:
    napari-sam3d segment ct.nii.gz --mm --point -12.5,3,40 --point 2:30,8,41.5 -o two.nii.gz

    The points that the Segment dock saved, on another image in the same coordinates:
    napari-sam3d segment later.nii.gz --prompts ct_prompts.json
    """

    image: Positional[Path]
    """NIfTI image: .nii, .nii.gz or a .hdr/.img pair."""
    point: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[ID:]I,J,K")] = ()
    """Point inside an object."""
    negative: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[ID:]I,J,K")] = ()
    """Point outside an object."""
    mm: bool = False
    """Points are in RAS millimetres instead of stored voxel indices."""
    prompts: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Saved prompts; --point and --negative add to them."""
    save_prompts: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Write all points to a file that --prompts and the Segment dock read."""
    frame: Annotated[int | None, arg(metavar="N")] = None
    """Time point of a series, counted from 0."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="PATH")] = None
    """Mask to write; IMAGE_seg.nii.gz in the current folder when not given."""
    overwrite: bool = False
    """Replace files that exist."""
    json: bool = False
    """Print one JSON object on stdout instead of sentences, and no progress bar."""
    settings: OmitArgPrefixes[InferenceSettings] = field(default_factory=InferenceSettings)

    def run(self) -> None:
        """Segment, write the mask and report; everything that can be wrong is checked first."""
        from napari_sam3d.io import read_nifti, write_labels
        from napari_sam3d.io.prompt_file import write_prompts

        typed = parse_points(self.point, self.negative)
        if self.prompts is None:
            require_positive(typed)
        model_spec(self.settings.model)
        output = self.output or Path(f"{stem(self.image)}_seg.nii.gz")
        check_output(output, self.image, self.overwrite)
        if self.save_prompts is not None:
            check_prompts(self.save_prompts, self.overwrite)
        volume = read_nifti(self.image, self.frame)
        warnings = list(volume.source.warnings) if volume.source is not None else []
        said = self._said(typed, volume)
        for warning in () if self.json else warnings:
            print(warning, file=sys.stderr)

        prompts = {it.id: Prompts(points=it.points) for it in said}
        labels, objects = segment_objects(volume, prompts, self.settings, quiet=self.json)
        objects = [replace(it, name=own.name) for it, own in zip(objects, said, strict=True)]
        write_labels(output, labels, volume.grid, volume.source, overwrite=self.overwrite)
        write_names(output, objects)
        if self.save_prompts is not None:
            write_prompts(self.save_prompts, said, volume, overwrite=self.overwrite)
        if self.json:
            report = {
                "image": str(self.image),
                "model": self.settings.model,
                "output": str(output),
                "warnings": warnings,
                "objects": [asdict(found) for found in objects],
            }
            print(json.dumps(report))
        else:
            print("\n".join([*(found.sentence() for found in objects), f"Mask: {output}"]))

    def _said(
        self, typed: Mapping[int, tuple[TypedPoint, ...]], volume: Volume
    ) -> list[ObjectPrompts]:
        """What was loaded and typed about each object, by ascending id."""
        from napari_sam3d.io.prompt_file import ObjectPrompts, read_prompts

        loaded = () if self.prompts is None else read_prompts(self.prompts, volume)
        names = {it.id: it.name for it in loaded}
        points = {it.id: it.points for it in loaded}
        for number, more in typed.items():
            points[number] = (*points.get(number, ()), *place(more, volume, self.mm).points)
        require_positive(points)
        return [ObjectPrompts(n, points[n], names.get(n, "")) for n in sorted(points)]


@dataclass(frozen=True)
class FoundObject:
    """One object of the mask.

    Parameters
    ----------
    id
        Its label in the mask.
    voxels, volume_ml
        Its size.
    score
        Overlap with the truth (IoU) that the model expects, 0 to 1.
    seconds
        Time of the prediction, without loading the model.
    centroid
        Centre of mass in stored voxel indices (i, j, k); None when there is no voxel, or the image
        came from no file.
    name
        Empty when it has none.
    """

    id: int
    voxels: int
    volume_ml: float
    score: float
    seconds: float
    centroid: Point3 | None
    name: str = ""

    def sentence(self) -> str:
        """All of it on one line."""
        size = f"{self.voxels} voxels, {self.volume_ml:.2f} ml" if self.voxels else "nothing found"
        if self.centroid is not None:
            size += " around " + ",".join(f"{c:.1f}" for c in self.centroid)
        score = f"expected overlap {self.score:.2f}"
        name = f" ({' '.join(self.name.split())})" if self.name else ""
        return f"Object {self.id}{name}: {size}, {score}, {self.seconds:.1f} s"


def segment_objects(
    volume: Volume, prompts: Mapping[int, Prompts], settings: InferenceSettings, quiet: bool
) -> tuple[np.ndarray, list[FoundObject]]:
    """Label map of the whole volume, and what is in it.

    Parameters
    ----------
    volume
        The image.
    prompts
        What was said about each object, by its label; the first to claim a voxel keeps it.
    settings
        Model, device, precision and threshold.
    quiet
        Without a progress bar, which is otherwise drawn on stderr when that is a terminal.
    """
    from tqdm import tqdm

    from napari_sam3d.engine.predictor import load_predictor

    labels = np.zeros(volume.grid.shape, np.uint8 if max(prompts) < 256 else np.uint16)
    objects = []
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=1 + len(prompts), leave=False, disable=hidden, file=sys.stderr) as progress:
        progress.set_description(f"Loading {settings.model}")
        predictor = load_predictor(settings)
        progress.update()
        for number, said in prompts.items():
            progress.set_description(f"Object {number}")
            prediction = predictor.predict(volume, said)
            block = labels[prediction.window]
            own = prediction.mask & (block == 0)
            block[own] = number
            start = [s.start for s in prediction.window]
            objects.append(_found(number, own, start, volume, prediction))
            progress.update()
    return labels, objects


def _found(
    number: int, own: np.ndarray, start: list[int], volume: Volume, prediction: Any
) -> FoundObject:
    voxels = int(np.count_nonzero(own))
    voxel_ml = abs(float(np.linalg.det(volume.grid.affine[:3, :3]))) / 1000
    centroid = None
    if voxels and volume.source is not None:
        per_axis = [own.sum(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
        center = np.array([np.average(np.arange(len(n)), weights=n) for n in per_axis]) + start
        i, j, k = (round(float(c), 2) for c in volume.source.to_stored(center))
        centroid = (i, j, k)
    return FoundObject(
        id=number,
        voxels=voxels,
        volume_ml=round(voxels * voxel_ml, 4),
        score=round(float(prediction.score), 4),
        seconds=round(float(prediction.seconds), 3),
        centroid=centroid,
    )


def write_names(mask: Path, objects: Sequence[FoundObject]) -> None:
    """Write the names of the objects beside the mask, when they have any or older ones are there.

    A mask that was replaced would else be described by what its forerunner held.
    """
    from napari_sam3d.io.label_names import LabelName, sidecar_path, write_label_names

    if not any(it.name for it in objects) and not sidecar_path(mask).exists():
        return
    try:
        write_label_names(mask, [LabelName(it.id, it.name, None, it.volume_ml) for it in objects])
    except ValueError as error:  # the mask itself is written
        print(error, file=sys.stderr)


def stem(path: Path) -> str:
    """Name of a file without .nii, .nii.gz and the like."""
    return re.sub(r"\.(nii|hdr|img)(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def check_output(output: Path, image: Path, overwrite: bool) -> None:
    """ValueError or OSError when the mask cannot be written, before any time is spent on it."""
    if not output.name.lower().endswith(NIFTI_SUFFIXES):
        raise ValueError(f"The mask {output} must end in .nii or .nii.gz.")
    check_folder(output.parent)
    if output.exists():
        if image.exists() and output.samefile(image):
            raise ValueError(f"The mask must not replace the image {image}.")
        if output.is_dir():
            raise IsADirectoryError(f"The mask {output} is a folder.")
        if not overwrite:
            raise FileExistsError(f"{output} exists; --overwrite replaces it.")


def check_prompts(path: Path, overwrite: bool) -> None:
    """ValueError or OSError when prompts cannot be written."""
    if path.suffix.lower() != ".json":
        raise ValueError(f"The file of prompts {path} must end in .json.")
    check_folder(path.parent)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; --overwrite replaces it.")


def check_folder(folder: Path) -> None:
    """OSError when no file can be written into the folder."""
    if not folder.is_dir():
        raise NotADirectoryError(f"There is no folder {folder} to write into.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(f"Nothing can be written into {folder}: {error.strerror}.") from error
