"""What is to be written to a NIfTI file: everything decided, nothing done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3d.io import NiftiSource, nifti_stem, write_image, write_labels
from napari_sam3d.io.label_names import (
    LabelName,
    count_labels,
    itksnap_left_out,
    label_volumes,
    write_itksnap,
    write_label_names,
)
from napari_sam3d.io.source import LONGEST_NIFTI1
from napari_sam3d.plugin.session.names import Colors
from napari_sam3d.volume import Grid

_LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Export:
    """One file, and what will be in it; `write` may run in any thread.

    Parameters
    ----------
    path
        The NIfTI file, with its extension.
    data
        Array ([t,] z, y, x[, colour]).
    grid
        Where its voxels are.
    source
        The file whose header is kept, if there is one.
    is_labels, rgb
        Whether the values are labels, or the last axis colours.
    titles, colors, categories
        Names of labels by id, how to find their colours, and what they are one of.
    replace_source
        Whether the file may be the source itself.
    itksnap
        Whether ITK-SNAP's label description is written beside it.
    """

    path: Path
    data: Any
    grid: Grid
    source: NiftiSource | None = None
    is_labels: bool = True
    rgb: bool = False
    titles: Mapping[int, str] = field(default_factory=dict)
    colors: Colors = lambda labels: {}
    categories: Mapping[int, str] = field(default_factory=dict)
    replace_source: bool = False
    itksnap: bool = False

    def write(self) -> tuple[Path, tuple[str, ...]]:
        """Write the file, and the names of its labels beside it, over older ones.

        Returns
        -------
        tuple
            The file, and sentences about what the user should know.

        Raises
        ------
        ValueError, OSError
            With one sentence, when the file is not written; what was there is then untouched.
        """
        options = {"overwrite": True, "replace_source": self.replace_source}
        if not self.is_labels:
            path = write_image(
                self.path, self.data, self.grid, self.source, rgb=self.rgb, **options
            )
            return path, self._doubts(())
        path = write_labels(self.path, self.data, self.grid, self.source, **options)
        names = self.names()
        notes = list(self._doubts(names))
        try:
            write_label_names(self.path, names)
            if self.itksnap:
                write_itksnap(itksnap_path(self.path), names, overwrite=True)
        except (ValueError, OSError) as error:
            notes.append(f"The mask {path.name} is saved, the names of its labels are not: {error}")
        if self.itksnap:
            notes += itksnap_notes(names)
        return path, tuple(notes)

    def names(self) -> tuple[LabelName, ...]:
        """Every label that is named or has a voxel."""
        data = np.asarray(self.data)
        volumes: Mapping[int, float | None]
        if data.ndim == 3:
            volumes = dict.fromkeys(self.titles, 0.0) | label_volumes(data, self.grid)
        else:  # a film has no one volume
            volumes = dict.fromkeys({*self.titles, *count_labels(data)})
        colors, titles, categories = self.colors(volumes), self.titles, self.categories
        return tuple(
            LabelName(n, titles.get(n, ""), colors.get(n), volumes[n], categories.get(n, ""))
            for n in sorted(volumes)
        )

    def _doubts(self, names: tuple[LabelName, ...]) -> tuple[str, ...]:
        """Sentences about who will not be able to read the file."""
        long = self.source is not None and len(self.source.raw_header) == 540
        if long or max(self.grid.shape) > LONGEST_NIFTI1:
            return (
                f"{self.path.name} is a NIfTI-2 file, which programs built on ITK (3D Slicer, "
                "ITK-SNAP) cannot read.",
            )
        ids = [it.id for it in names if it.volume_ml != 0]
        if ids and not -_LARGEST_INT32 - 1 <= min(ids) <= max(ids) <= _LARGEST_INT32:
            return (
                f"{self.path.name} has labels beyond 32 bits, which some programs cannot read.",
            )
        return ()


def itksnap_notes(names: tuple[LabelName, ...]) -> tuple[str, ...]:
    """A sentence about labels that ITK-SNAP cannot hold, if there are any."""
    left_out = itksnap_left_out(names)
    if not left_out:
        return ()
    return (f"ITK-SNAP cannot hold the labels {listing(left_out)}; they are left out of its file.",)


def itksnap_path(mask: Path) -> Path:
    """Where ITK-SNAP's label description of a mask goes."""
    return mask.with_name(f"{nifti_stem(mask.name)}_labels.txt")


def safe_name(name: str) -> str:
    """A layer's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "layer"


def listing(items: Any, most: int = 5) -> str:
    """Some of many things in one sentence: "1, 2, 3 and 7 more"."""
    texts = [str(item) for item in items]
    shown = ", ".join(texts[:most])
    return shown if len(texts) <= most else f"{shown} and {len(texts) - most} more"
