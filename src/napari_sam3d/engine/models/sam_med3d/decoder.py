"""The mask decoder of SAM-Med3D: Segment Anything's, with one more axis."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from napari_sam3d.engine.models.sam_blocks import ChannelNorm

# the released code fixes these in its builder
_DEPTH = 2  # of the two-way transformer
_HEADS = 8
_MASKS = 4  # one for whoever asks for a single mask, three alternatives
_MLP_DEPTH = 3


class MaskDecoder(nn.Module):
    """Masks and their expected quality from image features and embedded prompts.

    The released code (SAM-Med3D f3de1fa). Parameter names are those of the released files.
    """

    def __init__(self, *, width: int, mlp: int, iou_hidden: int) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(_DEPTH, width, _HEADS, mlp)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(_MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose3d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(width, width, width // 8, _MLP_DEPTH) for _ in range(_MASKS)
        )
        self.iou_prediction_head = MLP(width, iou_hidden, _MASKS, _MLP_DEPTH)

    def forward(
        self,
        features: Tensor,
        position: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Logits (b, m, 4g, 4g, 4g) and qualities (b, m): m is 1, or 3 for the alternatives.

        Parameters
        ----------
        features
            (b, c, g, g, g) of the image; a single one serves all prompts.
        position
            (1, c, g, g, g), the encoding of the positions of the features.
        sparse
            (b, n, c) embedded points and boxes.
        dense
            (b, c, g, g, g) embedded masks.
        multimask
            Whether the three alternatives are wanted; nobody trained them to differ by meaning.
        """
        b, g = sparse.shape[0], features.shape[-1]
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([tokens.expand(b, -1, -1), sparse], 1)
        image = (features + dense).flatten(3)  # the transformer of two axes only flattens them
        tokens, image = self.transformer(image, position.flatten(3).expand_as(image), tokens)
        wanted = range(1, _MASKS) if multimask else range(1)
        weights = [self.output_hypernetworks_mlps[m](tokens[:, 1 + m]) for m in wanted]
        logits = self._upscale(image.view(b, g, g, g, -1), torch.stack(weights, 2))
        quality = self.iou_prediction_head(tokens[:, 0])
        return logits, quality[:, wanted.start : wanted.stop]

    def _upscale(self, image: Tensor, weights: Tensor) -> Tensor:
        """Logits of image tokens (b, g, g, g, c) with the weights (b, c / 8, m) of m masks.

        A transposed convolution whose stride is its kernel is a product that gives the eight
        children of each token; they are put in place only when nothing but logits is left.
        """
        first, norm, act, second, _ = self.output_upscaling
        b, g = image.shape[:2]
        x = _children(image.flatten(1, 3), first)  # (b, g^3, 8, c / 4)
        x = act(norm(x.movedim(-1, 1)).movedim(1, -1))
        x = act(_children(x.flatten(1, 2), second))  # (b, 8 g^3, 8, c / 8)
        logits = x.flatten(1, 2) @ weights.to(x.dtype)  # (b, 64 g^3, m)
        logits = logits.view(b, g, g, g, 2, 2, 2, 2, 2, 2, -1)
        return logits.permute(0, 10, 1, 4, 7, 2, 5, 8, 3, 6, 9).reshape(b, -1, *(4 * g,) * 3)


def _children(x: Tensor, layer: nn.Module) -> Tensor:
    """(b, n, c) -> (b, n, 8, out): what a transposed convolution makes of each token."""
    weight = layer.get_parameter("weight").flatten(2).permute(2, 1, 0).flatten(0, 1)  # (8 out, c)
    return F.linear(x, weight, layer.get_parameter("bias").repeat(8)).unflatten(-1, (8, -1))
