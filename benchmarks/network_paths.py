"""The published networks at full size with random weights: our way and the plain one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
import torch.nn.functional as F
from plain import ma_sam, sam3d_adapter, sam_med3d
from torch import Tensor

from napari_sam3d.engine.models.base import PatchPrompts


class Network(ABC):
    """One network: both ways run on the same weights and the same input."""

    plain_encodings = 1
    """How often the plain encoding is timed."""
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


NETWORKS: dict[str, type[Network]] = {
    "3DSAM-adapter": Adapter,
    "SAM-Med3D": Med3D,
    "MA-SAM": Slices,
}
