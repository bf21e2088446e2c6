"""npe2 writers: image and labels layers as NIfTI files, and names of labels as ITK-SNAP's text."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info, show_warning

from napari_sam3d.io import nifti_stem
from napari_sam3d.io.label_names import text_path, write_itksnap
from napari_sam3d.io.write import with_suffix
from napari_sam3d.plugin.files import background
from napari_sam3d.plugin.files.export import Export, itksnap_notes, listing, safe_name
from napari_sam3d.plugin.files.prepare import CombinedExport, prepare, prepare_combined, require_new
from napari_sam3d.plugin.layers.origin import finest, place_of
from napari_sam3d.plugin.session.names import colors_of, titles_of

if TYPE_CHECKING:
    from napari.types import FullLayerData

AnyExport = Export | CombinedExport


class NotSaved(OSError):
    """Nothing was saved, and why; npe2 would not let a ValueError through to the user."""


def _saving(write: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """A writer whose refusals reach the user."""

    @wraps(write)
    def run(*args: Any) -> list[str]:
        try:
            return write(*args)
        except ValueError as error:
            raise NotSaved(str(error)) from error
        except background.Cancelled as error:
            raise NotSaved("Saving was cancelled.") from error

    return run


@_saving
def write_single(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one image or labels layer; `.nii.gz` is appended to a name without extension.

    Labels without a NIfTI source get the header of the open image that lies where they lie.

    Raises
    ------
    OSError
        With one sentence for the user.
    """
    # npe2 does not say which type the layer has; only images have contrast limits
    exports = [prepare(path, data, meta, is_labels="contrast_limits" not in meta)]
    _require_typed(path, [export.path for export in exports])
    return save(exports)


@_saving
def write_multi(path: str, layers: Sequence[FullLayerData]) -> list[str]:
    """Write every labels and image layer to a file of its own.

    With several layers each file gets the name of its layer appended. Other layers are left out.

    Raises
    ------
    OSError
        With one sentence for the user.
    """
    chosen = _of_kind(layers, "image", "labels")
    exports: list[Export] = []
    for data, meta, kind in chosen:
        own = path if len(chosen) == 1 else _numbered(path, str(meta.get("name")), exports)
        exports.append(prepare(own, data, meta, kind == "labels"))
    _require_typed(path, [export.path for export in exports])
    return save(exports, _left_out(layers, chosen))


@_saving
def write_combined(path: str, layers: Sequence[FullLayerData]) -> list[str]:
    """Write all labels layers into one label map, upper layers over lower ones.

    Raises
    ------
    OSError
        With one sentence for the user.
    """
    chosen = _of_kind(layers, "labels")
    export = prepare_combined(path, chosen)
    _require_typed(path, [export.path])
    return save([export], _left_out(layers, chosen))


@_saving
def write_label_text(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the names of a labels layer as ITK-SNAP's label description.

    Raises
    ------
    OSError
        With one sentence for the user.
    """
    place = place_of(data, meta)
    export = Export(
        Path(path), finest(data, meta), place.grid, titles=titles_of(meta), colors=colors_of(meta)
    )
    names = export.names()
    target = text_path(path)
    _require_typed(path, [target])
    written = write_itksnap(target, names, overwrite=True)
    for note in itksnap_notes(names):
        show_warning(note)
    return [str(written)]


def save(exports: Sequence[AnyExport], left_out: Sequence[str] = ()) -> list[str]:
    """Write files in the background; what there is to know is said in one notification."""
    what = exports[0].path.name if len(exports) == 1 else f"{len(exports)} files"
    written = background.run(write_all(exports), f"Saving {what}")
    notes = [note for _, own in written for note in own]
    if notes or left_out:
        text = " ".join([f"Saved {listing(path.name for path, _ in written)}.", *left_out, *notes])
        (show_warning if notes else show_info)(text)
    return [str(path) for path, _ in written]


def write_all(
    exports: Sequence[AnyExport],
) -> Generator[float, None, list[tuple[Path, tuple[str, ...]]]]:
    """Write one after the other, yielding the share that is done."""
    written = []
    for number, export in enumerate(exports):
        yield number / len(exports)
        written.append(export.write())
    return written


def _require_typed(path: str, targets: Sequence[Path]) -> None:
    """ValueError when a file is in the way whose name nobody typed.

    napari's dialog has asked about the name that was typed, and about no other.
    """
    require_new(target for target in targets if target.name != Path(path).name)


def _of_kind(layers: Sequence[FullLayerData], *kinds: str) -> list[FullLayerData]:
    chosen = [layer for layer in layers if layer[2] in kinds]
    if not chosen:
        raise ValueError(f"There is no {' or '.join(kinds)} layer among those to save.")
    return chosen


def _left_out(layers: Sequence[FullLayerData], chosen: Sequence[FullLayerData]) -> list[str]:
    others = [str(meta.get("name")) for _, meta, kind in layers if kind not in _kinds(chosen)]
    return [f"Left out: {listing(others)}."] if others else []


def _kinds(layers: Sequence[FullLayerData]) -> set[str]:
    return {kind for _, _, kind in layers}


def _numbered(path: str, layer_name: str, taken: Sequence[Export]) -> str:
    """Path with the layer's name before the extension, and a number when that is taken."""
    whole = with_suffix(path)
    base = nifti_stem(whole.name)
    suffix = whole.name[len(base) :]
    safe = safe_name(layer_name)
    names = {export.path.name.lower() for export in taken}
    candidate, number = f"{base}_{safe}{suffix}", 2
    while candidate.lower() in names:
        candidate, number = f"{base}_{safe}-{number}{suffix}", number + 1
    return str(whole.with_name(candidate))
