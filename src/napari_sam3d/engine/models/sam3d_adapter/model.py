"""3DSAM-adapter with its three parts joined: an image once, then masks for points."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, final

import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel, expected_iou
from napari_sam3d.engine.models.sam3d_adapter.image_encoder import ImageEncoder
from napari_sam3d.engine.models.sam3d_adapter.mask_decoder import MaskDecoder
from napari_sam3d.engine.models.sam3d_adapter.prompt_encoder import VisualSampler

# SAM's transformers, by its names: the keyword arguments of `Sam3DAdapter`
SAM_SIZES: dict[str, dict[str, Any]] = {
    "vit_b": {"dim": 768, "depth": 12, "heads": 12, "levels": (2, 5, 8, 11)},
    "vit_l": {"dim": 1024, "depth": 24, "heads": 16, "levels": (5, 11, 17, 23)},
    "vit_h": {"dim": 1280, "depth": 32, "heads": 16, "levels": (7, 15, 23, 31)},
}

# what the paper tunes of the encoder; prompt encoder and decoder are tuned as a whole
_TUNED = re.compile(
    r"image_encoder\.("
    r"depth_embed|slice_embed\.|neck_3d\.|blocks\.\d+\.(adapter\.|norm[12]\.|attn\.rel_pos_d$))"
)


@dataclass(frozen=True, eq=False)
class Embedding:
    """All that does not depend on the prompts.

    Parameters
    ----------
    deepest
        (b, width, h, w, d) features of the last level, which the prompts change.
    prepared
        (b, narrow, 2 h, 2 w, 2 d), what all else adds to the decoder's joining convolution.
    shape
        Voxels of the patch along (d, h, w).
    """

    deepest: Tensor
    prepared: Tensor
    shape: tuple[int, ...]


@final
class Sam3DAdapter(PromptableModel):
    """SAM's image encoder with adapters, a visual sampler for points, and a convolutional decoder.

    A patch is in the order (d, h, w) of the released code, resampled to 1 mm and normalised by
    `preprocess.normalise`. The network knows positive points only: others are left out.

    Parameters
    ----------
    width
        Channels of the features.
    narrow
        Channels within the decoder.
    prompt_mlp
        Hidden channels of the prompt encoder.
    crop
        Voxels of the patch along each axis.
    encoder
        Further arguments of `ImageEncoder`.
    """

    def __init__(
        self,
        *,
        width: int = 256,
        narrow: int = 128,
        prompt_mlp: int = 2048,
        crop: int = 128,
        **encoder: Any,
    ) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(width=width, crop=crop, **encoder)
        self.prompt_encoder = VisualSampler(width, mlp=prompt_mlp)
        self.mask_decoder = MaskDecoder(width, narrow)

    def encode_image(self, patch: Tensor) -> Embedding:
        features = self.image_encoder(patch)
        prepared = self.mask_decoder.prepare(features[:3], small_image(patch, features[0]))
        return Embedding(features[3], prepared, tuple(patch.shape[2:]))

    def decode_masks(self, embedding: Embedding, prompts: PatchPrompts) -> Masks:
        prompted = self.prompt_encoder(
            embedding.deepest, prompts.points, prompts.labels, embedding.shape
        )
        odds = self.mask_decoder.decode(embedding.prepared, prompted)
        return masks_of(odds, embedding.shape)

    @staticmethod
    def is_adapter(name: str) -> bool:
        return is_tuned(name)


def is_tuned(name: str) -> bool:
    """Whether the paper tunes the parameter: 15.21 M of the encoder, 25.46 M in all."""
    return bool(_TUNED.match(name)) or name.startswith(("prompt_encoder.", "mask_decoder."))


def small_image(patch: Tensor, feature: Tensor) -> Tensor:
    """The patch (b, 1, d, h, w) as (b, 1, 2 h, 2 w, 2 d) of a feature's (h, w, d)."""
    scale = 2 * feature.shape[-1] / patch.shape[-1]
    turned = patch.float().permute(0, 1, 3, 4, 2)
    return F.interpolate(turned, scale_factor=scale, mode="trilinear", align_corners=False)


def masks_of(odds: Tensor, shape: tuple[int, ...]) -> Masks:
    """Masks on the patch of `shape` from log odds (b, 1, h, w, d) of object against background.

    Softmax over two classes is the logistic function of their difference, and upsampling the
    difference is the difference of what is upsampled.
    """
    turned = odds.float().permute(0, 1, 4, 2, 3)  # (b, 1, d, h, w)
    # kept for parity: corners are aligned here, unlike anywhere before the decoder
    fine = F.interpolate(turned, shape, mode="trilinear", align_corners=True)
    return Masks(fine, expected_iou(fine))
