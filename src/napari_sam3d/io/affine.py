"""The geometry of a NIfTI header: where its voxels are, and how they are turned for display."""

from __future__ import annotations

from typing import Any

import numpy as np
from nibabel import Nifti1Header as Header  # which Nifti2Header is a kind of
from nibabel.orientations import (
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from nibabel.quaternions import quat2mat
from nibabel.volumeutils import shape_zoom_affine

from napari_sam3d.volume import Shape3


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


def display_view(stored: Any, d2s: np.ndarray) -> Any:
    """View of a stored array (i, j, k, t, ...) in display order (..., t, z, y, x)."""
    order, flipped = _turn(d2s)
    extra = range(stored.ndim - 1, 2, -1)
    return np.flip(stored, flipped).transpose(*extra, *np.argsort(order))


def stored_view(display: np.ndarray, d2s: np.ndarray) -> np.ndarray:
    """View of a display array (..., t, z, y, x) in stored order (i, j, k, t, ...)."""
    order, flipped = _turn(d2s)
    extra = display.ndim - 3
    axes = [extra + axis for axis in order] + list(range(extra - 1, -1, -1))
    return np.flip(display.transpose(axes), flipped)


def choose_affine(header: Header, shape: Shape3) -> tuple[np.ndarray, str, list[str]]:
    """The affine of a header in the file's own units, which form it is, and doubts about it.

    The sform wins when it is coded and invertible, then the qform, then the voxel size alone
    by nibabel's convention (left, anterior, superior; origin in the centre).

    Raises
    ------
    ValueError
        When the only orientation that is stated is not invertible.
    """
    sform, qform = _sform(header), _qform(header)
    doubts = []
    if int(header["sform_code"]) > 0 and sform is None:
        doubts.append("The sform of the file is damaged and was not used.")
    if int(header["qform_code"]) > 0 and qform is None:
        doubts.append("The qform of the file is damaged and was not used.")
    if sform is not None:
        if qform is not None and corner_distance(sform, qform, shape) > 0.1:
            doubts.append(
                "The two orientations in the file (sform and qform) differ; the sform is used, "
                "other programs may use the qform."
            )
        return sform, "sform", doubts
    if qform is not None:
        return qform, "qform", doubts
    if int(header["sform_code"]) > 0 and _flat(header):
        raise ValueError("its axes lie in one plane (the sform is singular)")
    doubts.append("The file has no orientation: left and right are unknown.")
    return plain_affine(header, shape), "pixdim", doubts


def plain_affine(header: Header, shape: Shape3) -> np.ndarray:
    """Affine by the voxel size alone, as nibabel has it: toward left, centred on the origin."""
    return shape_zoom_affine(shape, _voxel_size(header), x_flip=True)


def _rows(header: Header) -> np.ndarray:
    affine = np.eye(4)
    affine[:3] = [header["srow_x"], header["srow_y"], header["srow_z"]]
    return affine


def _sform(header: Header) -> np.ndarray | None:
    affine = _rows(header)
    usable = int(header["sform_code"]) > 0 and np.isfinite(affine).all()
    return affine if usable and invertible(affine) else None


def _flat(header: Header) -> bool:
    """Whether the sform says something, yet not how three axes lie; zeros say nothing."""
    affine = _rows(header)
    return bool(np.isfinite(affine).all() and affine[:3, :3].any() and not invertible(affine))


def invertible(affine: np.ndarray) -> bool:
    """Whether three axes of usable length point in three directions."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # lengths whose products leave the range of floats cannot be computed with
    if not ((lengths > 1e-30) & (lengths < 1e30)).all() or np.abs(affine[:3, 3]).max() > 1e30:
        return False
    return abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-6


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
    return affine if np.isfinite(affine).all() and invertible(affine) else None


def _voxel_size(header: Header) -> np.ndarray:
    size = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    return np.where((size > 1e-30) & (size < 1e30), size, 1.0)  # false for NaN


def corner_distance(first: np.ndarray, second: np.ndarray, shape: Shape3) -> float:
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
