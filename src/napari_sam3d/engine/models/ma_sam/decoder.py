"""The mask decoder of MA-SAM: SAM's two-way transformer, one mask per class at full resolution."""

from __future__ import annotations

import torch
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

_TRANSFORMER_DEPTH = 2
_TRANSFORMER_HEADS = 8
_MLP_LAYERS = 3


class ClassDecoder(nn.Module):
    """Progressive up-sampling by 16 (paper, section 3.4) and a mask for every class.

    Parameters
    ----------
    channels
        Of the embedding.
    outputs
        Number of masks: the classes and, first, the background.
    mlp_dim, quality_dim
        Hidden widths of the transformer and of the head that was to judge the masks.
    """

    def __init__(self, channels: int, outputs: int, mlp_dim: int, quality_dim: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.transformer = TwoWayTransformer(
            depth=_TRANSFORMER_DEPTH,
            embedding_dim=channels,
            mlp_dim=mlp_dim,
            num_heads=_TRANSFORMER_HEADS,
        )
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(outputs, channels)
        widths = [channels // 4, channels // 8, channels // 16, channels // 32]
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, widths[0], 2, stride=2),
            LayerNorm2d(widths[0]),
            nn.GELU(),
            nn.ConvTranspose2d(widths[0], widths[1], 2, stride=2),
            LayerNorm2d(widths[1]),
            nn.GELU(),
            nn.ConvTranspose2d(widths[1], widths[2], 2, stride=2),
            LayerNorm2d(widths[2]),
            nn.GELU(),
            nn.ConvTranspose2d(widths[2], widths[3], 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(channels, channels, widths[3], _MLP_LAYERS) for _ in range(outputs)
        )
        self.iou_prediction_head = MLP(channels, quality_dim, outputs, _MLP_LAYERS)

    def forward(
        self, image: Tensor, image_positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masks of slices, each from its own prompts or all from none.

        Parameters
        ----------
        image
            (n, channels, h, w).
        image_positions
            (1, channels, h, w).
        sparse
            (n or 1, tokens, channels).
        dense
            (n or 1, channels, h, w).

        Returns
        -------
        tuple[Tensor, Tensor]
            Logits (n, outputs, 16 h, 16 w), background first, and what the quality head says,
            (n, outputs); the release never trained that head.
        """
        # Cheap beside the encoder, and its logits are the answer: never in half precision.
        with torch.autocast(image.device.type, enabled=False):
            n, c, h, w = image.shape
            own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])[None]
            tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse.float()], 1)
            source = image.float() + dense.float()
            hidden, source = self.transformer(
                source, image_positions.float().expand(n, -1, -1, -1), tokens.expand(n, -1, -1)
            )
            upscaled = self.output_upscaling(source.transpose(1, 2).reshape(n, c, h, w))
            masks = hidden[:, 1 : 1 + self.outputs]
            weights = [mlp(masks[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
            logits = torch.stack(weights, 1) @ upscaled.flatten(2)
            quality = self.iou_prediction_head(hidden[:, 0])
            return logits.unflatten(2, upscaled.shape[2:]), quality
