"""3DSAM-adapter's prompt encoder: the features under the clicks ask the whole patch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import MLPBlock
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

Shape = tuple[int, ...]

_QUERIES = 10  # learned global queries of each layer


class VisualSampler(nn.Module):
    """Features that know of the clicks (paper, section 3.3).

    Instance 3 of the released list of four; the other three are never used. Two of its parts are
    never used either and stay for parity with its file: the matrix of Fourier positions and the
    attention from tokens to the image.
    """

    def __init__(self, width: int = 256, heads: int = 8, mlp: int = 2048, layers: int = 2) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, width // 2))
        self.transformer = Transformer(Layer(width, heads, mlp) for _ in range(layers))

    def forward(self, feature: Tensor, points: Tensor, labels: Tensor, shape: Shape) -> Tensor:
        """Features (b, c, h, w, d) that know of the positive points.

        Parameters
        ----------
        feature
            (b, c, h, w, d) of the deepest level.
        points
            (b, n, 3) voxels (d, h, w) of the patch.
        labels
            (b, n); only points labelled 1 are used, for the network knows no others.
        shape
            Voxels of the patch along (d, h, w).
        """
        image = feature.flatten(2).transpose(1, 2)  # (b, h w d, c)
        told = []
        for i, (marks, known) in enumerate(zip(points, labels, strict=True)):
            tokens = sample_tokens(feature[i : i + 1], marks[known == 1][None], shape)
            one = image[i : i + 1]
            told.append(self.transformer(tokens, one))
        # the result stays in the order of its tokens, which convolutions know as channels last
        return torch.cat(told).transpose(1, 2).unflatten(2, feature.shape[2:])


class Transformer(nn.Module):
    """Layers one after another; what they make of the image is the answer."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, points: Tensor, image: Tensor) -> Tensor:
        for layer in self.layers:
            points, image = layer(points, image)
        return image


class Layer(nn.Module):
    """Global queries and points ask each other, then the image asks the queries."""

    def __init__(self, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.global_query = nn.Parameter(torch.randn(1, _QUERIES, width))
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLPBlock(width, mlp, nn.ReLU)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample_rate=2)

    def forward(self, points: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Points (b, n, c) and image (b, h w d, c), each having seen the other."""
        q = torch.cat([self.global_query.expand(len(points), -1, -1), points], 1)
        # kept for parity: the first norm acts on what attention adds, before it is added
        q = self.norm2(q + self.norm1(self.self_attn(q, q, q)))
        asked, points = q[:, :_QUERIES], q[:, _QUERIES:]
        asked = self.norm3(asked + self.mlp(asked))
        image = image + self.cross_attn_image_to_token(q=image, k=asked, v=asked)
        return points, self.norm4(image)


def sample_tokens(feature: Tensor, points: Tensor, shape: Shape) -> Tensor:
    """Features (b, n, c) of (b, c, h, w, d) at points (b, n, 3), voxels (d, h, w); 0 outside."""
    extent = torch.tensor(shape, dtype=torch.float32, device=points.device)
    place = (points.float() + 0.5) * 2 / extent - 1
    # grid_sample names the last axis first: d, w, h
    grid = place[:, None, None][..., [0, 2, 1]]
    sampled = F.grid_sample(feature.float(), grid, align_corners=False)
    return sampled[:, :, 0, 0].transpose(1, 2)
