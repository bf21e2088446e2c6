"""`napari-sam3d segment`: prompts in a NIfTI image, or none, become a NIfTI label map."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli.boxes import TypedBox, parse_boxes, place_box
from napari_sam3d.cli.objects import (
    check_proposes,
    segment_classes,
    segment_objects,
    segment_proposed,
)
from napari_sam3d.cli.points import TypedPoint, parse_points, place
from napari_sam3d.cli.takes import check_enough
from napari_sam3d.cli.writable import check_free
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.takes import check_usable
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari_sam3d.io.prompt_rows import ObjectPrompts

NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Segment objects of a NIfTI image from points, boxes or nothing, as the model takes them.

    A point is three numbers i,j,k: stored voxel indices, counted from 0, as ITK-SNAP's or
    nibabel's arrays have them (ITK-SNAP's cursor shows them plus one), or with --mm RAS
    millimetres. Each --point lies inside the object, each --negative outside. With `id:` before
    the numbers the point belongs to another object than the first; every object becomes the
    label of its id in the one mask that is written, and voxels that two objects claim stay with
    the lower id. A --box is two opposite corners; the voxels of both belong to it. Models that
    find their classes by themselves take no prompt, and each class becomes a label. So does each
    class of an adapter when nothing is said: a mask is proposed where it is to be expected.

    One object, corrected by a negative point:

    napari-sam3d segment ct.nii.gz --point 120,88,40 --negative 131,90,40

    Two objects, in millimetres, with the name of the mask:

    napari-sam3d segment ct.nii.gz --mm --point -12.5,3,40 --point 2:30,8,41.5 -o two.nii.gz

    A box, and a model without prompts (`napari-sam3d models` lists what each takes):

    napari-sam3d segment ct.nii.gz --model medsam --box 90,60,30,140,110,52

    napari-sam3d segment ct.nii.gz --model ma_sam_btcv

    What an adapter proposes without a click:

    napari-sam3d segment next.nii.gz --adapter femur

    The prompts that the Segment dock saved, on another image in the same coordinates:

    napari-sam3d segment later.nii.gz --prompts ct_prompts.json
    """

    image: Positional[Path]
    """NIfTI image: .nii, .nii.gz or a .hdr/.img pair."""
    point: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[ID:]I,J,K")] = ()
    """Point inside an object."""
    negative: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[ID:]I,J,K")] = ()
    """Point outside an object."""
    box: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[ID:]I0,J0,K0,I1,J1,K1")] = ()
    """Box about an object."""
    mm: bool = False
    """Points and boxes are in RAS millimetres instead of stored voxel indices."""
    prompts: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Saved prompts; --point and --negative add to them, --box replaces the box of an object."""
    save_prompts: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Write all prompts to a file that --prompts and the Segment dock read."""
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
        from napari_sam3d.io import nifti_stem, read_nifti, write_labels
        from napari_sam3d.io.prompt_file import write_prompts

        spec = model_spec(self.settings.model)
        typed, boxes = parse_points(self.point, self.negative), parse_boxes(self.box)
        check_usable(spec, typed, boxes)
        silent = not (typed or boxes or self.prompts)
        adapter = self.settings.adapter
        proposing = silent and bool(adapter) and "automatic" not in spec.prompts
        facts = check_proposes(adapter) if proposing else None
        if self.prompts is None and facts is None:
            check_enough(spec, typed, boxes)
        if self.save_prompts is not None and silent:
            raise ValueError("There are no prompts to save; leave --save-prompts out.")
        output = self.output or Path(f"{nifti_stem(self.image.name)}_seg.nii.gz")
        check_output(output, self.image, self.overwrite)
        if self.save_prompts is not None:
            check_prompts(self.save_prompts, self.overwrite)
        volume = read_nifti(self.image, self.frame)
        warnings = list(volume.source.warnings) if volume.source is not None else []
        said = self._said(typed, boxes, volume)
        if facts is None:
            check_enough(
                spec,
                {it.id: it.said.clicks for it in said if it.said.clicks},
                [it.id for it in said if it.box is not None],
            )
        prompts = {it.id: Prompts(it.points, it.box, it.scribbles) for it in said}
        for warning in () if self.json else warnings:
            print(warning, file=sys.stderr)

        if prompts:
            names = {it.id: it.name for it in said}
            found = segment_objects(volume, prompts, self.settings, self.json, names)
        elif facts is not None:
            found = segment_proposed(volume, facts, self.settings, quiet=self.json)
        else:
            found = segment_classes(volume, self.settings, quiet=self.json)
        from napari_sam3d.engine.label_maps import write_names  # brings torch

        write_labels(output, found.labels, volume.grid, volume.source, overwrite=self.overwrite)
        trouble = write_names(output, found.objects)
        if trouble:
            print(trouble, file=sys.stderr)
        if self.save_prompts is not None:
            write_prompts(self.save_prompts, said, volume, overwrite=self.overwrite)
        if self.json:
            report = {
                "image": str(self.image),
                "model": self.settings.model,
                "adapter": adapter or None,
                "proposed": facts is not None,
                "output": str(output),
                "warnings": [*warnings, *found.missing],
                "objects": [asdict(it) for it in found.objects],
            }
            print(json.dumps(report))
        else:
            lines = [it.sentence(timed=bool(prompts)) for it in found.objects]
            if facts is not None:
                lines.insert(0, f"Proposed without a click by the adapter {facts.name or adapter}:")
            if not prompts:
                lines += [*found.missing, f"All of them took {found.objects[0].seconds:.1f} s"]
            print("\n".join([*lines, f"Mask: {output}"]))

    def _said(
        self,
        typed: Mapping[int, tuple[TypedPoint, ...]],
        boxes: Mapping[int, TypedBox],
        volume: Volume,
    ) -> list[ObjectPrompts]:
        """What was loaded and typed about each object, by ascending id."""
        from napari_sam3d.io.prompt_file import read_prompts
        from napari_sam3d.io.prompt_rows import ObjectPrompts

        loaded = () if self.prompts is None else read_prompts(self.prompts, volume)
        said = {it.id: it for it in loaded}
        for number, more in typed.items():
            it = said.get(number, ObjectPrompts(number))
            points = (*it.points, *place(more, volume, self.mm).points)
            said[number] = replace(it, points=points)
        for number, box in boxes.items():
            it = said.get(number, ObjectPrompts(number))
            said[number] = replace(it, box=place_box(box, volume, self.mm))
        return [said[number] for number in sorted(said)]


def check_output(output: Path, image: Path, overwrite: bool) -> None:
    """ValueError or OSError when the mask cannot be written, before any time is spent on it."""
    if not output.name.lower().endswith(NIFTI_SUFFIXES):
        raise ValueError(f"The mask {output} must end in .nii or .nii.gz.")
    if output.exists() and image.exists() and output.samefile(image):
        raise ValueError(f"The mask must not replace the image {image}.")
    check_free(output, overwrite)


def check_prompts(path: Path, overwrite: bool) -> None:
    """ValueError or OSError when prompts cannot be written."""
    if path.suffix.lower() != ".json":
        raise ValueError(f"The file of prompts {path} must end in .json.")
    check_free(path, overwrite)
