"""npe2 sample data: the samples as layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam3d.plugin.layers.convert import layer_data
from napari_sam3d.samples import load_sample
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.types import LayerDataTuple


def phantom() -> list[LayerDataTuple]:
    """Synthetic torso, with its true labels hidden."""
    return layers_of("phantom")


def brain() -> list[LayerDataTuple]:
    """Real MR of a head."""
    return layers_of("brain")


def nuclei() -> list[LayerDataTuple]:
    """Real fluorescence microscopy of cell nuclei; fetched at first use."""
    return layers_of("nuclei")


def hippocampus() -> list[LayerDataTuple]:
    """Real MR around a hippocampus, with expert labels; fetched at first use."""
    return layers_of("hippocampus")


def layers_of(name: str) -> list[LayerDataTuple]:
    """The image of a sample, and its true labels where there are some, hidden."""
    sample = load_sample(name)
    data, meta, kind = layer_data(sample.volume, as_labels=False)
    meta = {**meta, "name": name}
    if sample.contrast_limits is not None:
        meta["contrast_limits"] = sample.contrast_limits
    layers = [(data, meta, kind)]
    if sample.labels is not None:
        truth = Volume(sample.labels, sample.volume.grid, f"{name} truth", sample.volume.source)
        data, meta, kind = layer_data(truth, as_labels=True)
        names = {0: "background", **sample.label_names}
        meta = {
            **meta,
            "visible": False,
            "features": {"index": list(names), "name": list(names.values())},
        }
        layers.append((data, meta, kind))
    return layers
