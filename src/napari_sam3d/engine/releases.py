"""Released files of every family, and our own, as networks: the one table of who reads what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.checkpoints import Checkpoint, read_checkpoint, recognise
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.places import is_safetensors, metadata_of
from napari_sam3d.io.atomic import real_target, replacing

OURS = "napari-sam3d model"


@dataclass(frozen=True, eq=False)
class Parts:
    """What a network is made of.

    Parameters
    ----------
    family
        As `recognise` names it, or "compact".
    sizes
        Keyword arguments of the network.
    tensors
        Its state, by our names.
    """

    family: str
    sizes: dict[str, Any]
    tensors: dict[str, Tensor]


def read_parts(path: Path, base: Path | None = None) -> Parts:
    """The parts in a released file or in one that `save_parts` wrote.

    Parameters
    ----------
    path
        The file.
    base
        The SAM file that MA-SAM's adapters belong to.

    Raises
    ------
    ValueError
        With one sentence that names the file and what is wrong with it.
    """
    if path.is_file() and is_safetensors(path):
        saved = _read_ours(path)
        if saved is not None:
            return saved
    checkpoint = read_checkpoint(path)
    family = recognise(checkpoint, path.name)
    try:
        sizes, tensors = _parse(family, checkpoint, base)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path.name} is damaged: {error} is not as it should be.") from error
    except ValueError as error:
        if "values to unpack" in str(error):  # Python's own words for a shape
            raise ValueError(
                f"{path.name} is damaged: a tensor that tells the sizes of the network has "
                "another number of axes than it should."
            ) from error
        raise ValueError(f"{path.name}: {error}") from error
    return Parts(family, sizes, tensors)


def save_parts(parts: Parts, path: Path, source: str, sha256: str = "") -> None:
    """Write tensors alone, with what is needed to build the network, as safetensors.

    Parameters
    ----------
    parts
        The network's.
    path
        The file to write; it is replaced as a whole.
    source
        Name of the file they came from.
    sha256
        Its checksum, to tell it again.
    """
    metadata = {
        "format": OURS,
        "family": parts.family,
        "sizes": json.dumps(parts.sizes),
        "source": source,
        "sha256": sha256,
    }
    _save(parts.tensors, metadata, path)


def save_adapters(
    checkpoint: Checkpoint, path: Path, source: str, base: Path | None, sha256: str = ""
) -> None:
    """Write adapters that belong on a SAM file, as they were released, as safetensors.

    Parameters
    ----------
    checkpoint
        The released tensors.
    path
        The file to write; it is replaced as a whole.
    source
        Name of the file they came from.
    base
        The SAM file, when it is not one of the catalog's.
    sha256
        Checksum of the file they came from.
    """
    metadata = {"source": source, "sha256": sha256} | (
        {"base": str(base.absolute())} if base else {}
    )
    _save(dict(checkpoint), metadata, path)


def sam_size(checkpoint: Checkpoint, name: str) -> str:
    """The model of the catalog with the SAM that adapters, or a file of SAM, were made for."""
    width = checkpoint.get("image_encoder.FacTu.weight")
    if width is None:
        width = checkpoint["image_encoder.pos_embed"]
    size = {768: "b", 1024: "l", 1280: "h"}.get(width.shape[-1])
    if size is None:
        raise ValueError(
            f"{name} is made for an encoder of {width.shape[-1]} channels, which no SAM of the "
            "catalog has; name its SAM file with --base."
        )
    return f"sam_vit_{size}"


def build(parts: Parts, name: str) -> PromptableModel:
    """The network, in float32 and evaluation mode on the CPU.

    Raises
    ------
    ValueError
        Naming the first key or shape that differs.
    """
    with torch.device("meta"):  # the random start would take longer than the file
        model = _network(parts)
    load_exactly(model, parts.tensors, name)
    return model.float().eval().requires_grad_(False)


def fitted(spec: ModelSpec, parts: Parts) -> ModelSpec:
    """A catalog row with the patch that the network of a file really has."""
    if parts.family == "sam_med3d":
        edge = parts.sizes["image_size"]
        low = edge // 4
        return replace(spec, patch_shape=(edge,) * 3, mask_shape=(low,) * 3)
    if parts.family.startswith("sam3d_adapter"):
        return replace(spec, patch_shape=(parts.sizes["crop"],) * 3)
    return spec


def load_exactly(model: torch.nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Put tensors into a model; ValueError names the first key or shape that differs."""
    check_tensors(model.state_dict(), tensors, name, "that the model does not know")
    model.load_state_dict(tensors, assign=True)


def check_tensors(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str, unknown: str
) -> None:
    """ValueError that names the first key or shape in which tensors differ from those of a model.

    Parameters
    ----------
    own
        Of the model.
    tensors
        Of a file.
    name
        What messages call the file.
    unknown
        What is said of a tensor that the model does not have.
    """
    for key in sorted(own.keys() | tensors.keys()):
        if key not in tensors:
            raise ValueError(f"{name} lacks the tensor {key}; it belongs to another model.")
        if key not in own:
            raise ValueError(f"{name} has a tensor {key} {unknown}.")
        if not isinstance(tensors[key], Tensor):
            raise ValueError(f"{name}: {key} is a {type(tensors[key]).__name__}, not a tensor.")
        if own[key].shape != tensors[key].shape:
            found, wanted = tuple(tensors[key].shape), tuple(own[key].shape)
            raise ValueError(f"{name}: {key} has shape {found}, the model needs {wanted}.")


def _save(tensors: Mapping[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with replacing(real_target(path)) as file:
        file.write(save(whole, metadata))


def _read_ours(path: Path) -> Parts | None:
    """Parts of a file of our own; None for safetensors of others."""
    try:
        said = metadata_of(path)
    except Exception as error:  # safetensors raises several kinds
        raise ValueError(f"{path.name} is damaged ({error}); fetch or add it again.") from error
    if said.get("format") != OURS:
        return None
    sizes = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(said["sizes"]).items()
    }
    return Parts(said["family"], sizes, dict(read_checkpoint(path)))


def _parse(
    family: str, checkpoint: Checkpoint, base: Path | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Sizes and tensors of a released file."""
    if family == "sam_med3d":
        from napari_sam3d.engine.models.sam_med3d import release as med3d

        tensors = med3d.from_release(checkpoint)
        return med3d.sizes(tensors), tensors
    if family.startswith("sam3d_adapter"):
        from napari_sam3d.engine.models.sam3d_adapter import release as adapter

        sizes = adapter.release_sizes(checkpoint)
        voxels = 8 if family == "sam3d_adapter_auto" else 4  # per token, along an edge
        return {**sizes, "crop": sizes["grid"] * voxels}, adapter.from_release(checkpoint)
    if family == "ma_sam":
        from napari_sam3d.engine.models import ma_sam

        if base is None:
            raise ValueError("its adapters belong on a SAM file, which has to be named, too.")
        sam = read_checkpoint(base)
        tensors = ma_sam.from_release(checkpoint, sam)
        return ma_sam.infer_sizes(checkpoint, sam), tensors
    from napari_sam3d.engine.models import sam_slices

    return sam_slices.infer_sizes(checkpoint), sam_slices.from_release(checkpoint)


def _network(parts: Parts) -> PromptableModel:
    if parts.family == "sam_med3d":
        from napari_sam3d.engine.models.sam_med3d import SamMed3D

        return SamMed3D(**parts.sizes)
    if parts.family == "sam3d_adapter":
        from napari_sam3d.engine.models.sam3d_adapter.model import Sam3DAdapter

        return Sam3DAdapter(**parts.sizes)
    if parts.family == "sam3d_adapter_auto":
        from napari_sam3d.engine.models.sam3d_adapter.automatic import AutomaticSam3DAdapter

        return AutomaticSam3DAdapter(**parts.sizes)
    if parts.family == "ma_sam":
        from napari_sam3d.engine.models.ma_sam import MaSam

        return MaSam(**parts.sizes)
    if parts.family == "compact":
        from napari_sam3d.engine.models.compact import Compact

        return Compact(**parts.sizes)
    from napari_sam3d.engine.models.sam_slices import SliceSam

    return SliceSam(**parts.sizes)
