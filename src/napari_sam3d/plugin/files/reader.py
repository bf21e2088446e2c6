"""npe2 reader: NIfTI files as layers."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning

from napari_sam3d.io import NiftiError, NiftiImage, TooLarge, is_labels, is_nifti_name, open_steps
from napari_sam3d.io.label_names import LabelName, read_label_names
from napari_sam3d.plugin.canvas import cursor
from napari_sam3d.plugin.files import background
from napari_sam3d.plugin.files.questions import can_ask
from napari_sam3d.plugin.layers.convert import layer_data, source_of

if TYPE_CHECKING:
    from napari.types import LayerDataTuple

    from napari_sam3d.io import NiftiSource

Paths = str | Sequence[str]
NO_LAYER: list[Any] = [(None,)]
"""What tells napari that a file was dealt with and shows nothing."""

_VISIBLE_TILT_DEG = 0.5
_HALVES = (".hdr", ".img", ".hdr.gz", ".img.gz")
_HEADER_SIZES = (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # 348, 540


def get_reader(path: Paths) -> Callable[[Paths], list[LayerDataTuple]] | None:
    """`read` when every path is a NIfTI file by its name, else None.

    .hdr and .img are names that other programs use, too; these are ours by their first bytes.
    napari calls this by keyword, so the parameter has to be called `path`.
    """
    paths = [path] if isinstance(path, str) else [str(p) for p in path]
    return read if paths and all(_is_ours(p) for p in paths) else None


def read(path: Paths) -> list[LayerDataTuple]:
    """The layers of one or several files, as napari asks for them.

    What goes wrong is shown as a notification where the user works in the window, and raised to
    a script. A file of which the other half is open already gives no layer.

    Raises
    ------
    NiftiError
        With one sentence for the user.
    """
    layers: list[LayerDataTuple] = []
    for one in one_of_each_pair([path] if isinstance(path, str) else path):
        if _other_half_is_open(one):
            continue
        try:
            layers += read_layers(one)
        except background.Cancelled:
            continue
        except NiftiError as error:
            said: NiftiError = error
            if isinstance(error, TooLarge):
                said = TooLarge(
                    f"{error} File > IO Utilities > Open NIfTI... does that.",
                    readable=error.readable,
                )
            if not _by_hand():
                raise said from error
            show_error(str(said))
    return layers or NO_LAYER


def read_layers(path: str, *, allow_large: bool = False) -> list[LayerDataTuple]:
    """The layer of a file: labels when the file says so, else an image.

    Raises
    ------
    Cancelled
        When the user gave up waiting.
    TooLarge
        When it is gzipped and would take much of the memory.
    NiftiError
        With one sentence for the user.
    """
    found = background.run(_steps(path, allow_large), f"Reading {Path(path).name}")
    source = found.image.source
    for warning in (*source.warnings, *found.warnings):
        show_warning(f"{found.image.name}: {warning}")
    tilt = source.grid.tilt_deg
    if tilt > _VISIBLE_TILT_DEG:
        show_info(
            f"{found.image.name} is shown in its own slice planes; its tilt of "
            f"{tilt:.1f} degrees is kept when masks are saved."
        )
    viewer = napari.current_viewer()
    if viewer is not None:
        _warn_of_other_tilt(found.image.name, source, viewer.layers)
        cursor.follow(viewer).join()
    return [found.layer]


def one_of_each_pair(paths: Iterable[str]) -> list[str]:
    """The paths without the second half of a .hdr/.img pair whose first half is among them."""
    chosen: dict[str, str] = {}
    for path in map(str, paths):
        chosen.setdefault(_pair(path) or f"{path}\0{len(chosen)}", path)
    return list(chosen.values())


@dataclass(frozen=True, eq=False)
class _Found:
    image: NiftiImage
    layer: LayerDataTuple
    warnings: tuple[str, ...]


def _steps(path: str, allow_large: bool) -> Generator[float, None, _Found]:
    """Everything that takes time and needs no window."""
    image = yield from open_steps(path, allow_large=allow_large)
    yield 1.0
    as_labels = is_labels(image)
    names: tuple[LabelName, ...] = ()
    warnings: tuple[str, ...] = ()
    if as_labels:
        try:
            names = read_label_names(path)
        except (ValueError, OSError) as error:
            warnings = (f"{error} The labels are shown without their names.",)
    try:
        return _Found(image, layer_data(image, as_labels, names), warnings)
    except MemoryError as error:  # labels are copied, to be painted on
        raise NiftiError(f"{image.name} does not fit into memory; close other programs.") from error


def _warn_of_other_tilt(name: str, source: NiftiSource, layers: Iterable[Any]) -> None:
    for layer in layers:
        other = source_of({"metadata": layer.metadata})
        if other is not None and _angle_deg(source, other) > _VISIBLE_TILT_DEG:
            show_warning(
                f"{name} and {layer.name} are tilted differently, so napari does not show them "
                "exactly on top of each other; the coordinates in the status bar are true."
            )
            return


def _angle_deg(one: NiftiSource, other: NiftiSource) -> float:
    """Angle between the axes of two grids."""
    axes = [s.grid.affine[:3, :3] / np.asarray(s.grid.spacing) for s in (one, other)]
    cosines = np.clip((axes[0] * axes[1]).sum(axis=0), -1, 1)
    return float(np.degrees(np.arccos(cosines.min())))


def _is_ours(path: str) -> bool:
    pair = _pair(path)
    if pair is None:
        return is_nifti_name(path)
    is_header = ".hdr" in path[len(pair) :].lower()
    headers = [path] if is_header else [f"{pair}{e}" for e in (".hdr", ".HDR", ".hdr.gz")]
    header = next((h for h in headers if Path(h).is_file()), path)
    try:
        with open(header, "rb") as file:
            first = file.read(4)
            if first[:2] == b"\x1f\x8b":
                file.seek(0)
                first = gzip.GzipFile(fileobj=file).read(4)
    except (OSError, EOFError):
        return False
    return first in _HEADER_SIZES


def _pair(path: str) -> str | None:
    """What the paths of both halves of a pair have in common; None for other files."""
    ending = next((e for e in _HALVES if path.lower().endswith(e)), None)
    return path[: -len(ending)] if ending else None


def _other_half_is_open(path: str) -> bool:
    """Whether napari, which asks for one file after the other, has just been given the pair."""
    viewer, pair = napari.current_viewer(), _pair(path)
    if viewer is None or pair is None:
        return False
    for layer in viewer.layers:
        opened = layer.source.path
        if opened is not None and opened != path and _pair(str(opened)) == pair:
            show_info(f"{Path(path).name} belongs to {Path(opened).name}, which is open already.")
            return True
    return False


def _by_hand() -> bool:
    """Whether a person waits at a window, or for one, rather than a script for an answer.

    napari would ask such a person for another reader, without a word of what is wrong.
    """
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    from_shell = "napari.__main__" in (*sys.modules, getattr(main, "name", None))
    return from_shell or can_ask()
