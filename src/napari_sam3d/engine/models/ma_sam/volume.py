"""MA-SAM over a whole volume: overlapping groups of slices, as the released test loop has them.

models.md section 3.5: every slice is the middle of one group of five; the softmax over the classes
is summed up for all five, and the class with the largest sum wins.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam3d.engine.models.ma_sam.intensity import BY_GROUP, Intensity, resized
from napari_sam3d.engine.models.ma_sam.model import GROUP, ClassLogits, GroupEmbedding

_KEPT_GROUPS = 64  # embeddings of groups kept for further boxes; 5 MB each at full size


class ClassModel(Protocol):
    """What is asked of the network; `MaSam` has it."""

    image_size: int
    classes: int

    def encode_image(self, patch: Tensor) -> GroupEmbedding: ...
    def decode_classes(
        self, embedding: GroupEmbedding, boxes: Tensor | None = None
    ) -> ClassLogits: ...


@dataclass(frozen=True, eq=False)
class SliceClasses:
    """What all groups together say of one slice.

    Parameters
    ----------
    index
        Number of the slice.
    sums
        (classes + 1, H, W) float32, summed probabilities of the groups; background first.
    groups
        How many groups saw the slice; 0 where a box leaves it out.
    fraction
        Share of the work that is done, 0 to 1.
    """

    index: int
    sums: np.ndarray
    groups: int
    fraction: float

    @property
    def probabilities(self) -> np.ndarray:
        """(classes + 1, H, W); all background in a slice that a box leaves out."""
        if self.groups == 0:
            chance = np.zeros_like(self.sums)
            chance[0] = 1
            return chance
        return self.sums / self.groups

    @property
    def released(self) -> np.ndarray:
        """As the released loop scales it: its counter starts at one, so that n becomes n + 1."""
        return self.sums / (1 + self.groups)

    @property
    def labels(self) -> np.ndarray:
        """(H, W) uint8: the class with the highest probability."""
        return self.sums.argmax(0).astype(np.uint8)


class GroupCache:
    """Embeddings of the groups of one volume, the last used ones, for box after box.

    Parameters
    ----------
    kept
        How many stay.
    """

    def __init__(self, kept: int = _KEPT_GROUPS) -> None:
        self.kept = kept
        self._groups: OrderedDict[int, GroupEmbedding] = OrderedDict()

    def get(self, middle: int) -> GroupEmbedding | None:
        """The embedding of the group around slice `middle`, when it is still here."""
        if middle in self._groups:
            self._groups.move_to_end(middle)
        return self._groups.get(middle)

    def put(self, middle: int, embedding: GroupEmbedding) -> None:
        self._groups[middle] = embedding
        while len(self._groups) > self.kept:
            self._groups.popitem(last=False)


def segment_volume(
    model: ClassModel, slices: np.ndarray, **options: Any
) -> Generator[float, None, np.ndarray]:
    """Labels (n, H, W) uint8 of a volume; yields the share that is done, closing it cancels.

    The options are those of `segment_slices`.
    """
    labels = np.zeros(slices.shape, np.uint8)
    for done in segment_slices(model, slices, **options):
        labels[done.index] = done.labels
        yield done.fraction
    return labels


def segment_slices(
    model: ClassModel,
    slices: np.ndarray,
    *,
    intensity: Intensity = BY_GROUP,
    boxes: np.ndarray | None = None,
    step: int = 1,
    cache: GroupCache | None = None,
    device: torch.device | str = "cpu",
    precision: torch.dtype = torch.float32,
) -> Iterator[SliceClasses]:
    """Classes of every slice, as soon as the last group that sees it is done.

    Only the sums of one group are in memory at a time; a group is encoded once, and not at all when
    none of its slices has a box.

    Parameters
    ----------
    model
        The network, in evaluation mode on `device`.
    slices
        (n, H, W) in the order and orientation of the release, any real dtype.
    intensity
        Of the checkpoint: the limits in the catalog, or `prostate_intensity(volume)`.
    boxes
        (n, 4) as (x0, y0, x1, y1) in pixels of `slices`, x along the last axis; rows of NaN are
        slices without the object. None segments without a prompt.
    step
        1 makes every slice the middle of a group, as released; larger ones, up to 5, are faster
        and see each slice in fewer groups.
    cache
        Where embeddings are kept for further boxes on the same volume and intensity.
    device, precision
        Where the network is, and torch.float32 or the number format of its encoder.

    Raises
    ------
    ValueError
        When the arguments do not fit each other.
    """
    n = _check(slices, boxes, step)
    groups = _Groups(model, slices, intensity, boxes, cache, torch.device(device), precision)
    boxed = np.ones(n, bool) if boxes is None else np.isfinite(boxes).all(1)
    outputs = model.classes + 1
    sums: dict[int, Tensor] = {}
    counts = [0] * n
    middles = _middles(n, step)
    complete = 0
    for number, middle in enumerate(middles):
        reach = range(middle - GROUP // 2, middle + GROUP // 2 + 1)
        seen = [place for place, at in enumerate(reach) if 0 <= at < n and boxed[at]]
        if seen:
            for place, chance in zip(seen, groups.chances(reach, seen), strict=True):
                at = reach[place]
                sums[at] = sums[at] + chance if at in sums else chance
                counts[at] += 1
        # what lies before the next group is complete
        following = middles[number + 1] - GROUP // 2 if number + 1 < len(middles) else n
        for index in range(complete, following):
            summed = _on_pixels(sums.pop(index, None), outputs, slices.shape[1:])
            yield SliceClasses(index, summed, counts[index], (number + 1) / len(middles))
        complete = max(complete, following)


def _check(slices: np.ndarray, boxes: np.ndarray | None, step: int) -> int:
    if slices.ndim != 3 or 0 in slices.shape:
        raise ValueError(f"MA-SAM needs slices (n, H, W), not an array of shape {slices.shape}.")
    if boxes is not None and boxes.shape != (len(slices), 4):
        raise ValueError(
            f"{len(slices)} slices need {len(slices)} boxes of 4 numbers, not shape {boxes.shape}."
        )
    if not 1 <= step <= GROUP:
        raise ValueError(f"Groups of {GROUP} slices cannot be {step} slices apart.")
    return len(slices)


def _middles(n: int, step: int) -> list[int]:
    """The middle slices of the groups, `step` apart, such that every slice is in one."""
    if step == 1:
        return list(range(n))
    middles = list(range(min(step // 2, n - 1), n, step))
    if middles[-1] + GROUP // 2 < n - 1:
        middles.append(n - 1)
    return middles


@dataclass(frozen=True, eq=False)
class _Groups:
    """The network on the groups of one volume; the fields are those of `segment_slices`."""

    model: ClassModel
    slices: np.ndarray
    intensity: Intensity
    boxes: np.ndarray | None
    cache: GroupCache | None
    device: torch.device
    precision: torch.dtype

    @torch.inference_mode()
    def chances(self, reach: range, seen: list[int]) -> Tensor:
        """Class probabilities (s, classes + 1, h, w) of those slices of a group that are asked for.

        Parameters
        ----------
        reach
            Numbers of the slices of the group.
        seen
            Places in the group of the slices asked for.
        """
        half = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision if half else None, enabled=half):
            embedding = self._embedding(reach)
            if len(seen) < len(reach):
                embedding = embedding.of(seen)
            corners = None
            if self.boxes is not None:
                boxes = self._on_input(self.boxes[[reach[place] for place in seen]])
                corners = torch.from_numpy(boxes).float()[None].to(self.device)
            logits = self.model.decode_classes(embedding, corners).logits[0]
        return logits.transpose(0, 1).float().softmax(1)

    def _embedding(self, reach: range) -> GroupEmbedding:
        embedding = self.cache.get(reach[0]) if self.cache is not None else None
        if embedding is None:
            # beyond the ends the first and the last slice are repeated
            stack = self.slices[np.clip(reach, 0, len(self.slices) - 1)]
            values = resized(self.intensity.clip(stack), self.model.image_size)
            patch = self.intensity.scale(torch.from_numpy(values))[None, None]
            embedding = self.model.encode_image(patch.to(self.device))
            if self.cache is not None:
                self.cache.put(reach[0], embedding)
        return embedding

    def _on_input(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (s, 4) on the resized slices; corners go to corners as in `resized`."""
        high, wide = self.slices.shape[1:]
        last = np.array([wide, high, wide, high]) - 1
        return boxes * (self.model.image_size - 1) / np.maximum(last, 1)


def _on_pixels(found: Tensor | None, outputs: int, size: tuple[int, ...]) -> np.ndarray:
    """Summed probabilities (classes + 1, H, W) on the pixels of the volume."""
    if found is None:
        return np.zeros((outputs, *size), np.float32)
    if found.shape[1:] != size:
        found = F.interpolate(found[None], size, mode="bilinear", align_corners=True)[0]
    return found.cpu().numpy()
