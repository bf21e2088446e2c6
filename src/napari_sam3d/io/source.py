"""What is kept of a NIfTI file, so that another one can be written on the same voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import Nifti1Header as Header  # which Nifti2Header is a kind of
from nibabel import Nifti2Header

from napari_sam3d.io.affine import choose_affine, display_to_stored
from napari_sam3d.io.errors import NiftiError
from napari_sam3d.volume import Grid, Shape3

RAS_TO_WORLD = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
"""From (R, A, S) mm to the world of a `Grid`, (-S, -A, -R) mm; it is its own inverse."""

_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
LONGEST_NIFTI1 = 32767
"""Voxels along an axis of a NIfTI-1 file, at most."""
_FRESH_CODE = 2  # "aligned": coordinates come from the layer, not from a scanner


@dataclass(frozen=True, eq=False)
class NiftiSource:
    """What has to be kept of a NIfTI file to write another one on the same voxels.

    Parameters
    ----------
    path
        The file, absolute.
    raw_header
        Its first 348 (NIfTI-1) or 540 (NIfTI-2) bytes, unrepaired.
    endian
        Byte order of the header, "<" or ">".
    stored_shape
        Voxels along the stored axes (i, j, k).
    affine
        4 x 4 float64 matrix from stored (i, j, k) to (R, A, S) millimetres.
    display_to_stored
        4 x 4 integer matrix from display (z, y, x) to stored (i, j, k) indices.
    affine_source
        Where the affine came from: "sform", "qform" or "pixdim".
    unit_factor
        Millimetres per unit of the file; already in `affine`.
    warnings
        Sentences for the user about repairs that reading needed.
    extensions
        The header extensions (DICOM, AFNI, comments), as they are on disk; images keep them.
    """

    path: str
    raw_header: bytes
    endian: str
    stored_shape: Shape3
    affine: np.ndarray
    display_to_stored: np.ndarray
    affine_source: str
    unit_factor: float
    warnings: tuple[str, ...] = ()
    extensions: bytes = b""

    @property
    def header(self) -> Header:
        """A fresh nibabel header of the stored bytes, without repairs."""
        kind = Header if len(self.raw_header) == 348 else Nifti2Header
        return kind(self.raw_header, self.endian, check=False)

    @cached_property
    def grid(self) -> Grid:
        """The grid of the display array."""
        shape = np.abs(self.display_to_stored[:3, :3]).T @ np.asarray(self.stored_shape)
        z, y, x = shape.tolist()
        return Grid((z, y, x), RAS_TO_WORLD @ self.affine @ self.display_to_stored)

    def to_stored(self, points_voxel: np.ndarray) -> np.ndarray:
        """Stored (i, j, k) indices of display (z, y, x) voxels, (..., 3) -> (..., 3)."""
        return _apply(self.display_to_stored, points_voxel)

    def to_display(self, points_ijk: np.ndarray) -> np.ndarray:
        """Display (z, y, x) voxels of stored (i, j, k) indices, (..., 3) -> (..., 3)."""
        turn, shift = self.display_to_stored[:3, :3], self.display_to_stored[:3, 3]
        return (np.asarray(points_ijk) - shift) @ turn  # the inverse of a signed permutation

    def to_ras(self, points_voxel: np.ndarray) -> np.ndarray:
        """(R, A, S) millimetres of display (z, y, x) voxels, (..., 3) -> (..., 3)."""
        return _apply(self.affine, self.to_stored(points_voxel))

    def from_ras(self, points_mm: np.ndarray) -> np.ndarray:
        """Display (z, y, x) voxels of (R, A, S) millimetres, (..., 3) -> (..., 3)."""
        return self.to_display(_apply(np.linalg.inv(self.affine), points_mm))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `layer.metadata`; the way back is `from_dict`."""
        return {
            "path": self.path,
            "raw_header": self.raw_header,
            "endian": self.endian,
            "stored_shape": self.stored_shape,
            "affine": self.affine.tolist(),
            "display_to_stored": self.display_to_stored.tolist(),
            "affine_source": self.affine_source,
            "unit_factor": self.unit_factor,
            "warnings": self.warnings,
            "extensions": self.extensions,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NiftiSource:
        """The source that `as_dict` described; other keys are ignored.

        Raises
        ------
        KeyError
            When a value is missing.
        """
        i, j, k = values["stored_shape"]
        return cls(
            path=values["path"],
            raw_header=values["raw_header"],
            endian=values["endian"],
            stored_shape=(i, j, k),
            affine=np.array(values["affine"], np.float64),
            display_to_stored=np.array(values["display_to_stored"], np.int64),
            affine_source=values["affine_source"],
            unit_factor=values["unit_factor"],
            warnings=tuple(values["warnings"]),
            extensions=values.get("extensions", b""),
        )


@np.errstate(all="ignore")  # what comes of odd numbers is looked at, not warned of
def describe(header: Header, path: str, extensions: bytes = b"") -> NiftiSource:
    """The source of a checked header.

    Raises
    ------
    NiftiError
        When the header does not say how the axes lie in space.
    """
    dim = [int(n) for n in header["dim"]]
    ndim = dim[0]
    shape = (dim[1], dim[2] if ndim > 1 else 1, dim[3] if ndim > 2 else 1)
    try:
        affine, affine_source, doubts = choose_affine(header, shape)
    except ValueError as error:
        raise NiftiError(
            f"{Path(path).name} is damaged: {error}; have its orientation written anew."
        ) from error
    unit_factor = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    affine[:3] *= unit_factor
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        doubts.append("The axes of the file are not at right angles; some programs refuse it.")
    return NiftiSource(
        path=path,
        raw_header=header.binaryblock,
        endian=">" if header.endianness == ">" else "<",
        stored_shape=shape,
        affine=affine,
        display_to_stored=display_to_stored(affine, shape),
        affine_source=affine_source,
        unit_factor=unit_factor,
        warnings=tuple(doubts),
        extensions=extensions,
    )


def fresh_source(grid: Grid) -> NiftiSource:
    """The source that a file has which is written for a grid without one; its path is empty.

    It is stored toward left, posterior and superior, as DICOM does.
    """
    z, y, x = grid.shape
    d2s = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, z - 1], [0, 0, 0, 1]])
    affine = RAS_TO_WORLD @ grid.affine @ np.linalg.inv(d2s)
    header = fresh_header((x, y, z), affine)
    return NiftiSource(
        path="",
        raw_header=header.binaryblock,
        endian="<",
        stored_shape=(x, y, z),
        affine=affine,
        display_to_stored=d2s,
        affine_source="sform",
        unit_factor=1.0,
    )


def fresh_header(shape: Shape3, affine: np.ndarray) -> Header:
    """Little-endian header that says an affine, (i, j, k) to (R, A, S) mm, in both forms."""
    header = (Nifti2Header if max(shape) > LONGEST_NIFTI1 else Header)(endianness="<")
    header["dim"][:4] = [3, *shape]
    header.set_qform(affine, _FRESH_CODE)
    header.set_sform(affine, _FRESH_CODE)
    finest = np.linalg.norm(affine[:3, :3], axis=0).min()
    if not np.allclose(header.get_qform(), affine, atol=1e-3 * finest):
        header["qform_code"] = 0  # a sheared grid, which a qform cannot say
    header.set_xyzt_units("mm")
    return header


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]
