"""NIfTI files to volumes and back: the only code that knows stored (i, j, k)."""

from napari_sam3d.io.read import is_labels, read_nifti
from napari_sam3d.io.source import NiftiError, NiftiSource
from napari_sam3d.io.write import write_image, write_labels

__all__ = [
    "NiftiError",
    "NiftiSource",
    "is_labels",
    "read_nifti",
    "write_image",
    "write_labels",
]
