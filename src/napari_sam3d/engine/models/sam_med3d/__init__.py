"""SAM-Med3D: Segment Anything made 3D throughout, as its authors released it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel, expected_iou
from napari_sam3d.engine.models.sam_blocks import full_precision
from napari_sam3d.engine.models.sam_med3d.decoder import MaskDecoder
from napari_sam3d.engine.models.sam_med3d.encoder import Block, ImageEncoder, LowRank
from napari_sam3d.engine.models.sam_med3d.prompt_encoder import PromptEncoder

__all__ = ["Embedding", "SamMed3D"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Features (b, c, g, g, g) of the patches, and the encoding (1, c, g, g, g) of their places."""

    features: Tensor
    position: Tensor


@final
class SamMed3D(PromptableModel):
    """The network `vit_b_ori`; other sizes are for tests.

    Wang et al., SAM-Med3D: Towards General-purpose Segmentation Models for Volumetric Medical
    Images (arXiv 2310.15161). Patches are cubes of 1.5 mm voxels in the order (right, anterior,
    superior), normalised by `preprocess.normalise`; points count in the same order.

    Parameters
    ----------
    image_size
        Voxels along an edge of the patch.
    patch_size
        Voxels along an edge of a token.
    width, depth, heads
        Of the image encoder.
    window
        Edge in tokens of the windows of all blocks but `global_blocks`.
    out
        Width of features, prompts and decoder.
    mask_channels
        Hidden width of the embedding of masks.
    point_kinds
        2 for points; 4 in the CVPR 2025 layout, which takes boxes too.
    decoder_mlp, iou_hidden
        Hidden widths of the decoder.
    """

    def __init__(
        self,
        *,
        image_size: int = 128,
        patch_size: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        window: int = 14,
        global_blocks: tuple[int, ...] = (2, 5, 8, 11),
        out: int = 384,
        mask_channels: int = 16,
        point_kinds: int = 2,
        decoder_mlp: int = 2048,
        iou_hidden: int = 256,
    ) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(
            image_size=image_size,
            patch_size=patch_size,
            width=width,
            depth=depth,
            heads=heads,
            window=window,
            global_blocks=global_blocks,
            out=out,
        )
        self.prompt_encoder = PromptEncoder(
            width=out,
            grid=image_size // patch_size,
            image_size=image_size,
            mask_channels=mask_channels,
            point_kinds=point_kinds,
        )
        self.mask_decoder = MaskDecoder(width=out, mlp=decoder_mlp, iou_hidden=iou_hidden)

    def encode_image(self, patch: Tensor) -> Embedding:
        return Embedding(self.image_encoder(patch), self.prompt_encoder.dense_pe())

    def decode_masks(self, embedding: Embedding, prompts: PatchPrompts) -> Masks:
        """Logits (b, 1, s/4, s/4, s/4), on a quarter of the patch's voxels along each axis.

        The released scripts hand them back as the mask of the next click as they are, and
        interpolate them (trilinear, corners not aligned) to get the mask.
        """
        # A click is cheap, and in bfloat16 it moved more of the mask's rim than the whole encoder.
        with full_precision(embedding.features):
            sparse, dense = self.prompt_encoder(prompts)
            logits, _ = self.mask_decoder(embedding.features, embedding.position, sparse, dense)
        # No loss ever reached the released quality head, so the probabilities are asked instead.
        return Masks(logits, expected_iou(logits))

    @staticmethod
    def is_adapter(name: str) -> bool:
        return name.startswith(("prompt_encoder.", "mask_decoder.")) or ".low_rank." in name

    def add_low_rank(self, rank: int) -> None:
        generator = torch.Generator().manual_seed(0)  # several processes begin alike
        for block in self.image_encoder.blocks:
            assert isinstance(block, Block)
            found = block.attn.low_rank
            if found is None:
                block.attn.low_rank = LowRank.beside(block.attn.qkv, rank, generator)
            elif found.rank != rank:
                raise ValueError(
                    f"The adapter to begin with changes the encoder with rank {found.rank}, not "
                    f"{rank}; choose the same."
                )

    def make_room(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if name.endswith(".low_rank.down.weight"):
                self.add_low_rank(len(tensor))
                return
