"""NIfTI files to volumes and back: the only code that knows stored (i, j, k)."""

from napari_sam3d.io.errors import NiftiError, TooLarge
from napari_sam3d.io.labels import is_labels
from napari_sam3d.io.read import (
    NiftiImage,
    is_nifti_name,
    nifti_stem,
    open_nifti,
    open_steps,
    read_nifti,
)
from napari_sam3d.io.source import NiftiSource, fresh_source
from napari_sam3d.io.unpack import unpack_steps
from napari_sam3d.io.write import write_image, write_labels

__all__ = [
    "NiftiError",
    "NiftiImage",
    "NiftiSource",
    "TooLarge",
    "fresh_source",
    "is_labels",
    "is_nifti_name",
    "nifti_stem",
    "open_nifti",
    "open_steps",
    "read_nifti",
    "unpack_steps",
    "write_image",
    "write_labels",
]
