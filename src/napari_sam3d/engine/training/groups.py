"""Groups of slices to learn from, as the predictor shows them to a network of slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.classes import slice_intensity
from napari_sam3d.engine.models.ma_sam.intensity import Intensity, resized
from napari_sam3d.engine.models.ma_sam.model import GROUP
from napari_sam3d.engine.orientation import Orientation
from napari_sam3d.labelled import Labelled

_TURN = 15.0  # degrees that slices are turned by at most, as in the paper
_ZOOM = 0.1  # logarithm of by how much they are larger or smaller, at most
_CURVE = 0.5  # logarithm of the exponent of intensities, at most
_NOISE = 0.05  # deviation of noise, at most; intensities are 0 to 1


@dataclass(frozen=True, eq=False)
class LabelledSlices:
    """A case as a network of slices sees it.

    Parameters
    ----------
    slices, labels
        (n, h, w) in the network's order, not resized.
    intensity
        What the predictor makes of the intensities.
    shown
        Numbers of the slices that show a class, for each class there is.
    """

    slices: np.ndarray
    labels: np.ndarray
    intensity: Intensity
    shown: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, case: Labelled, spec: ModelSpec) -> LabelledSlices:
        """That of a case for a row of the catalog."""
        orientation = Orientation(spec.axes)
        slices = orientation.turn_array(case.volume.data)
        labels = orientation.turn_array(case.labels)
        found: dict[int, list[int]] = {}
        for number, one in enumerate(labels):
            for value in np.unique(one[one > 0]).tolist():
                found.setdefault(value, []).append(number)
        shown = tuple(np.array(found[value]) for value in sorted(found))
        return cls(slices, labels, slice_intensity(spec, slices), shown)

    @property
    def count(self) -> int:
        """Number of slices."""
        return len(self.labels)

    def group(self, middle: int, size: int) -> tuple[Tensor, Tensor]:
        """The slices about one: intensities float32 and labels int64, (5, size, size).

        Beyond the ends the first and the last slice are repeated, as the predictor does.
        """
        reach = np.arange(middle - GROUP // 2, middle + GROUP // 2 + 1).clip(0, self.count - 1)
        values = resized(self.intensity.clip(self.slices[reach]), size)
        _, high, wide = self.labels.shape
        rows, columns = (np.rint(np.linspace(0, n - 1, size)).astype(int) for n in (high, wide))
        labels = self.labels[reach][:, rows[:, None], columns].astype(np.int64)
        return self.intensity.scale(torch.from_numpy(values)), torch.from_numpy(labels)


def draw_group(
    cases: Sequence[LabelledSlices], size: int, anywhere: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Slices of a random case, all cases and all of its classes having equal chances.

    Parameters
    ----------
    cases
        To learn from.
    size
        Edge of a slice that the network sees, in pixels.
    anywhere
        Share of groups that lie anywhere, whether there is a class or not.
    rng
        What draws.
    """
    case = cases[int(rng.integers(len(cases)))]
    if rng.random() < anywhere:
        return case.group(int(rng.integers(case.count)), size)
    places = case.shown[int(rng.integers(len(case.shown)))]
    shift = rng.integers(-(GROUP // 2), GROUP // 2 + 1)  # it may be at the rim of the group
    middle = int(places[rng.integers(len(places))] + shift)
    return case.group(min(max(middle, 0), case.count - 1), size)


def varied_group(image: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same slices turned, zoomed and with another contrast.

    Unlike in the paper they are not mirrored: classes such as the left and the right kidney are
    told apart by their side.
    """
    if rng.random() < 0.5:
        angle = np.deg2rad(rng.uniform(-_TURN, _TURN))
        scale = np.exp(rng.uniform(-_ZOOM, _ZOOM))
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        matrix = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]], dtype=torch.float32)
        grid = F.affine_grid(matrix, [1, 1, *image.shape[1:]], align_corners=False)
        image = F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
        turned = F.grid_sample(labels[None].float(), grid, mode="nearest", align_corners=False)
        labels = turned[0].long()
    if rng.random() < 0.5:
        image = image.clamp(0, 1) ** float(np.exp(rng.uniform(-_CURVE, _CURVE)))
    if rng.random() < 0.3:
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), np.float32))
        image = image + float(rng.uniform(0, _NOISE)) * noise
    return image, labels
