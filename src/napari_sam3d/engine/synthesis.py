"""Random labelled volumes: shapes of many kinds, rendered with random contrast and artefacts.

The ingredients follow what published work on synthetic training shares (AnyStar, SynthSeg,
anatomix): contrast drawn per label, inverted and near-zero included, texture inside labels,
bias field, blur, anisotropic resolution, noise, distractors.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Generator, Tensor

Shape = tuple[int, int, int]


def random_volume(shape: Shape, generator: Generator) -> tuple[Tensor, Tensor]:
    """One random image (d, h, w) float32 and its label map (d, h, w) int64, 0 to some 40."""
    labels = random_labels(shape, generator)
    return render(labels, generator), labels


def random_labels(shape: Shape, generator: Generator) -> Tensor:
    """A label map: a partition of space, with objects of one or two kinds laid over it."""
    labels = partition(shape, _integer(2, 14, generator), generator)
    if _chance(0.3, generator):
        return labels
    if _chance(0.5, generator):  # a calmer background
        labels = partition(shape, _integer(1, 4, generator), generator)
    for _ in range(_integer(1, 3, generator)):
        draw = (blobs, blobs, tubes, cells, onion)[_integer(0, 5, generator)]
        drawn = draw(shape, generator)
        labels = torch.where(drawn > 0, drawn + int(labels.max()), labels)
    return labels


def partition(shape: Shape, count: int, generator: Generator) -> Tensor:
    """Regions of random shape: the largest of `count` smooth noise fields."""
    if count <= 1:
        return torch.zeros(shape, dtype=torch.long)
    scales = [_uniform(2, 9, generator) for _ in range(count)]
    fields = torch.stack([smooth_noise(shape, s, generator) for s in scales])
    fields += 0.15 * torch.randn(count, 1, 1, 1, generator=generator)
    return warp(fields, generator).argmax(0)


def blobs(shape: Shape, generator: Generator) -> Tensor:
    """Rotated superellipsoids of log-normal size, their surface roughened, some hollow."""
    labels = torch.zeros(shape, dtype=torch.long)
    index = _centred_index(shape)
    typical = _uniform(0.08, 0.3, generator)
    alike = _chance(0.3, generator)  # all of them one tissue
    for k in range(_integer(1, 13, generator)):
        centre = torch.rand(3, generator=generator) * 1.8 - 0.9
        radii = 2 * typical * torch.exp(0.45 * torch.randn(3, generator=generator)).clamp(0.3, 2.5)
        exponent = _uniform(1.2, 4, generator)
        local = (index - centre) @ random_rotation(generator) / radii
        radius = local.abs().pow(exponent).sum(-1).pow(1 / exponent)
        if _chance(0.6, generator):
            amount = _uniform(0.05, 0.35, generator)
            radius = radius * (
                1 + amount * smooth_noise(shape, _uniform(3, 10, generator), generator)
            )
        body = radius < 1
        if _chance(0.2, generator):
            body &= radius > _uniform(0.55, 0.85, generator)
        labels[body] = 1 if alike else k + 1
    return labels


def tubes(shape: Shape, generator: Generator) -> Tensor:
    """Branching tubes around random walks, some with a wall of another label."""
    free = np.ones(shape, bool)
    starts = [torch.rand(3, generator=generator) * torch.tensor(shape, dtype=torch.float32)]
    for _ in range(_integer(1, 5, generator)):
        position = starts[_integer(0, len(starts), generator)].clone()
        heading = F.normalize(torch.randn(3, generator=generator), dim=0)
        bend = _uniform(0.05, 0.3, generator)
        for _ in range(_integer(30, 110, generator)):
            heading = F.normalize(heading + bend * torch.randn(3, generator=generator), dim=0)
            position = position + heading
            at = tuple(int(p) for p in position)
            if not all(0 <= a < n for a, n in zip(at, shape, strict=True)):
                break
            free[at] = False
            if _chance(0.03, generator):
                starts.append(position.clone())
    distance = torch.from_numpy(distance_transform_edt(free).astype(np.float32))
    radius = _uniform(1.2, 6, generator) * (
        1 + 0.3 * smooth_noise(shape, _uniform(2, 5, generator), generator)
    )
    labels = (distance < radius).long()
    if _chance(0.4, generator):
        labels[(distance >= radius) & (distance < radius * _uniform(1.3, 1.8, generator))] = 2
    return labels


def cells(shape: Shape, generator: Generator) -> Tensor:
    """Packed or scattered cells: regions nearest to jittered seeds, cut off at a radius."""
    count = _integer(6, 40, generator)
    seeds = torch.rand(count, 3, generator=generator) * 2 - 1
    stretch = torch.exp(0.25 * torch.randn(3, generator=generator))
    index = _centred_index(shape)
    index = index + 0.08 * torch.stack([smooth_noise(shape, 4, generator) for _ in range(3)], -1)
    distance = torch.cdist((index / stretch).reshape(-1, 3), seeds / stretch)
    nearest, which = distance.min(1)
    limit = _uniform(0.5, 1.4, generator) * count ** (-1 / 3)
    return torch.where(nearest < limit, which + 1, 0).reshape(shape)


def onion(shape: Shape, generator: Generator) -> Tensor:
    """Nested layers of a large rough body, as skull, fluid, grey and white matter are."""
    index = _centred_index(shape)
    radii = 0.5 + 0.6 * torch.rand(3, generator=generator)
    centre = 0.5 * torch.randn(3, generator=generator).clamp(-1, 1)
    radius = ((index - centre) @ random_rotation(generator) / radii).norm(dim=-1)
    rough = smooth_noise(shape, _uniform(3, 12, generator), generator)
    radius = radius * (1 + _uniform(0.05, 0.3, generator) * rough)
    cuts = (torch.rand(_integer(1, 5, generator), generator=generator) * 0.8 + 0.2).sort().values
    depth = torch.bucketize(radius, cuts)
    return torch.where(depth < len(cuts), depth + 1, 0)


def render(labels: Tensor, generator: Generator) -> Tensor:
    """An image of a label map (d, h, w) int64: contrast, texture, and the faults of scanners."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    count = int(labels.max()) + 1
    means = torch.rand(count, generator=generator)
    if _chance(0.3, generator):  # several labels look nearly alike
        means = means[torch.randint(0, max(2, count // 2), (count,), generator=generator) % count]
        means = means + 0.04 * torch.randn(count, generator=generator)
    strength = _uniform(0, 0.15, generator) * torch.rand(count, generator=generator)
    coarse = smooth_noise(shape, _uniform(6, 24, generator), generator)
    fine = smooth_noise(shape, _uniform(16, 50, generator), generator)
    fine_share = torch.rand(count, generator=generator)[labels]
    image = means[labels] + strength[labels] * (fine_share * fine + (1 - fine_share) * coarse)

    image = blur(image, [_uniform(0.2, 1.1, generator)] * 3)
    if _chance(0.7, generator):
        field = smooth_noise(shape, _uniform(1.5, 3.5, generator), generator)
        image = image * (1 + _uniform(0, 0.25, generator) * field)
    if _chance(0.35, generator):
        image = thin_slices_out(image, _integer(0, 3, generator), _uniform(2, 5, generator))
    noise = torch.randn(shape, generator=generator)
    if _chance(0.5, generator):
        noise = blur(noise, [0.6] * 3) * 2
    image = image + _uniform(0, 0.09, generator) * noise
    low, high = image.min(), image.max()
    image = (image - low) / (high - low).clamp(min=1e-6)
    return image ** float(np.exp(_uniform(-0.5, 0.5, generator)))


def smooth_noise(shape: Shape, cells_across: float, generator: Generator) -> Tensor:
    """Gaussian noise on about `cells_across` cells per axis, interpolated; deviation about 1."""
    coarse_shape = [max(2, round(cells_across * n / max(shape)) + 1) for n in shape]
    coarse = torch.randn(1, 1, *coarse_shape, generator=generator)
    noise = F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0, 0]
    return noise / noise.std().clamp(min=1e-3)


def warp(fields: Tensor, generator: Generator) -> Tensor:
    """The fields (c, d, h, w) pulled about by a smooth random displacement."""
    shape = (fields.shape[1], fields.shape[2], fields.shape[3])
    index = _centred_index(shape)
    push = torch.stack(
        [smooth_noise(shape, _uniform(2, 6, generator), generator) for _ in range(3)]
    )
    grid = index.flip(-1) + _uniform(0, 0.15, generator) * push.permute(1, 2, 3, 0)
    return F.grid_sample(fields[None], grid[None], padding_mode="border", align_corners=False)[0]


def blur(image: Tensor, sigmas: list[float]) -> Tensor:
    """Gaussian blur of (d, h, w), deviations in voxels per axis."""
    out = image[None, None]
    for axis, sigma in enumerate(sigmas):
        radius = max(1, int(3 * sigma + 0.5))
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / max(sigma, 0.05)) ** 2)
        size = [1, 1, 1, 1, 1]
        size[2 + axis] = -1
        pad = [0] * 6
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = radius
        out = F.conv3d(F.pad(out, pad, mode="replicate"), (kernel / kernel.sum()).view(size))
    return out[0, 0]


def thin_slices_out(image: Tensor, axis: int, factor: float) -> Tensor:
    """As if slices along `axis` were `factor` times as thick, and interpolated again."""
    size = list(image.shape)
    size[axis] = max(4, int(size[axis] / factor))
    thick = F.interpolate(image[None, None], size=size, mode="area")
    return F.interpolate(thick, size=image.shape, mode="trilinear", align_corners=False)[0, 0]


def random_rotation(generator: Generator) -> Tensor:
    """A 3 x 3 rotation, evenly spread over all of them."""
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    q = q * torch.sign(torch.diagonal(r))
    return q if torch.det(q) > 0 else -q


def _centred_index(shape: Shape) -> Tensor:
    """(d, h, w, 3) coordinates from -1 to 1 along each axis."""
    axes = [(2 * torch.arange(n) + 1) / n - 1 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def _uniform(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _integer(low: int, high: int, generator: Generator) -> int:
    """A whole number from low to high - 1."""
    return int(torch.randint(low, high, (), generator=generator))


def _chance(probability: float, generator: Generator) -> bool:
    return float(torch.rand((), generator=generator)) < probability
