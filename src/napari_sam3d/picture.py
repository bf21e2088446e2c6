"""A picture of a mask: three orthogonal planes with outline, orientation and size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3d.prompts import Point
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BACKGROUND, _TEXT, _QUIET = "#101216", "#f0f2f5", "#8d96a5"
_COLOURS = (
    *("#ffb000", "#3ec1ff", "#ff5d8f", "#74e06b", "#b78cff"),
    *("#ff8a3d", "#2fd6c3", "#f3e45a", "#ff9de2", "#9bb8ff"),
)
_POSITIVE, _NEGATIVE = "#2bff88", "#ff4d4d"
_PLANES = (
    # title, axis that is cut, letters at left, right, top and bottom
    ("axial", 0, "RLAP"),
    ("coronal", 1, "RLSI"),
    ("sagittal", 2, "APSI"),
)
_HEIGHT_INCH = 4.6


def three_plane_picture(
    volume: Volume,
    mask: np.ndarray,
    path: str | Path,
    points: Sequence[Point] = (),
    title: str | None = None,
    window: tuple[float, float] | None = None,
) -> Path:
    """Draw the three planes through an object as a PNG, in radiological convention.

    Parameters
    ----------
    volume
        The image.
    mask
        Mask or label map (z, y, x) on the voxels of the volume.
    path
        File to write.
    points
        Clicks; those outside a plane are drawn faintly.
    title
        First line; the name of the volume and the size of the object when None.
    window
        Values to show as black and white; by the values around the object when None.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        When the mask has another shape than the volume.
    OSError
        When the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mask = np.asarray(mask)
    if mask.shape != volume.grid.shape:
        raise ValueError(f"The mask has shape {mask.shape}, its image has {volume.grid.shape}.")
    center = _center(mask, points)
    low, high = _window(volume.data, center) if window is None else window
    spacing, extent = np.asarray(volume.grid.spacing), volume.grid.extent_mm

    widths = [extent[2], extent[2], extent[1]]
    heights = [extent[1], extent[0], extent[0]]
    tallest = max(heights)
    gap, margin = 0.05 * tallest, 0.06 * tallest
    bottom, top = 0.10 * tallest, 0.17 * tallest
    total_width = sum(widths) + 2 * gap + 2 * margin
    total_height = tallest + bottom + top
    inch = _HEIGHT_INCH / total_height
    figure = Figure((total_width * inch, _HEIGHT_INCH), dpi=160, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    left = margin
    for (name, axis, letters), width, height in zip(_PLANES, widths, heights, strict=True):
        box = (
            left / total_width,
            (bottom + (tallest - height) / 2) / total_height,
            width / total_width,
            height / total_height,
        )
        axes = figure.add_axes(box)
        rows, columns = (a for a in range(3) if a != axis)
        cut = center[axis]
        plane = np.asarray(volume.data.take(cut, axis), np.float32)
        area = (-0.5, plane.shape[1] - 0.5, plane.shape[0] - 0.5, -0.5)
        axes.imshow(
            plane, "gray", vmin=low, vmax=high, extent=area, aspect="auto", interpolation="bilinear"
        )
        _draw_mask(axes, mask.take(cut, axis), area)
        for at in (center[rows], center[columns]):
            kind = axes.axhline if at is center[rows] else axes.axvline
            kind(at, color=_TEXT, linewidth=0.5, alpha=0.28)
        _draw_points(axes, points, axis, cut, spacing)
        _label(axes, f"{name}  {'zyx'[axis]} = {cut}", letters)
        left += width + gap
    heading = title or f"{volume.name}: {_size(volume, mask)}"
    edge = margin / total_width
    figure.text(edge, 0.965, heading, color=_TEXT, fontsize=11, va="top", weight="bold")
    path = Path(path)
    figure.savefig(path, format="png", facecolor=_BACKGROUND)
    return path


def _center(mask: np.ndarray, points: Sequence[Point]) -> tuple[int, int, int]:
    """Voxel of the object closest to its centre; the first click or the middle without one."""
    inside = np.argwhere(mask)
    if len(inside):
        nearest = np.linalg.norm(inside - inside.mean(axis=0), axis=1).argmin()
        z, y, x = inside[nearest].tolist()
    elif points:
        z, y, x = (int(np.floor(c + 0.5)) for c in points[0].position_voxel)
    else:
        z, y, x = (n // 2 for n in mask.shape)
    return z, y, x


def _window(data: np.ndarray, center: Sequence[int]) -> tuple[float, float]:
    """Grey range by the values of the three planes, without the darkest (air) for CT."""
    values = np.concatenate([np.ravel(data.take(c, axis)) for axis, c in enumerate(center)])
    values = values[np.isfinite(values)].astype(float)
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99.7))
    if low < -500:  # Hounsfield units: soft tissue
        low, high = -180.0, 260.0
    return float(low), float(max(high, low + 1e-6))


def _draw_mask(axes: Axes, plane: np.ndarray, area: tuple[float, float, float, float]) -> None:
    from matplotlib.colors import to_rgb

    for label in np.unique(plane[plane != 0]).tolist():
        shape = plane == label
        colour = _COLOURS[(int(label) - 1) % len(_COLOURS)]
        overlay = np.zeros((*shape.shape, 4), np.float32)
        overlay[..., :3] = to_rgb(colour)
        overlay[..., 3] = 0.30 * shape
        axes.imshow(overlay, extent=area, aspect="auto", interpolation="nearest")
        framed = np.pad(shape, 1)  # an outline also where the object touches the border
        columns, rows = np.arange(framed.shape[1]) - 1, np.arange(framed.shape[0]) - 1
        axes.contour(columns, rows, framed, levels=[0.5], colors=colour, linewidths=1.4)
    axes.set(xlim=area[:2], ylim=area[2:])


def _draw_points(
    axes: Axes, points: Sequence[Point], axis: int, cut: int, spacing: np.ndarray
) -> None:
    rows, columns = (a for a in range(3) if a != axis)
    for point in points:
        away = abs(point.position_voxel[axis] - cut) * spacing[axis]
        style: dict[str, Any] = {
            "marker": "o" if point.positive else "X",
            "color": _POSITIVE if point.positive else _NEGATIVE,
            "alpha": 1.0 if away <= max(spacing.max(), 2.0) else 0.35,
        }
        axes.plot(
            point.position_voxel[columns],
            point.position_voxel[rows],
            linestyle="none",
            markersize=6.5,
            markeredgecolor="#00000099",
            markeredgewidth=1.0,
            **style,
        )


def _label(axes: Axes, name: str, letters: str) -> None:
    """Name below the plane, orientation letters at its edges."""
    places = (
        (0.015, 0.5, "left", "center"),
        (0.985, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for letter, (x, y, horizontal, vertical) in zip(letters, places, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=horizontal, va=vertical,
            color=_TEXT, fontsize=10, weight="bold",
        )  # fmt: skip
    axes.text(
        0.5, -0.025, name, transform=axes.transAxes, ha="center", va="top", color=_QUIET, fontsize=9
    )
    axes.set_axis_off()


def _size(volume: Volume, mask: np.ndarray) -> str:
    voxels = int(np.count_nonzero(mask))
    millilitres = voxels * float(np.prod(volume.grid.spacing)) / 1000
    if not voxels:
        return "nothing found"
    digits = ",.0f" if millilitres >= 100 else ".3g"
    return f"{voxels:,} voxels, {millilitres:{digits}} ml"
