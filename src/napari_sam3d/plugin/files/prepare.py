"""From layers to exports: finds the file whose voxels they have, and asks before harm is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np

from napari_sam3d.io import NiftiSource
from napari_sam3d.io.label_names import Color
from napari_sam3d.io.write import with_suffix
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.files.combine import combine
from napari_sam3d.plugin.files.export import Export, listing
from napari_sam3d.plugin.layers.convert import source_of
from napari_sam3d.plugin.layers.origin import (
    came_as_labels,
    finest,
    open_files,
    place_of,
    same_voxels,
    sources_at,
)
from napari_sam3d.plugin.session.names import categories_of, colors_of, titles_of
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.types import FullLayerData
    from qtpy.QtWidgets import QWidget


def prepare(
    path: str | Path,
    data: Any,
    meta: Mapping[str, Any],
    is_labels: bool,
    parent: QWidget | None = None,
    *,
    itksnap: bool = False,
) -> Export:
    """The export of one layer.

    Parameters
    ----------
    path
        The file; `.nii.gz` is appended to a name without extension.
    data, meta
        As `as_layer_data_tuple` gives them.
    is_labels
        Whether it is a Labels layer, else an Image.
    parent
        Window that questions belong to.
    itksnap
        Whether ITK-SNAP's label description is written, too.

    Raises
    ------
    ValueError
        With one sentence, when the layer is no volume, or an answer was needed and not given.
    """
    layers = _open_layers()
    volume = place_of(data, meta)
    if is_labels and volume.source is None:
        volume = _with_source(volume, layers, parent)
    own = source_of(meta) if is_labels and came_as_labels(meta) else None
    target = with_suffix(path)
    return Export(
        path=target,
        data=finest(data, meta),
        grid=volume.grid,
        source=volume.source,
        is_labels=is_labels,
        rgb=bool(meta.get("rgb")),
        titles=titles_of(meta) if is_labels else {},
        colors=colors_of(meta),
        categories=categories_of(meta) if is_labels else {},
        replace_source=_may_replace(target, volume, own, layers, parent),
        itksnap=itksnap,
    )


@dataclass(frozen=True, eq=False)
class CombinedExport:
    """Several Labels layers as one label map, upper layers last; made when it is written.

    Parameters
    ----------
    export
        The file; its data, titles and colours are still to come.
    labels
        The layers, as `as_layer_data_tuple` gives them.
    """

    export: Export
    labels: Sequence[FullLayerData]

    @property
    def path(self) -> Path:
        """The NIfTI file."""
        return self.export.path

    def write(self) -> tuple[Path, tuple[str, ...]]:
        """As `Export.write`; the sentences also say what combining changed."""
        made = combine([np.asarray(finest(data, meta)) for data, meta, _ in self.labels])
        titles: dict[int, str] = {}
        colors: dict[int, Color] = {}
        categories: dict[int, str] = {}
        notes = []
        for (_, meta, _), ids in zip(self.labels, made.ids, strict=True):
            layer, own = str(meta.get("name")), titles_of(meta)
            titles |= {new: f"{layer}: {own.get(old) or old}" for old, new in ids.items()}
            colors |= {ids[old]: color for old, color in colors_of(meta)(ids).items()}
            categories |= {ids[n]: it for n, it in categories_of(meta).items() if n in ids}
            moved = [f"{old} is {new}" for old, new in ids.items() if old != new]
            if moved:
                notes.append(
                    f"Labels of {layer} that were taken have new numbers: {listing(moved)}."
                )
        if made.shared:
            notes.append(
                f"{made.shared} voxels are in several layers; each has the label of the upper one."
            )
        export = replace(
            self.export,
            data=made.labels,
            titles=titles,
            colors=lambda labels: dict(colors),
            categories=categories,
        )
        path, more = export.write()
        return path, (*notes, *more)


def prepare_combined(
    path: str | Path,
    labels: Sequence[FullLayerData],
    parent: QWidget | None = None,
    *,
    itksnap: bool = False,
) -> CombinedExport:
    """The export of several Labels layers as one map, upper layers last.

    Raises
    ------
    ValueError
        As `prepare`; also when the layers do not have the same voxels.
    """
    volumes = [place_of(data, meta) for data, meta, _ in labels]
    shapes = [np.shape(finest(data, meta)) for data, meta, _ in labels]
    for shape, volume in zip(shapes, volumes, strict=True):
        if shape != shapes[0] or not same_voxels(volume, volumes[0]):
            raise ValueError(
                f"{volume.name} does not have the voxels of {volumes[0].name}; save them to a file "
                "each."
            )
    layers, target = _open_layers(), with_suffix(path)
    origin = next((volume for volume in volumes if volume.source is not None), None)
    origin = origin or _with_source(volumes[0], layers, parent)
    replace_source = _may_replace(target, origin, None, layers, parent)
    export = Export(
        target,
        None,
        origin.grid,
        origin.source,
        replace_source=replace_source,
        itksnap=itksnap,
    )
    return CombinedExport(export, labels)


def require_new(paths: Iterable[Path], parent: QWidget | None = None) -> None:
    """ValueError when a file exists that the user does not want to be replaced."""
    existing = [path.name for path in paths if path.exists()]
    if not existing:
        return
    what = "exists" if len(existing) == 1 else "exist"
    answer = questions.allow(f"{listing(existing)} {what} already.", "Replace", parent)
    if not answer:
        raise ValueError(
            f"Nothing was saved: {listing(existing)} {what} already; choose another name."
        )


def _open_layers() -> list[Layer]:
    viewer = napari.current_viewer()
    return [] if viewer is None else list(viewer.layers)


def _with_source(volume: Volume, layers: Sequence[Layer], parent: QWidget | None) -> Volume:
    """Labels with the source of an image that lies where they lie; the user picks one of many."""
    found = sources_at(volume, layers)
    if len(found) < 2:
        return next(iter(found.values()), volume)
    names = list(found)
    chosen = questions.choose(
        f"Several images have the shape of {volume.name}, but say different things about their "
        "place.\nOn which of them was it drawn?",
        names,
        parent,
    )
    if chosen is None:
        raise ValueError(
            f"{volume.name} could have been drawn on {listing(names)}, which lie in different "
            "places; choose one of them (in a script, `labels.metadata = image.metadata`)."
        )
    return found[names[chosen]]


def _may_replace(
    target: Path,
    volume: Volume,
    own: NiftiSource | None,
    layers: Sequence[Layer],
    parent: QWidget | None,
) -> bool:
    """Whether the target is an open file that may be replaced; ValueError when it may not."""
    if own is not None and _same_file(target, own.path):
        return True  # a label map goes back to where it came from
    files = open_files(layers)
    name = next((name for path, name in files.items() if _same_file(target, path)), None)
    if name is not None:
        text = f"{target.name} is the file of the open layer {name}."
    elif volume.source is not None and _same_file(target, volume.source.path):
        text = f"{target.name} is the image that {volume.name} comes from."
    else:
        return False
    if questions.allow(f"{text}\nReplacing it cannot be undone.", "Replace", parent):
        return True
    raise ValueError(f"{text[:-1]}; choose another name for this file.")


def _same_file(target: Path, path: str) -> bool:
    """Whether both are one file, by whatever name or link."""
    if not path:
        return False
    if os.path.exists(target) and os.path.exists(path):
        return os.path.samefile(target, path)
    return os.path.realpath(target) == os.path.realpath(path)
