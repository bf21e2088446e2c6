"""Files of weights: read without running anything they hold, and recognised by their keys."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from napari_sam3d.engine.places import ZIP, is_safetensors

Checkpoint = Mapping[str, Any]

# 3DSAM-adapter keeps its best loss as a number of numpy's; neither class can run code
_SCALAR: Any = np.float32(0).__reduce__()[0]
_ALLOWED: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
]


def read_checkpoint(path: Path) -> Checkpoint:
    """What a .safetensors, .pth or .pt file holds, on the CPU; tensors are mapped, not read.

    Raises
    ------
    ValueError
        With one sentence, when the file is missing or damaged, or holds more than tensors, plain
        values and what contains them. Nothing of it is run.
    """
    if not path.is_file():
        raise ValueError(f"{path} is no file; check the path.")
    if is_safetensors(path):
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path.name} is damaged ({error}); fetch it again.") from error
    with path.open("rb") as file:
        zipped = file.read(4) == ZIP
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise ValueError(f"{path.name} is no file of weights, or damaged.") from error
        raise ValueError(
            f"{path.name} holds a Python object ({named.group(1)}) besides tensors, which might "
            "run code and is not loaded; ask for a file with the weights alone."
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ValueError(f"{path.name} is no file of weights, or damaged: {reason}") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path.name} holds a {type(found).__name__}, not named tensors.")
    return found


def recognise(checkpoint: Checkpoint, name: str) -> str:
    """The family a released file belongs to, by its keys.

    Returns
    -------
    str
        sam3d_adapter, sam3d_adapter_auto, sam_med3d, ma_sam or sam.

    Raises
    ------
    ValueError
        With one sentence that says what the file looks like instead.
    """
    keys = checkpoint.keys()
    if {"encoder_dict", "decoder_dict"} <= keys:
        return "sam3d_adapter" if "feature_dict" in keys else "sam3d_adapter_auto"
    flat = checkpoint.get("model_state_dict", checkpoint)
    if "image_encoder.FacTu.weight" in flat:
        return "ma_sam"
    embedding = flat.get("image_encoder.patch_embed.proj.weight")
    if isinstance(embedding, Tensor) and embedding.ndim == 5:
        return "sam_med3d"
    if isinstance(embedding, Tensor) and "mask_decoder.iou_token.weight" in flat:
        return "sam"
    if any(key.startswith("image_encoder.layers.") for key in flat):
        raise ValueError(
            f"{name} is a MobileSAM, whose encoder is not one of SAM's; use SAM's vit_b instead."
        )
    first = ", ".join(sorted(map(str, keys))[:3])
    raise ValueError(f"{name} belongs to no model known here: its keys begin with {first}.")
