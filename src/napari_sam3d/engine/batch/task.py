"""One case of a batch: paths and settings, nothing heavy, so that it travels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_sam3d.io.stamps import Stamp
from napari_sam3d.settings import InferenceSettings


@dataclass(frozen=True)
class Task:
    """One case of a batch.

    Parameters
    ----------
    case
        Its name, unique in the batch.
    image
        The file.
    prompts
        The file of what is said about it; None when the model is to find it by itself.
    mask
        The file to be written.
    settings
        How; an adapter is named by its path.
    stamp
        Of the image and the prompts.
    batch
        The number of the batch, by which a worker knows that it sees the right folder.
    """

    case: str
    image: Path
    prompts: Path | None
    mask: Path
    settings: InferenceSettings
    stamp: Stamp = ()
    batch: str = ""
