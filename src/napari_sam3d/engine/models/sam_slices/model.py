"""SAM for one grey slice at a time: encode it once, decode a mask for each set of prompts.

Kirillov et al., "Segment Anything", 2023; the networks are those of `segment_anything`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn
from torchvision.transforms.functional import (  # type: ignore[import-untyped]
    InterpolationMode,
    resize,
    to_pil_image,
)

from napari_sam3d.engine.models.vit_attention import RelativePositions, image_attention

_PIXEL_MEAN = (123.675, 116.28, 103.53)  # of SAM's red, green and blue
_PIXEL_STD = (58.395, 57.12, 57.375)
_PATCH = 16
_EPS = 1e-6  # of the layer norms of the encoder
_MASK_CHANNELS = 16
_ALTERNATIVES = 3  # masks of whole, part and subpart, for prompts that leave it open
_DECODER_DEPTH, _DECODER_HEADS, _QUALITY_LAYERS = 2, 8, 3
_WHITE = 255.0


@dataclass(frozen=True, eq=False)
class SlicePrompts:
    """What is known of the object on a slice.

    Parameters
    ----------
    points
        (n, 2) rows and columns in pixels, whole numbers at pixel centres.
    labels
        (n,) 1 positive, 0 negative.
    box
        (row, column, row, column) of two corners, or None.
    mask
        (1, 1, s, s) logits of an earlier mask as `SliceMask.coarse`, or None.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None
    mask: Tensor | None = None


@dataclass(frozen=True, eq=False)
class SliceMask:
    """Logits (h, w) float32 on the pixels of a slice.

    Parameters
    ----------
    logits
        Above zero the object is.
    score
        The expected IoU by SAM's own judgement.
    coarse
        (1, 1, s, s) logits as the network gives them, for `SlicePrompts.mask`.
    """

    logits: np.ndarray
    score: float
    coarse: Tensor


@dataclass(frozen=True, eq=False)
class SliceEmbedding:
    """An encoded slice (1, channels, h, w), its size in pixels and in the network's input."""

    features: Tensor
    size: tuple[int, int]
    input_size: tuple[int, int]


@final
class SliceSam(Sam):
    """SAM, and MedSAM which has the same layout.

    Its state has the keys of SAM's published files. The encoder is exact without the padding of
    its windows (`vit_attention`).

    Parameters
    ----------
    embed_dim, depth, heads, global_blocks
        Of the image encoder; vit_b where nothing is said.
    image_size, window
        Longest side of the resized slice in pixels; side of the windows in tokens.
    channels, mlp_dim, quality_dim
        Of the embedding, and hidden widths of the decoder.
    med_sam
        Prepare slices as MedSAM was tuned: stretched to a square, from 0 to 1, and prompted by a
        box alone (Ma et al., "Segment anything in medical images", 2024).
    """

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        global_blocks: tuple[int, ...] = (2, 5, 8, 11),
        image_size: int = 1024,
        window: int = 14,
        channels: int = 256,
        mlp_dim: int = 2048,
        quality_dim: int = 256,
        med_sam: bool = False,
    ) -> None:
        side = image_size // _PATCH
        super().__init__(
            ImageEncoderViT(
                img_size=image_size,
                patch_size=_PATCH,
                embed_dim=embed_dim,
                depth=depth,
                num_heads=heads,
                out_chans=channels,
                norm_layer=partial(nn.LayerNorm, eps=_EPS),
                use_rel_pos=True,
                window_size=window,
                global_attn_indexes=tuple(global_blocks),
            ),
            PromptEncoder(channels, (side, side), (image_size, image_size), _MASK_CHANNELS),
            MaskDecoder(
                transformer_dim=channels,
                transformer=TwoWayTransformer(
                    depth=_DECODER_DEPTH,
                    embedding_dim=channels,
                    mlp_dim=mlp_dim,
                    num_heads=_DECODER_HEADS,
                ),
                num_multimask_outputs=_ALTERNATIVES,
                iou_head_depth=_QUALITY_LAYERS,
                iou_head_hidden_dim=quality_dim,
            ),
            list(_PIXEL_MEAN),
            list(_PIXEL_STD),
        )
        self.med_sam = med_sam

    @property
    def boxes_only(self) -> bool:
        """Whether the network was tuned for boxes and nothing else."""
        return self.med_sam

    @torch.inference_mode()
    def encode_slice(
        self, image: np.ndarray, pixel_size: tuple[float, float] = (1.0, 1.0)
    ) -> SliceEmbedding:
        """Embedding of a grey slice (h, w) uint8, whose pixels are `pixel_size` (rows, columns)."""
        pixels = self.prepare(image, pixel_size).to(self.device)
        features = encode_image(self.image_encoder, self._normalise(pixels))
        high, wide = pixels.shape[-2:]
        return SliceEmbedding(features, (image.shape[0], image.shape[1]), (high, wide))

    def prepare(self, image: np.ndarray, pixel_size: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        """The slice (1, 3, h, w), 0 to 255, resized so that its longest side fits the network.

        With square pixels this is `ResizeLongestSide`; others are made square on the way.
        """
        side = self.image_encoder.img_size
        if self.med_sam:
            high, wide = side, side
        else:
            tall, broad = image.shape[0] * pixel_size[0], image.shape[1] * pixel_size[1]
            high, wide = ResizeLongestSide.get_preprocess_shape(tall, broad, side)
        how = InterpolationMode.BICUBIC if self.med_sam else InterpolationMode.BILINEAR
        grey = np.array(resize(to_pil_image(image), [max(1, high), max(1, wide)], how))
        return torch.from_numpy(grey).float()[None, None].expand(1, 3, -1, -1)

    def _normalise(self, pixels: Tensor) -> Tensor:
        if not self.med_sam:
            return self.preprocess(pixels)
        low, high = pixels.min(), pixels.max()
        return (pixels - low) / (high - low).clamp(min=1 / _WHITE)

    @torch.inference_mode()
    def decode_slice(self, embedding: SliceEmbedding, prompts: SlicePrompts) -> SliceMask:
        """The mask that the prompts mean.

        A single point leaves open what is meant: then the best of three masks, by SAM's own
        judgement, is taken, else the one for clear prompts.
        """
        if self.boxes_only:
            if prompts.box is None:
                raise ValueError("MedSAM was tuned for boxes alone; it needs a box, not points.")
            prompts = SlicePrompts(np.zeros((0, 2)), np.zeros(0), prompts.box)
        points, box = self._on_input(embedding, prompts)
        clear = prompts.box is not None or prompts.mask is not None or len(prompts.points) > 1
        with torch.autocast(self.device.type, enabled=False):
            sparse, dense = self.prompt_encoder(points, box, prompts.mask)
            coarse, quality = self.mask_decoder(
                image_embeddings=embedding.features,
                image_pe=self.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=not clear,
            )
            best = int(quality[0].argmax())
            chosen = coarse[:, best : best + 1]
            logits = self.postprocess_masks(chosen, embedding.input_size, embedding.size)
        return SliceMask(logits[0, 0].float().cpu().numpy(), float(quality[0, best]), chosen)

    def _on_input(
        self, embedding: SliceEmbedding, prompts: SlicePrompts
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        """Points (1, n, 2) with labels (1, n), and box (1, 4), as (x, y) of the network's input."""
        scale = np.array(embedding.input_size) / np.array(embedding.size)

        def placed(places: np.ndarray) -> Tensor:
            flat = (np.asarray(places, float).reshape(-1, 2) * scale)[:, ::-1]
            return torch.tensor(flat.copy(), dtype=torch.float32, device=self.device)

        points, box = None, None
        if len(prompts.points):
            labels = torch.tensor(np.asarray(prompts.labels), device=self.device)
            points = (placed(prompts.points)[None], labels[None].float())
        if prompts.box is not None:
            box = placed(prompts.box).reshape(1, 4)
        return points, box


def encode_image(encoder: ImageEncoderViT, image: Tensor) -> Tensor:
    """What `encoder(image)` gives, (n, channels, h, w), with fast attention."""
    x = encoder.patch_embed(image).contiguous() + encoder.pos_embed
    for block in encoder.blocks:
        attn = block.attn
        positions = RelativePositions(attn.rel_pos_h, attn.rel_pos_w)
        qkv = attn.qkv(block.norm1(x))
        seen = image_attention(qkv, attn.qkv.bias, positions, attn.num_heads, block.window_size)
        x = x + attn.proj(seen)
        x = x + block.mlp(block.norm2(x))
    x = encoder.neck[0](x.permute(0, 3, 1, 2))
    x = encoder.neck[2](encoder.neck[1](x.float()))
    return encoder.neck[3](x.float())
