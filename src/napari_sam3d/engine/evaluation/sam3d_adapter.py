"""The protocol of 3DSAM-adapter: a few points drawn from the object, all given at once."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import find_objects
from torch import Tensor

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.devices import autocast
from napari_sam3d.engine.evaluation.results import Played
from napari_sam3d.engine.models.base import PatchPrompts
from napari_sam3d.engine.models.sam3d_adapter.preprocess import crop, paste, prepare, to_native
from napari_sam3d.engine.models.sam3d_adapter.tasks import TASKS
from napari_sam3d.engine.orientation import Orientation
from napari_sam3d.engine.prediction import Predictor
from napari_sam3d.labelled import Labelled
from napari_sam3d.prompts import Point, Prompts
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Volume, Window

_COUNTS = (1, 3, 10)  # points in the paper's tables (Gong et al., MedIA 2024)
_STORED = (2, 1, 0)  # axes of three of the four data sets, for models of no task
_FAMILY = "sam3d_adapter"


def play_sam3d_adapter(
    predictor: Predictor, case: Labelled, settings: EvaluationSettings
) -> Iterator[Played]:
    """Rounds "1", "3" and "10", or the one of `settings.clicks`: points from the object at once.

    The rule of the released test (med-air/3DSAM-adapter, 3DSAM-adapter/test.py, 3c83745): the
    label by the nearest voxel on the image's voxels of 1 mm, points drawn from it with replacement,
    no iteration, nothing negative. Each number of points is a draw of its own, and a prediction
    that knows nothing of the others. The release draws without a seed; here `settings.seed` with
    the name of the case, the label and the number of points seeds numpy's `RandomState`, so that
    it does not matter what was played before.

    The networks of 3DSAM-adapter are run as the release runs them: the axes as they are stored,
    the whole image at 1 mm, one patch about the middle of the outermost points, zero outside of
    it, and the chance on the voxels of the file above one half. A volume without a file is taken in
    the axes of the training images. Other models are given the volume, and the voxels that the
    drawn ones were copied from, with no limit to a patch. Their `seconds` are those of `predict`;
    those of 3DSAM-adapter leave out what is done once a case, the resampling of the image.

    An object without a voxel of 1 mm has nothing to draw from, and gets empty masks; the release
    stops there.

    Raises
    ------
    ValueError
        With one sentence, for a model that takes no points, and an image that is thinner than 1 mm.
    """
    spec = predictor.spec
    if "foreground" not in spec.prompts:
        raise ValueError(
            f"{spec.name} takes no points, and the protocol 3dsam-adapter gives nothing else; "
            "choose another protocol."
        )
    task = spec.name.removeprefix(f"{_FAMILY}_") if spec.family == _FAMILY else ""
    grid = _Millimetres(case.volume, _orientation(case.volume, task))
    labels = grid.orientation.turn_array(case.labels)
    counts = (settings.clicks,) if settings.clicks else _COUNTS
    drawn = [
        (label, count, _draw(grid, case, labels, label, window, count, settings.seed))
        for label, window in enumerate(find_objects(case.labels), 1)
        if window is not None
        for count in counts
    ]
    image = grid.image(task) if task else None
    for label, count, points in drawn:
        if points is None:
            yield Played(label, str(count), np.zeros(case.volume.grid.shape, bool), (), 0.0)
            continue
        positions = grid.orientation.turn_points_back(points.voxels, case.volume.grid.shape)
        said = tuple(Point((z, y, x)) for z, y, x in positions.tolist())
        if image is None:
            found = predictor.predict(case.volume, Prompts(points=said))
            mask, seconds = found.full(case.volume.grid.shape), found.seconds
        else:
            started = time.perf_counter()
            mask = _one_patch(predictor, image, points.on_grid, labels.shape)
            mask = np.ascontiguousarray(grid.orientation.turn_array_back(mask))
            seconds = time.perf_counter() - started
        yield Played(label, str(count), mask, said, seconds)


@dataclass(frozen=True, eq=False)
class _Millimetres:
    """A volume's voxels of 1 mm, in the axes (d, h, w) of the release."""

    volume: Volume
    orientation: Orientation

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Voxel size of the volume along (d, h, w), rounded as headers have it."""
        spacing = np.asarray(self.volume.grid.spacing, np.float32)[self.orientation.order]
        return tuple(spacing.astype(float).tolist())

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Voxels of 1 mm along (d, h, w), of which there is one at least."""
        lengths = [self.volume.grid.shape[axis] for axis in self.orientation.order]
        shape = tuple(math.floor(n * s) for n, s in zip(lengths, self.spacing, strict=True))
        if min(shape) < 1:
            raise ValueError(
                f"{self.volume.name} is thinner than 1 mm, and the protocol 3dsam-adapter looks at "
                "voxels of 1 mm; choose another protocol."
            )
        return shape

    @cached_property
    def copied(self) -> list[np.ndarray]:
        """For each axis, the voxels of the volume that labels of voxels of 1 mm are copied from."""
        out = []
        for axis, length in zip(self.orientation.order, self.shape, strict=True):
            index = torch.arange(self.volume.grid.shape[axis], dtype=torch.float32)
            out.append(F.interpolate(index[None, None], length, mode="nearest")[0, 0].int().numpy())
        return out

    def image(self, task: str) -> Tensor:
        """The image (d, h, w) as the networks of a task see it."""
        turned = self.orientation.turn_array(np.asarray(self.volume.data))
        as_turned = replace(TASKS[task], axes=(0, 1, 2))
        stored = torch.from_numpy(np.array(turned, np.float32, order="C"))
        d, h, w = self.spacing
        return prepare(stored, (d, h, w), as_turned)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Points (n, 3) along (d, h, w): on voxels of 1 mm, and the voxels they were copied from."""

    on_grid: np.ndarray
    voxels: np.ndarray


def _orientation(volume: Volume, task: str) -> Orientation:
    """Where the axes (d, h, w) of the release point: the stored ones in the order of a task.

    Parameters
    ----------
    volume
        One without a file is taken as the training images are stored.
    task
        Of `TASKS`; empty for models of none.
    """
    told = TASKS[task].axes if task else _STORED
    if volume.source is None:
        return Orientation(model_spec(f"{_FAMILY}_{task}").axes if task else "SAR")
    turn = volume.source.display_to_stored[:3, :3]
    display = np.abs(turn).argmax(1)  # our axis along each stored one
    letters = [("IPL" if turn[i, axis] > 0 else "SAR")[axis] for i, axis in enumerate(display)]
    return Orientation("".join(letters[axis] for axis in told))


def _draw(
    grid: _Millimetres,
    case: Labelled,
    labels: np.ndarray,
    label: int,
    window: Window,
    count: int,
    seed: int,
) -> _Drawn | None:
    """Points of an object, as `numpy.random.choice` draws them; None where it has no voxel."""
    corners = np.array([[it.start for it in window], [it.stop - 1 for it in window]])
    turned = grid.orientation.turn_points(corners, case.volume.grid.shape)
    taken = [
        np.flatnonzero((index >= on_axis.min()) & (index <= on_axis.max()))
        for index, on_axis in zip(grid.copied, turned.T, strict=True)
    ]
    copied = [index[at] for index, at in zip(grid.copied, taken, strict=True)]
    own = labels[np.ix_(*copied)] == label
    places = np.flatnonzero(own)
    if not len(places):
        return None
    draws = np.random.RandomState([seed, zlib.crc32(case.name.encode()), label, count])
    chosen = np.unravel_index(places[draws.choice(len(places), count)], own.shape)
    on_grid = [at[i] for at, i in zip(taken, chosen, strict=True)]
    voxels = [index[i] for index, i in zip(copied, chosen, strict=True)]
    return _Drawn(np.stack(on_grid, 1), np.stack(voxels, 1))


def _one_patch(
    predictor: Predictor, image: Tensor, points: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """The mask (d, h, w) of `shape` from one patch about points on the image, as released."""
    part = crop(image, torch.from_numpy(points), predictor.spec.patch_shape[0])
    told = part.points[None].float().to(predictor.device)
    prompts = PatchPrompts(told, told.new_ones(told.shape[:2]), told.new_zeros(1, 1, 1, 1, 1))
    with torch.inference_mode():
        with autocast(predictor.device, predictor.precision):
            embedding = predictor.model.encode_image(part.patch[None, None].to(predictor.device))
            masks = predictor.model.decode_masks(embedding, prompts)
        chance = torch.sigmoid(masks.logits.float())[0, 0].cpu()
        d, h, w = shape
        return to_native(paste(chance, part.start, image.shape), (d, h, w)).numpy()
