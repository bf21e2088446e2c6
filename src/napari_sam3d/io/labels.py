"""Is this file a label map?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3d.io.header import scaling_of
from napari_sam3d.io.source import NiftiSource
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari_sam3d.io.read import NiftiImage

LABEL_INTENT = 1002
_COMPLEX = (32, 1792)
_LABEL_NAME = re.compile(
    r"(^|[._-])(seg|segmentation|label|labels|mask|gt|roi|aseg|aparc)([._-]|$)", re.IGNORECASE
)


def is_labels(image: NiftiImage | Volume) -> bool:
    """Whether a file is a label map rather than an image.

    Its values must be whole numbers without scaling, and the header's intent or a word of the
    file name (seg, label, mask, ...) must say so.
    """
    source, data = image.source, image.data
    if source is None or getattr(image, "rgb", False):
        return False
    if not (says_labels(source) or _LABEL_NAME.search(image.name)):
        return False
    if scaling_of(source.header, []) is not None or int(source.header["datatype"]) in _COMPLEX:
        return False
    if data.dtype.kind in "iu":
        return True
    if not isinstance(data, np.ndarray):  # too large to be looked through
        return False
    return all(bool((np.isfinite(part) & (part == np.rint(part))).all()) for part in data)


def says_labels(source: NiftiSource) -> bool:
    """Whether the header says that the values are labels."""
    return int(source.header["intent_code"]) == LABEL_INTENT
