"""`napari-sam3d demo`: one object of one image, shown in napari or as a picture."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from napari_sam3d.catalog import model_spec
from napari_sam3d.cli.points import parse_points, place
from napari_sam3d.cli.segment import check_folder, segment_objects, stem
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Segment a sample, or an image of yours, and look at the result.

    With a screen napari opens with the image, the points and the mask. Without one, or with
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
        model_spec(self.settings.model)
        check_folder(self.output)
        volume, prompts, sample = self._load()
        labels, objects = segment_objects(volume, prompts, self.settings, quiet=False)
        print("\n".join(found.sentence() for found in objects))
        if not self.no_view and (reason := no_screen()) is None:
            show(volume, labels, prompts, sample)
            return
        if not self.no_view:
            print(f"{reason}; writing files instead of opening napari.")
        for path in write(volume, labels, prompts, self.output):
            print(path)

    def _load(self) -> tuple[Volume, dict[int, Prompts], str | None]:
        """The image, what is said about it, and the sample's name when it is one."""
        from napari_sam3d.io import read_nifti
        from napari_sam3d.samples import SAMPLES, load_sample

        if self.image in SAMPLES:
            sample = load_sample(self.image)
            if not (self.point or self.negative):
                clicks = Prompts().add(Point(sample.click_voxel))
                return sample.volume, {1: clicks}, self.image
            typed = parse_points(self.point, self.negative)
            volume, name = sample.volume, self.image
        else:
            path = Path(self.image)
            if not path.exists():
                known = ", ".join(SAMPLES)
                raise ValueError(f"{self.image} is neither a file nor a sample ({known}).")
            typed = parse_points(self.point, self.negative)
            volume, name = read_nifti(path), None
        return volume, {n: place(points, volume, self.mm) for n, points in typed.items()}, name


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
    volume: Volume, labels: np.ndarray, prompts: dict[int, Prompts], folder: Path
) -> tuple[Path, Path]:
    """Write the mask and the picture under names that are still free."""
    from napari_sam3d.io import write_labels
    from napari_sam3d.picture import three_plane_picture

    name, number = f"{stem(Path(volume.name))}_demo", 1
    mask, picture = folder / f"{name}.nii.gz", folder / f"{name}.png"
    while mask.exists() or picture.exists():
        number += 1
        mask, picture = folder / f"{name}-{number}.nii.gz", folder / f"{name}-{number}.png"
    write_labels(mask, labels, volume.grid, volume.source)
    points = [point for said in prompts.values() for point in said.points]
    three_plane_picture(volume, labels, picture, points=points)
    return mask, picture


def show(
    volume: Volume, labels: np.ndarray, prompts: dict[int, Prompts], sample: str | None
) -> None:
    """Open napari with the image, the mask, the points and the Segment dock, until it closes."""
    import napari

    viewer = napari.Viewer(title="napari-sam3d demo")
    if sample is not None:
        (image, *_) = viewer.open_sample("napari-sam3d", sample)
    else:
        assert volume.source is not None
        (image, *_) = viewer.open(volume.source.path, plugin="napari-sam3d")
    scale, translate = volume.grid.layer_transform()
    place_like = {"scale": scale, "translate": translate}
    viewer.add_labels(
        labels, name=f"{image.name} mask", metadata=dict(image.metadata), **place_like
    )
    points = [point for said in prompts.values() for point in said.points]
    viewer.add_points(
        np.array([point.position_voxel for point in points]),
        name=f"{image.name} points",
        face_color=["lime" if point.positive else "red" for point in points],
        size=5,
        **place_like,
    )
    viewer.window.add_plugin_dock_widget("napari-sam3d", "Segment")
    viewer.dims.set_point(
        (0, 1, 2), np.add(translate, np.multiply(scale, points[0].position_voxel))
    )
    napari.run()
