"""The geometry of a NIfTI file: which header bytes mean what, and where its voxels are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from nibabel import Nifti1Header as Header  # which Nifti2Header is a kind of
from nibabel import Nifti2Header
from nibabel.orientations import (
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from nibabel.quaternions import quat2mat
from nibabel.volumeutils import shape_zoom_affine

from napari_sam3d.volume import Grid, Shape3

RAS_TO_WORLD = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
"""From (R, A, S) mm to the world of a `Grid`, (-S, -A, -R) mm; it is its own inverse."""

_MM_PER_UNIT = {1: 1000.0, 3: 0.001}


class NiftiError(ValueError):
    """A file that cannot be used, said in one sentence for the user."""


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
        )


def describe(header: Header, path: str) -> NiftiSource:
    """The source of a checked header of a three-dimensional file."""
    dim = [int(n) for n in header["dim"]]
    ndim = dim[0]
    shape = (dim[1], dim[2] if ndim > 1 else 1, dim[3] if ndim > 2 else 1)
    affine, affine_source, doubts = choose_affine(header, shape)
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
    )


def display_to_stored(affine: np.ndarray, shape: Shape3) -> np.ndarray:
    """Integer matrix from display (z, y, x) to stored (i, j, k) indices.

    The display axes are the stored ones, reversed and permuted to point most nearly toward
    inferior, posterior and left.

    Parameters
    ----------
    affine
        4 x 4, stored (i, j, k) to (R, A, S) mm.
    shape
        Stored shape.
    """
    turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPI"))
    reverse = np.eye(4)[[2, 1, 0, 3]]
    return np.rint(inv_ornt_aff(turn, shape) @ reverse).astype(np.int64)


def display_view(stored: np.ndarray, d2s: np.ndarray) -> np.ndarray:
    """View of a stored array (i, j, k) in display order (z, y, x)."""
    order, flipped = _turn(d2s)
    return np.flip(stored, flipped).transpose(np.argsort(order))


def stored_view(display: np.ndarray, d2s: np.ndarray) -> np.ndarray:
    """View of a display array (z, y, x) in stored order (i, j, k)."""
    order, flipped = _turn(d2s)
    return np.flip(display.transpose(order), flipped)


def choose_affine(header: Header, shape: Shape3) -> tuple[np.ndarray, str, list[str]]:
    """The affine of a header in the file's own units, which form it is, and doubts about it.

    The sform wins when it is coded and invertible, then the qform, then the voxel size alone
    by nibabel's convention (left, anterior, superior; origin in the centre).
    """
    sform, qform = _sform(header), _qform(header)
    doubts = []
    if int(header["sform_code"]) > 0 and sform is None:
        doubts.append("The sform of the file is damaged and was not used.")
    if int(header["qform_code"]) > 0 and qform is None:
        doubts.append("The qform of the file is damaged and was not used.")
    if sform is not None:
        if qform is not None and _corner_distance(sform, qform, shape) > 0.1:
            doubts.append(
                "The two orientations in the file (sform and qform) differ; the sform is used, "
                "other programs may use the qform."
            )
        return sform, "sform", doubts
    if qform is not None:
        return qform, "qform", doubts
    doubts.append("The file has no orientation: left and right are unknown.")
    return shape_zoom_affine(shape, _voxel_size(header), x_flip=True), "pixdim", doubts


def _sform(header: Header) -> np.ndarray | None:
    affine = np.eye(4)
    affine[:3] = [header["srow_x"], header["srow_y"], header["srow_z"]]
    if int(header["sform_code"]) <= 0 or not np.isfinite(affine).all():
        return None
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (lengths > 0).all() or abs(np.linalg.det(affine[:3, :3] / lengths)) <= 1e-6:
        return None
    return affine


def _qform(header: Header) -> np.ndarray | None:
    affine = np.eye(4)
    if int(header["qform_code"]) <= 0:
        return None
    try:
        turn = quat2mat(header.get_qform_quaternion())
    except ValueError:
        return None
    qfac = -1 if header["pixdim"][0] < 0 else 1
    affine[:3, :3] = turn * _voxel_size(header) * [1, 1, qfac]
    affine[:3, 3] = [header["qoffset_x"], header["qoffset_y"], header["qoffset_z"]]
    return affine if np.isfinite(affine).all() else None


def _voxel_size(header: Header) -> np.ndarray:
    size = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    return np.where(np.isfinite(size) & (size > 0), size, 1.0)


def _corner_distance(first: np.ndarray, second: np.ndarray, shape: Shape3) -> float:
    """Largest distance of a corner between two affines, in voxels of the first."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1)
    apart = np.linalg.solve(first[:3, :3], _apply(second, corners.T).T - first[:3, 3:]) - corners
    return float(np.abs(apart).max())


def _turn(d2s: np.ndarray) -> tuple[list[int], tuple[int, ...]]:
    """Display axis behind each stored axis, and the stored axes that run backwards."""
    order = np.abs(d2s[:3, :3]).argmax(axis=1)
    signs = d2s[np.arange(3), order]
    return order.tolist(), tuple(np.flatnonzero(signs < 0).tolist())


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]
