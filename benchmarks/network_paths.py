"""The networks at full size, the published ones with random weights: our way and the plain one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from plain import ma_sam, sam3d_adapter, sam_med3d
from torch import Tensor

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.sam_slices import SlicePrompts, SliceSam
from napari_sam3d.engine.models.sam_slices.model import SliceEmbedding
from napari_sam3d.engine.weights import load_model


class Network(ABC):
    """One network: both ways run on the same weights and the same input."""

    plain_encodings = 1
    """How often the plain encoding is timed; 0 where there is no other formulation."""
    gflop: tuple[float, float]
    """Arithmetic of an encoding, plain and ours, as torch's FlopCounterMode counts it."""

    @abstractmethod
    def encode(self, plain: bool) -> Any:
        """Everything that does not depend on the prompts."""

    @abstractmethod
    def click(self, embedding: Any, plain: bool) -> Tensor:
        """Logits of one answer."""

    @staticmethod
    def mask(logits: Tensor) -> Tensor:
        """The voxels that the answer chooses; whole numbers for classes."""
        return logits > 0


@final
class Adapter(Network):
    """3DSAM-adapter on SAM's vit_b, whose last layer was fitted to find a ball.

    Ours does half of the decoder while it encodes.
    """

    gflop = (7806, 7663)

    def __init__(self) -> None:
        self.model = sam3d_adapter.build()
        self.patch, truth = sam3d_adapter.example_patch()
        with torch.inference_mode():
            sam3d_adapter.fit_readout(self.model, self.patch, truth)
        self.points = torch.tensor([[sam3d_adapter.CLICK]])

    def encode(self, plain: bool) -> Any:
        if plain:
            return sam3d_adapter.encode(self.model, self.patch)
        return self.model.encode_image(self.patch)

    def click(self, embedding: Any, plain: bool) -> Tensor:
        if plain:
            pair = sam3d_adapter.click(self.model, embedding, self.points)
            return pair[:, 1:] - pair[:, :1]
        asked = PatchPrompts(self.points, torch.ones(1, 1), torch.zeros(1))
        return self.model.decode_masks(embedding, asked).logits


@final
class Med3D(Network):
    """SAM-Med3D, one positive click on an empty mask."""

    plain_encodings = 3
    gflop = (368.6, 104.7)

    def __init__(self) -> None:
        self.ours, self.other = sam_med3d.build()
        self.patch, self.point, self.label, self.empty = sam_med3d.inputs(self.ours)

    def encode(self, plain: bool) -> Any:
        return self.other.encode(self.patch) if plain else self.ours.encode_image(self.patch)

    def click(self, embedding: Any, plain: bool) -> Tensor:
        if plain:
            logits = self.other.click(embedding, self.point, self.label, self.empty)
        else:
            asked = PatchPrompts(self.point, self.label, self.empty)
            logits = self.ours.decode_masks(embedding, asked).logits
        return F.interpolate(logits.float(), (128,) * 3, mode="trilinear")


@final
class Slices(Network):
    """MA-SAM on SAM's vit_b: twelve classes on a group of five slices."""

    gflop = (1410, 1200)

    def __init__(self) -> None:
        self.model = ma_sam.build()
        generator = torch.Generator().manual_seed(0)
        # structures of many sizes, as images have them
        self.group = sum(
            F.interpolate(
                torch.rand(1, 1, 5, n, n, generator=generator), (5, 512, 512), mode="trilinear"
            )
            for n in (4, 16, 64, 256)
        )
        self.group = (self.group - self.group.min()) / (self.group.max() - self.group.min())

    def encode(self, plain: bool) -> Any:
        if plain:
            return ma_sam.encode(self.model.image_encoder, self.group[:, 0].transpose(0, 1), 5)
        return self.model.encode_image(self.group)

    def click(self, embedding: Any, plain: bool) -> Tensor:
        if plain:
            return ma_sam.decode(self.model, embedding)[0]
        return self.model.decode_classes(embedding).logits[0].transpose(0, 1)

    @staticmethod
    def mask(logits: Tensor) -> Tensor:
        return logits.argmax(1)


@final
class Sam(Network):
    """SAM's vit_b on one slice, as `segment_anything` runs its encoder, and ours."""

    gflop = (972.1, 935.5)

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = SliceSam().eval().requires_grad_(False)
        self.slice = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
        self.asked = SlicePrompts(np.array([[250.0, 260.0]]), np.array([1]))

    def encode(self, plain: bool) -> Any:
        if not plain:
            return self.model.encode_slice(self.slice)
        pixels = self.model.prepare(self.slice)
        features = self.model.image_encoder(self.model.preprocess(pixels))
        high, wide = pixels.shape[-2:]
        return SliceEmbedding(features, self.slice.shape, (high, wide))

    def click(self, embedding: Any, plain: bool) -> Tensor:
        return torch.from_numpy(self.model.decode_slice(embedding, self.asked).logits)


@final
class Default(Network):
    """`compact` with its own weights on a ball in noise; most of it runs at each click."""

    plain_encodings = 0
    gflop = (0.0, 0.453)  # and 24.5 at each click

    def __init__(self) -> None:
        self.model, spec = load_model(model_spec("compact"), torch.device("cpu"))
        axes = torch.meshgrid(*(torch.arange(n) - n / 2 for n in spec.patch_shape), indexing="ij")
        away = sum(axis**2 for axis in axes)
        noise = torch.randn(spec.patch_shape, generator=torch.Generator().manual_seed(0))
        self.patch = (noise + 2 * (away < 16**2))[None, None]
        middle = torch.tensor([[[n / 2 for n in spec.patch_shape]]])
        empty = torch.zeros(1, 1, *spec.patch_shape)
        self.asked = PatchPrompts(middle, torch.ones(1, 1), empty)

    def encode(self, plain: bool) -> Any:
        return self.model.encode_image(self.patch)

    def click(self, embedding: Any, plain: bool) -> Tensor:
        return self.model.decode_masks(embedding, self.asked).logits


NETWORKS: dict[str, type[Network]] = {
    "compact": Default,
    "3DSAM-adapter": Adapter,
    "SAM-Med3D": Med3D,
    "MA-SAM": Slices,
    "SAM": Sam,
}
