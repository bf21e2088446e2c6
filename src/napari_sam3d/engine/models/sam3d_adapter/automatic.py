"""3DSAM-adapter without prompts: every voxel of a volume by a sliding window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, final

import torch
from torch import Tensor

from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel
from napari_sam3d.engine.models.sam3d_adapter.image_encoder import ImageEncoder
from napari_sam3d.engine.models.sam3d_adapter.mask_decoder import MaskDecoder
from napari_sam3d.engine.models.sam3d_adapter.model import is_tuned, masks_of, small_image

_OVERLAP = 0.5  # of neighbouring windows, as released


@dataclass(frozen=True, eq=False)
class Embedding:
    """The decoder's log odds (b, 1, h, w, d), for there are no prompts to wait for."""

    odds: Tensor
    shape: tuple[int, ...]


@final
class AutomaticSam3DAdapter(PromptableModel):
    """The variant that finds its target by itself; prompts are not read.

    Parameters
    ----------
    width, narrow, crop, encoder
        As in `Sam3DAdapter`; the patch is larger and seen half as fine.
    """

    def __init__(
        self, *, width: int = 256, narrow: int = 128, crop: int = 256, **encoder: Any
    ) -> None:
        super().__init__()
        self.crop = crop
        self.image_encoder = ImageEncoder(width=width, crop=crop, **encoder)
        self.mask_decoder = MaskDecoder(width, narrow)

    def encode_image(self, patch: Tensor) -> Embedding:
        features = self.image_encoder(patch)
        odds = self.mask_decoder(features, small_image(patch, features[0]))
        return Embedding(odds, tuple(patch.shape[2:]))

    def decode_masks(self, embedding: Embedding, prompts: PatchPrompts | None = None) -> Masks:
        return masks_of(embedding.odds, embedding.shape)

    @staticmethod
    def is_adapter(name: str) -> bool:
        return is_tuned(name)


def window_count(model: AutomaticSam3DAdapter, shape: Sequence[int]) -> int:
    """How many windows `segment_automatically` looks at in an image of `shape`."""
    step = int(model.crop * (1 - _OVERLAP))
    return prod(1 + -(-max(0, n - model.crop) // step) for n in shape)


def segment_automatically(
    model: AutomaticSam3DAdapter, image: Tensor, on_window: Callable[[], None] = lambda: None
) -> Tensor:
    """Probability (d, h, w) of the target in a normalised image (d, h, w) of 1 mm voxels.

    Windows overlap by half and are weighted by a Gaussian (monai), as in the released code. Paste
    with `preprocess.to_native`. `on_window` is called before each window; what it raises ends it.
    """
    from monai.inferers import sliding_window_inference

    def chance(window: Tensor) -> Tensor:
        on_window()
        return torch.sigmoid(model.decode_masks(model.encode_image(window)).logits)

    with torch.no_grad():
        found = sliding_window_inference(
            image[None, None], (model.crop,) * 3, 1, chance, overlap=_OVERLAP, mode="gaussian"
        )
    return found[0, 0]
