"""`napari-sam3d demo`: one object of one image, shown in napari or as a picture."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli.objects import segment_objects
from napari_sam3d.cli.points import parse_points, place, require_positive
from napari_sam3d.cli.writable import check_folder
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.takes import check_usable
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari_sam3d.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Segment a sample, or an image of yours, and look at the result.

    With a screen napari opens, with the points in its Segment dock. Without one, or with
    --no-view, the mask (NIfTI) and a picture of it in three planes (PNG) are written.

    A sample has its own point; an image of yours needs --point:

    napari-sam3d demo ct.nii.gz --point 120,88,40
    """

    image: Positional[Annotated[str, arg(metavar="IMAGE")]] = "phantom"
    """Name of a sample, or a NIfTI file."""
    point: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[ID:]I,J,K")] = ()
    """Point inside an object; `segment --help` explains the numbers."""
    negative: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="[ID:]I,J,K")] = ()
    """Point outside an object."""
    mm: bool = False
    """Points are in RAS millimetres instead of stored voxel indices."""
    no_view: bool = False
    """Write files even when there is a screen."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="FOLDER")] = Path(".")
    """Folder for the files."""
    settings: OmitArgPrefixes[InferenceSettings] = field(default_factory=InferenceSettings)

    def run(self) -> None:
        """Segment, then show or write."""
        spec = model_spec(self.settings.model)
        check_folder(self.output)
        volume, prompts, sample = self._load()
        check_usable(spec, {number: said.points for number, said in prompts.items()}, ())
        if not self.no_view:
            reason = no_screen()
            if reason is None:
                show(volume, prompts, self.image if sample else None, self.settings)
                return
            print(f"{reason}: the result is written to files.")
        found = segment_objects(volume, prompts, self.settings, quiet=False)
        print("\n".join(it.sentence() for it in found.objects))
        limits = sample.contrast_limits if sample else None
        for path in write(volume, found.labels, prompts, self.output, limits):
            print(path)

    def _load(self) -> tuple[Volume, dict[int, Prompts], Sample | None]:
        """The image, what is said about it, and the sample when it is one."""
        from napari_sam3d.io import read_nifti
        from napari_sam3d.samples import SAMPLES, load_sample

        if self.image in SAMPLES:
            if self.point or self.negative:
                raise ValueError("A sample has its own point; --point is for an image of yours.")
            sample = load_sample(self.image)
            return sample.volume, {1: Prompts((Point(sample.click_voxel),))}, sample
        path = Path(self.image)
        if not path.exists():
            known = ", ".join(SAMPLES)
            raise ValueError(f"{self.image} is neither a file nor a sample ({known}).")
        typed = parse_points(self.point, self.negative)
        require_positive(typed)
        volume = read_nifti(path)
        return volume, {n: place(points, volume, self.mm) for n, points in typed.items()}, None


def no_screen() -> str | None:
    """Why no window can be opened; None when one can."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "There is no display"
    try:
        import qtpy.QtWidgets  # noqa: F401
    except (ImportError, RuntimeError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return f"Qt cannot be used ({text}; `pip install 'napari-sam3d[all]'` brings it)"
    return None


def write(
    volume: Volume,
    labels: np.ndarray,
    prompts: Mapping[int, Prompts],
    folder: Path,
    contrast_limits: tuple[float, float] | None = None,
) -> tuple[Path, Path]:
    """Write the mask and the picture under names that are still free."""
    from napari_sam3d.io import nifti_stem, write_labels
    from napari_sam3d.picture import three_plane_picture

    name, number = f"{nifti_stem(volume.name)}_demo", 1
    mask, picture = folder / f"{name}.nii.gz", folder / f"{name}.png"
    while mask.exists() or picture.exists():
        number += 1
        mask, picture = folder / f"{name}-{number}.nii.gz", folder / f"{name}-{number}.png"
    write_labels(mask, labels, volume.grid, volume.source)
    points = [point for said in prompts.values() for point in said.points]
    three_plane_picture(volume, labels, picture, points, window=contrast_limits)
    return mask, picture


def show(
    volume: Volume, prompts: Mapping[int, Prompts], sample: str | None, settings: InferenceSettings
) -> None:
    """Open napari with the image and the Segment dock, and place the points there.

    Returns when the window is closed. The dock then finds the masks, as it does for a user.
    """
    import napari

    viewer = napari.Viewer(title="napari-sam3d demo")
    if sample is not None:
        viewer.open_sample("napari-sam3d", sample)
    else:
        assert volume.source is not None
        viewer.open(volume.source.path, plugin="napari-sam3d", layer_type="image")
    _, dock = viewer.window.add_plugin_dock_widget("napari-sam3d", "Segment")
    dock.set_value(settings)
    for number, said in prompts.items():
        dock.session.select(number)
        for point in said.points:
            dock.session.prompt_layer.add(np.asarray(point.position_voxel), point.positive)
    scale, translate = volume.grid.layer_transform()
    shown = next(iter(prompts.values())).points[0].position_voxel
    viewer.dims.set_point((0, 1, 2), np.add(translate, np.multiply(scale, shown)))
    napari.run()
