"""Names, colours and volumes of labels: a JSON file beside the mask, and ITK-SNAP's text.

`x.nii.gz` has its names in `x.labels.json`:

    {"format": "napari-sam3d labels", "version": 1,
     "labels": [{"id": 1, "name": "liver", "color": "#d02040ff", "volume_ml": 1520.25}]}

`name`, `color` (red, green, blue, opacity; two hexadecimal digits each), `volume_ml` and `class`
(what several labels may be, such as "vessel") may be missing or null; other keys are ignored.
"""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from napari_sam3d.io.json_file import is_number, is_whole, read_json, write_text
from napari_sam3d.volume import Grid

KIND = "napari-sam3d labels"
VERSION = 1
ITKSNAP_LARGEST = 65534
"""ITK-SNAP keeps labels in 16 bits, and its table ends before the last of them."""

Color = tuple[float, float, float, float]

_SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_COLOR = re.compile(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})?", re.IGNORECASE)
_COUNTED = 1 << 16
_ITKSNAP_HEADER = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    IDX:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
    0     0    0    0     0.00  0  0    "Clear Label"
"""


@dataclass(frozen=True)
class LabelName:
    """What a label of a mask means.

    Parameters
    ----------
    id
        Its value in the mask.
    name
        Empty when it has none.
    color
        Red, green, blue, opacity, 0 to 1.
    volume_ml
        Millilitres; None when not known.
    category
        What it is one of; empty when nobody has said.
    """

    id: int
    name: str = ""
    color: Color | None = None
    volume_ml: float | None = None
    category: str = ""


def sidecar_path(mask_path: str | Path) -> Path:
    """The file of names of a mask: `x.labels.json` of `x.nii.gz`."""
    path = Path(mask_path)
    return path.with_name(_SUFFIX.sub("", path.name) + ".labels.json")


def check_sidecar(mask_path: str | Path) -> None:
    """ValueError with a sentence when a file that is not ours has the name of the sidecar."""
    path = sidecar_path(mask_path)
    if not path.exists():
        return
    try:
        read_json(path, KIND, VERSION)
    except ValueError as error:
        raise ValueError(
            f"{path.name} exists and holds no names of labels, so it was left as it is; move it "
            "away to have them saved."
        ) from error


def write_label_names(mask_path: str | Path, names: Iterable[LabelName]) -> Path:
    """Write the names of a mask beside it, in place of older ones.

    Raises
    ------
    ValueError
        When a file that is not ours is in the way; it is left as it is.
    OSError
        When the file cannot be written; the old one is then untouched.
    """
    check_sidecar(mask_path)
    labels = [
        {
            "id": int(it.id),
            "name": it.name,
            "color": None if it.color is None else "#" + bytes(_bytes(it.color)).hex(),
            "volume_ml": None if it.volume_ml is None else float(it.volume_ml),
            **({"class": it.category} if it.category else {}),
        }
        for it in sorted(names, key=lambda it: it.id)
    ]
    # one label per line: people read such files, and compare them
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in labels)
    text = f'{{\n "format": "{KIND}",\n "version": {VERSION},\n "labels": [\n{lines}\n ]\n}}\n'
    return write_text(sidecar_path(mask_path), text, overwrite=True)


def read_label_names(mask_path: str | Path) -> tuple[LabelName, ...]:
    """The names beside a mask, by ascending id; none when there is no such file.

    Raises
    ------
    ValueError
        With one sentence, when the file is there and cannot be understood.
    """
    path = sidecar_path(mask_path)
    if not path.exists():
        return ()
    rows = read_json(path, KIND, VERSION).get("labels")
    if not isinstance(rows, list):
        raise ValueError(f"{path.name} is damaged: it has no list of labels.")
    names = {name.id: name for name in (_name(row, path) for row in rows)}
    return tuple(names[label] for label in sorted(names))


def write_itksnap(path: str | Path, names: Iterable[LabelName], *, overwrite: bool = False) -> Path:
    """Write ITK-SNAP's label description, for its "Import label descriptions".

    `itksnap_left_out` tells which labels ITK-SNAP cannot hold and the file therefore lacks.
    `.txt` is appended to a name without extension.

    Raises
    ------
    OSError
        When the file exists and `overwrite` is false, or it cannot be written.
    """
    rows = []
    for it in sorted(names, key=lambda it: it.id):
        if 1 <= it.id <= ITKSNAP_LARGEST:
            red, green, blue, alpha = _bytes(it.color or _own_color(it.id))
            # it ends a name at the first quotation mark, and refuses an empty one
            name = " ".join(it.name.replace('"', "'").split()) or f"Label {it.id}"
            rows.append(
                f"{it.id:5d}   {red:3d}  {green:3d}  {blue:3d}     {alpha / 255:.2f}  1  1"
                f'    "{name}"\n'
            )
    return write_text(text_path(path), _ITKSNAP_HEADER + "".join(rows), overwrite=overwrite)


def text_path(path: str | Path) -> Path:
    """The path, with `.txt` appended to a name without extension."""
    path = Path(path)
    return path if path.suffix else path.with_name(f"{path.name}.txt")


def itksnap_left_out(names: Iterable[LabelName]) -> tuple[int, ...]:
    """The ids that ITK-SNAP cannot hold; 0 is its own and not among them."""
    return tuple(sorted(it.id for it in names if not 0 <= it.id <= ITKSNAP_LARGEST))


def label_volumes(labels: np.ndarray, grid: Grid) -> dict[int, float]:
    """Millilitres of every label but 0, by ascending id.

    Parameters
    ----------
    labels
        Whole numbers or booleans, (z, y, x).
    grid
        Where the voxels are.
    """
    voxel_ml = grid.voxel_ml
    # nine digits are more than any voxel size has, and spare the reader 0.009000000000000001
    return {label: float(f"{n * voxel_ml:.9g}") for label, n in count_labels(labels).items()}


def count_labels(labels: np.ndarray) -> dict[int, int]:
    """Voxels of every label but 0, by ascending id; any whole numbers, any shape."""
    labels = np.asarray(labels)
    slices = (np.asarray(labels[i]) for i in np.ndindex(labels.shape[:-2]))
    small = labels.dtype.kind in "bu" and labels.dtype.itemsize <= 2
    if not small and labels.size:
        small = 0 <= labels.min() and labels.max() < _COUNTED
    found: dict[int, int] = {}
    if small:
        total = np.zeros(_COUNTED, np.int64)
        for one in slices:  # by slices: counting needs eight bytes per voxel
            counts = np.bincount(one.ravel())
            total[: len(counts)] += counts
        found = {int(label): int(total[label]) for label in np.flatnonzero(total)}
    else:
        for one in slices:
            for label, n in zip(*np.unique(one, return_counts=True), strict=True):
                found[int(label)] = found.get(int(label), 0) + int(n)
    found.pop(0, None)
    return dict(sorted(found.items()))


def _name(row: Any, path: Path) -> LabelName:
    label = row.get("id") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not is_whole(label) or not -(2**63) <= label < 2**64:
        raise ValueError(f"{path.name} is damaged: one of its labels has no number.")
    keys = ("name", "color", "volume_ml", "class")
    name, color, volume, category = (row.get(key) for key in keys)
    for key, text in (("name", name), ("class", category)):
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{path.name} is damaged: the {key} of label {label} is no text.")
    match = _COLOR.fullmatch(color) if isinstance(color, str) else None
    if color is not None and match is None:
        raise ValueError(
            f"{path.name} is damaged: the colour of label {label} is {short(color)}, "
            "not like #d02040ff."
        )
    if volume is not None and not (is_number(volume) and volume >= 0):
        raise ValueError(
            f"{path.name} is damaged: the volume of label {label} is {short(volume)}, "
            "no millilitres."
        )
    rgba = None
    if match is not None:
        red, green, blue, alpha = (int(part or "ff", 16) / 255 for part in match.groups())
        rgba = (red, green, blue, alpha)
    volume_ml = None if volume is None else float(volume)
    return LabelName(label, name or "", rgba, volume_ml, category or "")


def _bytes(color: Sequence[float]) -> list[int]:
    return [round(255 * min(max(float(c), 0.0), 1.0)) for c in color]


def _own_color(label: int) -> Color:
    """A colour for a label without one; neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb((label * 0.618034) % 1, 0.75, 0.95)
    return red, green, blue, 1.0
