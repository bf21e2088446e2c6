"""Whether a volume is open in the viewer, as which layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image

from napari_sam3d.io import nifti_stem
from napari_sam3d.plugin.layers.convert import volume_from_layer
from napari_sam3d.plugin.layers.origin import same_voxels
from napari_sam3d.plugin.session.frames import step_of
from napari_sam3d.plugin.tuning.layer_pairs import images_of
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel


def open_image(viewer: ViewerModel, volume: Volume, known: Image | None = None) -> Image | None:
    """The layer of a volume: the one it came from, that of the same file, or of the same name.

    Parameters
    ----------
    viewer
        Its layers are looked through.
    volume
        What is looked for.
    known
        The layer that it came from.
    """
    images = images_of(viewer)
    if known in images:
        return known
    for image in images:
        try:
            shown = volume_from_layer(image, step_of(viewer, image))
        except ValueError:
            continue
        if not same_voxels(shown, volume):
            continue
        if volume.source is not None and shown.source is not None:
            if volume.source.path and volume.source.path == shown.source.path:
                return image
        elif nifti_stem(volume.name) == image.name:
            return image
    return None
