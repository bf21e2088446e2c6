"""The prompt encoder of SAM-Med3D: points, boxes and an earlier mask to embeddings."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.sam_blocks import ChannelNorm, full_precision

_BACKGROUND, _FOREGROUND, _LOW_CORNER, _HIGH_CORNER = range(4)  # rows of point_embeddings
_NO_POINT = -1


class PromptEncoder(nn.Module):
    """Sparse and dense prompts in the width of the image features.

    The released code (SAM-Med3D f3de1fa). Parameter names are those of the released files. Files
    of the CVPR 2025 layout hold four point embeddings instead of two and take boxes.
    """

    def __init__(
        self, *, width: int, grid: int, image_size: int, mask_channels: int, point_kinds: int
    ) -> None:
        super().__init__()
        self.grid, self.image_size = grid, image_size
        self.pe_layer = PositionEncoding(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(point_kinds))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, mask_channels // 4, 2, stride=2),
            ChannelNorm(mask_channels // 4),
            nn.GELU(),
            nn.Conv3d(mask_channels // 4, mask_channels, 2, stride=2),
            ChannelNorm(mask_channels),
            nn.GELU(),
            nn.Conv3d(mask_channels, width, 1),
        )
        # Part of the files, without use: the released scripts give zeros as the first mask.
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, prompts: PatchPrompts) -> tuple[Tensor, Tensor]:
        """Embeddings (b, n, c) of points and box corners, and (b, c, g, g, g) of the mask."""
        parts = []
        if prompts.points.shape[1]:
            parts.append(self.embed_points(prompts.points, prompts.labels, prompts.boxes is None))
        if prompts.boxes is not None:
            parts.append(self.embed_boxes(prompts.boxes))
        mask = prompts.mask
        if parts:
            sparse = torch.cat(parts, 1)
        else:
            sparse = mask.new_zeros(mask.shape[0], 0, self.not_a_point_embed.embedding_dim)
        return sparse, self.embed_mask(mask)

    def embed_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        """(b, n, 3) voxels and (b, n) labels -> (b, n, c), one more when padded."""
        encoded = self.pe_layer((points + 0.5) / self.image_size)
        labels = labels[..., None]
        kind = torch.where(labels == _FOREGROUND, self._kind(_FOREGROUND), self._kind(_BACKGROUND))
        empty = self.not_a_point_embed.weight
        embedded = torch.where(labels == _NO_POINT, empty, encoded + kind)
        if pad:  # kept for parity: without a box there is one token that stands for no point
            embedded = torch.cat([embedded, empty.expand(points.shape[0], 1, -1)], 1)
        return embedded

    def embed_boxes(self, boxes: Tensor) -> Tensor:
        """(b, 2, 3) lowest and highest corner in voxels -> (b, 2, c)."""
        if len(self.point_embeddings) <= _HIGH_CORNER:
            raise ValueError(
                "These weights of SAM-Med3D take no boxes: they hold embeddings of points only; "
                "use clicks, or a file of the CVPR 2025 layout."
            )
        encoded: Tensor = self.pe_layer((boxes + 0.5) / self.image_size)
        return encoded + torch.cat([self._kind(_LOW_CORNER), self._kind(_HIGH_CORNER)])

    def _kind(self, index: int) -> Tensor:
        return self.point_embeddings[index].get_parameter("weight")  # (1, c)

    def embed_mask(self, mask: Tensor) -> Tensor:
        """(b, 1, 4g, 4g, 4g) logits -> (b, c, g, g, g); other sizes are interpolated first."""
        low = (4 * self.grid,) * 3
        if mask.shape[2:] != low:
            mask = F.interpolate(mask, low, mode="trilinear", align_corners=False)
        embedded: Tensor = self.mask_downscaling(mask)
        return embedded

    def dense_pe(self) -> Tensor:
        """Position encoding of the image tokens, (1, c, g, g, g).

        Kept for parity: token (i, j, k) is encoded as position (j, i, k), points are not turned so.
        """
        n = self.grid
        along = (torch.arange(n, device=self.pe_layer.matrix.device) + 0.5) / n
        i, j, k = torch.meshgrid(along, along, along, indexing="ij")
        encoded: Tensor = self.pe_layer(torch.stack([j, i, k], -1))
        return encoded.permute(3, 0, 1, 2)[None]


class PositionEncoding(nn.Module):
    """Random Fourier features of positions from 0 to 1: sine, cosine, and the sine again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 3))

    @property
    def matrix(self) -> Tensor:
        """(3, width / 3)."""
        return self.get_buffer("positional_encoding_gaussian_matrix")

    def forward(self, positions: Tensor) -> Tensor:
        """(..., 3) -> (..., width), in float32."""
        with full_precision(positions):
            angle = 2 * math.pi * ((2 * positions.float() - 1) @ self.matrix.float())
        sine = angle.sin()
        return torch.cat([sine, angle.cos(), sine], -1)
