"""npe2 reader: NIfTI files as layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning

from napari_sam3d.io import read_nifti
from napari_sam3d.plugin.layers import layer_data

if TYPE_CHECKING:
    from napari.types import LayerDataTuple

Paths = str | Sequence[str]
_VISIBLE_TILT_DEG = 0.5


def get_reader(path: Paths) -> Callable[[Paths], list[LayerDataTuple]] | None:
    """`read` when every path has the name of a NIfTI file, else None.

    napari calls this by keyword, so the parameter has to be called `path`.
    """
    paths = [path] if isinstance(path, str) else [str(p) for p in path]
    is_nifti = all(p.lower().endswith((".nii", ".nii.gz")) for p in paths)
    return read if paths and is_nifti else None


def read(path: Paths) -> list[LayerDataTuple]:
    """One layer per file: labels when the file says so, else an image.

    Raises
    ------
    NiftiError
        With one sentence for the user.
    """
    layers = []
    for one in [path] if isinstance(path, str) else path:
        volume = read_nifti(one)
        for warning in volume.source.warnings if volume.source else ():
            show_warning(f"{volume.name}: {warning}")
        if volume.grid.tilt_deg > _VISIBLE_TILT_DEG:
            show_info(
                f"{volume.name} is shown in its own slice planes; its tilt of "
                f"{volume.grid.tilt_deg:.1f} degrees is kept when masks are saved."
            )
        layers.append(layer_data(volume))
    return layers
