"""The intensities a network was trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_sam3d.catalog import Intensity
from napari_sam3d.engine.resample import normalise


def apply_intensity(intensity: Intensity, image: Tensor, inside: Tensor) -> Tensor:
    """A patch with the intensities that a network wants, 0 outside the volume.

    Parameters
    ----------
    intensity
        What the network wants.
    image
        (d, h, w) as in the file; not-a-number and infinities count as 0.
    inside
        bool (d, h, w), false where the patch is outside the volume.
    """
    if intensity.kind == "percentiles":
        return normalise(image)
    image = torch.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    if intensity.kind == "window":
        scaled = (image.clamp(intensity.low, intensity.high) - intensity.mean) / intensity.std
        return torch.where(inside, scaled, 0.0)
    from napari_sam3d.engine.models.sam_med3d.preprocess import normalise as normalise_positive

    return normalise_positive(torch.where(inside, image, 0.0))  # the padding is scaled, too
