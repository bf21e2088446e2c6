"""MA-SAM as one network: groups of slices to class masks, alone or with a box on every slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from segment_anything.modeling import PromptEncoder
from torch import Tensor

from napari_sam3d.engine.models.base import Masks, PatchPrompts, PromptableModel, expected_iou
from napari_sam3d.engine.models.ma_sam.decoder import ClassDecoder
from napari_sam3d.engine.models.ma_sam.encoder import ImageEncoder

GROUP = 5  # slices that the released networks see together
NO_OBJECT = -20.0  # logit of a slice that the box leaves out
_MASK_CHANNELS = 16  # of SAM's mask prompts, which MA-SAM carries along unused
_TUNED = (".adapter_", "FacT", "prompt_encoder.", "mask_decoder.")


@dataclass(frozen=True, eq=False)
class GroupEmbedding:
    """Embeddings (b * slices, channels, h, w) of groups of slices."""

    image: Tensor
    slices: int

    def of(self, slices: list[int]) -> GroupEmbedding:
        """Some slices of a single group: the decoder looks at each alone."""
        return GroupEmbedding(self.image[slices], len(slices))


@dataclass(frozen=True, eq=False)
class ClassLogits:
    """Logits (b, classes + 1, slices, H, W), background first, and quality (b, classes + 1, s).

    The softmax over the classes gives their probabilities. The head behind `quality` was never
    trained; it is kept for parity.
    """

    logits: Tensor
    quality: Tensor


@final
class MaSam(PromptableModel):
    """Segments all classes it was tuned for without a prompt, or one object in boxes.

    It takes no clicks: the release has neither points nor masks as prompts. Slices are consecutive
    along the depth of the patch and squares of `image_size` pixels; intensities are scaled by
    `volume.Intensity`.

    Parameters
    ----------
    embed_dim, depth, heads, global_blocks
        Of SAM's encoder; vit_b where nothing is said.
    image_size, patch_size, window
        Side of a slice and of its patches in pixels, of a window in tokens.
    channels
        Of the embedding.
    classes
        Without the background.
    adapter_channels, rank, scale
        Of the adapters and of FacT.
    mlp_dim, quality_dim
        Hidden widths in the decoder.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        global_blocks: tuple[int, ...] = (2, 5, 8, 11),
        image_size: int = 512,
        patch_size: int = 16,
        window: int = 14,
        channels: int = 256,
        classes: int = 12,
        adapter_channels: int = 384,
        rank: int = 32,
        scale: float = 1.0,
        mlp_dim: int = 2048,
        quality_dim: int = 256,
    ) -> None:
        super().__init__()
        self.image_size, self.classes = image_size, classes
        self.image_encoder = ImageEncoder(
            embed_dim=embed_dim,
            depth=depth,
            heads=heads,
            global_blocks=tuple(global_blocks),
            image_size=image_size,
            patch_size=patch_size,
            window=window,
            channels=channels,
            adapter_channels=adapter_channels,
            rank=rank,
            scale=scale,
        )
        side = image_size // patch_size
        self.prompt_encoder = PromptEncoder(
            channels, (side, side), (image_size, image_size), _MASK_CHANNELS
        )
        self.mask_decoder = ClassDecoder(channels, classes + 1, mlp_dim, quality_dim)

    def encode_image(self, patch: Tensor) -> GroupEmbedding:
        """Embedding of groups of slices (b, 1, slices, H, W)."""
        slices = patch.shape[2]
        return GroupEmbedding(
            self.image_encoder(patch[:, 0].flatten(0, 1)[:, None], slices), slices
        )

    def decode_classes(self, embedding: GroupEmbedding, boxes: Tensor | None = None) -> ClassLogits:
        """Class masks without a prompt, or with one box (x0, y0, x1, y1) on every slice.

        Parameters
        ----------
        embedding
            Of b groups.
        boxes
            (b, slices, 4) in pixels, x along the last axis, whole numbers at pixel centres.
        """
        corners = None if boxes is None else boxes.reshape(-1, 4).float()
        with torch.autocast(embedding.image.device.type, enabled=False):
            sparse, dense = self.prompt_encoder(points=None, boxes=corners, masks=None)
            positions = self.prompt_encoder.get_dense_pe()
        logits, quality = self.mask_decoder(embedding.image, positions, sparse, dense)
        grouped = logits.unflatten(0, (-1, embedding.slices)).transpose(1, 2)
        return ClassLogits(grouped, quality.unflatten(0, (-1, embedding.slices)).transpose(1, 2))

    def decode_masks(self, embedding: GroupEmbedding, prompts: PatchPrompts) -> Masks:
        """One mask of everything that is not background, in a 3D box or without a prompt.

        Parameters
        ----------
        embedding
            Of b groups.
        prompts
            `boxes` (b, 2, 3) or None; slices outside a box hold nothing. Points are refused.
        """
        if bool((prompts.labels >= 0).any()):
            raise ValueError("MA-SAM takes a box or no prompt at all; it cannot use clicks.")
        boxes = prompts.boxes
        if boxes is None:
            logits = foreground(self.decode_classes(embedding).logits)
        else:
            (_, y0, x0), (_, y1, x1) = (corner.unbind(-1) for corner in boxes.unbind(1))
            flat = torch.stack([x0, y0, x1, y1], -1)[:, None].expand(-1, embedding.slices, -1)
            logits = foreground(self.decode_classes(embedding, flat).logits)
            place = torch.arange(embedding.slices, device=logits.device)
            inside = (place >= boxes[:, 0, :1]) & (place <= boxes[:, 1, :1])
            logits = logits.masked_fill(~inside[:, None, :, None, None], NO_OBJECT)
        return Masks(logits, expected_iou(logits))

    @staticmethod
    def is_adapter(name: str) -> bool:
        return any(part in name for part in _TUNED)


def foreground(logits: Tensor) -> Tensor:
    """Logit (b, 1, ...) of "not background" from class logits (b, classes + 1, ...)."""
    return torch.logsumexp(logits[:, 1:], 1, keepdim=True) - logits[:, :1]
