"""What the user wishes to be saved of Labels layers, and which files that means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels

from napari_sam3d.io import nifti_stem
from napari_sam3d.io.label_names import sidecar_path
from napari_sam3d.io.prompt_file import write_prompts
from napari_sam3d.io.prompt_rows import ObjectPrompts
from napari_sam3d.io.write import with_suffix
from napari_sam3d.plugin.files.combine import by_category
from napari_sam3d.plugin.files.export import Export, itksnap_path, safe_name
from napari_sam3d.plugin.files.prepare import CombinedExport, prepare, prepare_combined
from napari_sam3d.plugin.files.prompt_io import all_prompts
from napari_sam3d.plugin.layers.convert import source_of
from napari_sam3d.plugin.layers.origin import came_as_labels, finest, place_of, sources_at
from napari_sam3d.plugin.session.frames import STEP
from napari_sam3d.plugin.session.names import categories_of
from napari_sam3d.plugin.session.objects import OBJECTS
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.types import FullLayerData
    from qtpy.QtWidgets import QWidget


@dataclass(frozen=True, eq=False)
class SavePlan:
    """Which layers go into which files.

    Parameters
    ----------
    layers
        The Labels layers, lowest first.
    names
        A file name for each, or the one of a combined label map.
    folder
        Where the files go.
    combined
        Whether all layers become one label map.
    itksnap, prompts
        Whether ITK-SNAP's label description, and the prompts, are saved as well.
    classes
        Whether objects of one class get one label.
    """

    layers: tuple[Labels, ...]
    names: tuple[str, ...]
    folder: Path
    combined: bool = False
    itksnap: bool = False
    prompts: bool = False
    classes: bool = False

    @property
    def masks(self) -> tuple[Path, ...]:
        """The NIfTI files."""
        return tuple(with_suffix(self.folder / name.strip()) for name in self.names)

    @property
    def prompt_files(self) -> tuple[tuple[Path, Labels], ...]:
        """The files of prompts, and whose they are."""
        if not self.prompts:
            return ()
        masks = self.masks * (len(self.layers) if self.combined else 1)
        having = [pair for pair in zip(masks, self.layers, strict=True) if prompts_of(pair[1])]
        several = self.combined and len(having) > 1
        return tuple(
            (
                mask.with_name(
                    nifti_stem(mask.name)
                    + (f"_{safe_name(layer.name)}" if several else "")
                    + "_prompts.json"
                ),
                layer,
            )
            for mask, layer in having
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """All that will be written."""
        files: list[Path] = []
        for mask in self.masks:
            files += [mask, sidecar_path(mask), *([itksnap_path(mask)] if self.itksnap else [])]
        return (*files, *(path for path, _ in self.prompt_files))

    def check(self) -> None:
        """ValueError with a sentence when it cannot be done, before anything is."""
        if not self.layers:
            raise ValueError("Tick a layer to save.")
        for name in self.names:
            if name.strip() in ("", ".", ".."):
                raise ValueError("There is a file name missing.")
            if "/" in name or "\\" in name:
                raise ValueError(f"{name} is no file name; say the folder in its own field.")
        if not self.folder.is_absolute():
            raise ValueError("Say the folder with its whole path.")
        if not self.folder.is_dir():
            raise ValueError(f"There is no folder {self.folder}; choose another one.")
        lower = [path.name.lower() for path in self.files]
        twice = next((name for name in lower if lower.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"Two layers would be saved as {twice}; give one another name.")

    def exports(self, parent: QWidget | None = None) -> list[Export | CombinedExport]:
        """The masks to be written; may ask.

        Raises
        ------
        ValueError
            With one sentence, when a layer cannot be saved or the user said no.
        """
        data = [layer.as_layer_data_tuple() for layer in self.layers]
        if self.classes:
            data = [_by_category(*it) for it in data]
        if self.combined:
            return [prepare_combined(self.masks[0], data, parent, itksnap=self.itksnap)]
        return [
            prepare(path, array, meta, True, parent, itksnap=self.itksnap)
            for path, (array, meta, _) in zip(self.masks, data, strict=True)
        ]

    def write_prompts(self) -> list[Path]:
        """Write the prompts that are wanted, over older ones; ValueError or OSError."""
        return [
            write_prompts(path, prompts_of(layer), _volume(layer), overwrite=True)
            for path, layer in self.prompt_files
        ]


def prompts_of(layer: Labels) -> tuple[ObjectPrompts, ...]:
    """The prompts behind the masks of a layer."""
    return all_prompts(layer.metadata.get(OBJECTS) or {})


def has_classes(layer: Labels) -> bool:
    """Whether somebody has said of an object what it is."""
    return bool(categories_of({"metadata": layer.metadata}))


def _by_category(array: Any, meta: dict[str, Any], kind: str) -> FullLayerData:
    """A layer with one label for each class, called like it."""
    labels, ids = by_category(finest(array, meta), categories_of(meta))
    metadata = meta["metadata"]
    objects = {
        ids.get(n, n): replace(it, name=it.category or it.name)
        for n, it in sorted(metadata.get(OBJECTS, {}).items(), reverse=True)
    }
    meta = {**meta, "metadata": {**metadata, OBJECTS: objects}, "multiscale": False}
    return labels, meta, kind


def suggest(labels: Sequence[Labels], layers: Iterable[Layer]) -> tuple[Path | None, list[str]]:
    """Folder and file names to begin with: those of the image, then what the layer is called.

    Parameters
    ----------
    labels
        Layers to be saved.
    layers
        All layers of the viewer; the images that `labels` lie on are among them.
    """
    images = [layer for layer in layers if isinstance(layer, Image)]
    folder, names = None, []
    for layer in labels:
        source = source_of({"metadata": layer.metadata})
        own = source is not None and came_as_labels({"metadata": layer.metadata})
        if source is None:
            try:
                found = sources_at(_volume(layer), images)
            except ValueError:
                found = {}
            source = next((volume.source for volume in found.values()), None)
        image = None if source is None or not source.path else Path(source.path)
        folder = folder or (image and image.parent)
        only = len(labels) == 1 and STEP not in layer.metadata
        names.append(_name(layer.name, image, own, only))
    return folder, names


def _name(layer: str, image: Path | None, own: bool, only: bool) -> str:
    if image is None:
        return f"{safe_name(layer)}.nii.gz"
    base = nifti_stem(image.name)
    if own:
        return f"{base}.nii.gz" if image.suffix.lower() in (".hdr", ".img") else image.name
    if only or layer == f"{base}_seg":
        return f"{base}_seg.nii.gz"
    return f"{base}_{safe_name(layer.removeprefix(f'{base}_'))}.nii.gz"


def _volume(layer: Labels) -> Volume:
    data, meta, _ = layer.as_layer_data_tuple()
    return place_of(data, meta)
