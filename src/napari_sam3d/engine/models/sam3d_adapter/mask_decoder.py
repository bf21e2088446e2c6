"""3DSAM-adapter's decoder: features of four depths, of which three wait for no click."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam3d.engine.models.sam_blocks import by_onednn, full_precision, working_dtype

_CHANNELS = 16  # output channels at a time on a CPU, so that they stay in its caches
_EPS = 1e-5  # of the instance norms
_LEVELS = ("head2", "head3", "head4", "head5")


class MaskDecoder(nn.Module):
    """Multi-layer aggregation (paper, section 3.4) in two halves: before and after the click.

    Each level's features pass two convolutions, are upsampled twofold and are joined with the
    image; two more convolutions follow. A convolution is a sum over its input channels, so what
    the levels without prompts add to the first of the two is computed once per patch. The
    convolution of upsampled features is itself computed before upsampling, see `convolve_doubled`.

    Parameters
    ----------
    width
        Channels of the features.
    narrow
        Channels within.
    """

    def __init__(self, width: int = 256, narrow: int = 128) -> None:
        super().__init__()
        self.narrow = narrow
        self.mlahead = nn.ModuleDict({name: head(width, narrow) for name in _LEVELS})
        join, last = cubic(len(_LEVELS) * narrow + 1, narrow), cubic(narrow, 2)
        self.cls = nn.ModuleDict({"0": join, "3": last})  # between them norm and ReLU

    def prepare(self, features: Sequence[Tensor], image: Tensor) -> Tensor:
        """What features without prompts add to the joining convolution.

        Parameters
        ----------
        features
            Three times (b, width, h, w, d), from early to late.
        image
            (b, 1, 2 h, 2 w, 2 d).

        Returns
        -------
        Tensor
            (b, narrow, 2 h, 2 w, 2 d).
        """
        weight = _kernel(self.cls["0"])
        known = len(_LEVELS) - 1
        lines = [self.mlahead[n](f) for n, f in zip(_LEVELS[:known], features, strict=True)]
        told = convolve_doubled(torch.cat(lines, 1), weight[:, : known * self.narrow])
        shape = (len(image), len(weight), *image.shape[2:])
        prepared = image.new_empty(shape, dtype=working_dtype(image))
        for at, part in told:
            prepared[:, at] = part + F.conv3d(image, weight[at, -1:], padding=1)
        return prepared

    def decode(self, prepared: Tensor, prompted: Tensor) -> Tensor:
        """Log odds (b, 1, 2 h, 2 w, 2 d) of object against background.

        Parameters
        ----------
        prepared
            What `prepare` returned.
        prompted
            (b, width, h, w, d), the latest features after the prompts.
        """
        line = self.mlahead[_LEVELS[-1]](prompted)
        weight = _kernel(self.cls["0"])[:, -self.narrow - 1 : -1]
        background, target = _kernel(self.cls["3"])
        taps = (target - background).flatten(1).T  # (27, narrow): softmax asks for no more
        shape = prepared.shape[2:]
        sums = prepared.new_zeros(len(prepared), len(taps), shape.numel(), dtype=torch.float32)
        for at, part in convolve_doubled(line, weight):
            joined = F.relu(instance_norm(prepared[:, at] + part)).flatten(2)
            with full_precision(joined):
                sums = torch.baddbmm(sums, taps[:, at].expand(len(sums), -1, -1), joined)
        return gather_taps(sums.view(*sums.shape[:2], *shape))

    def forward(self, features: Sequence[Tensor], image: Tensor) -> Tensor:
        """Both halves on four features."""
        return self.decode(self.prepare(features[:-1], image), features[-1])


class InstanceNorm(nn.Module):
    """`instance_norm` as a module without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x)


def instance_norm(x: Tensor) -> Tensor:
    """Each channel of (b, c, h, w, d) with mean 0 and deviation 1, in float32.

    As layer norm over positions, which is the same and the quickest form on a CPU.
    """
    flat = x.flatten(2).float()
    return F.layer_norm(flat, flat.shape[-1:], eps=_EPS).view(x.shape)


def cubic(channels: int, out: int) -> nn.Conv3d:
    return nn.Conv3d(channels, out, 3, padding=1, bias=False)


def _kernel(convolution: nn.Module) -> Tensor:
    assert isinstance(convolution, nn.Conv3d)
    return convolution.weight


def head(width: int, narrow: int) -> nn.Sequential:
    """Two convolutions, each with instance norm and ReLU."""
    return nn.Sequential(
        *(cubic(width, narrow), InstanceNorm(), nn.ReLU()),
        *(cubic(narrow, narrow), InstanceNorm(), nn.ReLU()),
    )


def convolve_doubled(x: Tensor, weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """A 3 x 3 x 3 convolution of features upsampled twofold, from before the upsampling.

    Upsampling acts on positions and the kernel on channels and positions, so the channels can be
    mixed first, on an eighth of the voxels. Then each axis in turn is doubled and summed over the
    three taps of the kernel at once. Equal up to rounding, at a quarter of the arithmetic.

    Parameters
    ----------
    x
        (b, i, h, w, d), to be upsampled with aligned corners.
    weight
        (o, i, 3, 3, 3).

    Yields
    ------
    slice, Tensor
        Some of the o channels, and their values (b, some, 2 h, 2 w, 2 d).
    """
    b, _, h, w, d = x.shape
    tokens = x.permute(0, 2, 3, 4, 1).to(working_dtype(x)).contiguous()
    doubled = [doubling(n, x) for n in (h, w, d)]
    step = _CHANNELS if x.device.type == "cpu" else len(weight)
    for first in range(0, len(weight), step):
        rows = weight[first : first + step]
        taps = rows.permute(2, 3, 4, 0, 1).flatten(0, 3)  # (kh kw kd o, i)
        mixed = by_onednn(partial(F.linear, weight=taps), tokens)
        mixed = mixed.view(b, h, w, d, 3, 3, 3, len(rows))
        y = mixed.permute(4, 1, 5, 2, 6, 3, 0, 7)  # (kh, h, kw, w, kd, d, b, o)
        for matrix in doubled:
            # the axis in front is summed with its taps, and comes back doubled at the end
            y = y.reshape(matrix.shape[1], -1).T @ matrix.T
        yield slice(first, first + len(rows)), y.view(b, len(rows), 2 * h, 2 * w, 2 * d)


def doubling(length: int, like: Tensor) -> Tensor:
    """Matrix (2 length, 3 length): linear upsampling, shifted by each of three taps, summed."""
    one = torch.eye(length, device=like.device)[None]
    up = F.interpolate(one, scale_factor=2, mode="linear", align_corners=True)[0].T
    framed = F.pad(up, (0, 0, 1, 1))  # the convolution's padding with zeros
    return torch.cat([framed[t : t + 2 * length] for t in range(3)], 1)


def gather_taps(sums: Tensor) -> Tensor:
    """The rest of a 3 x 3 x 3 convolution to one channel: products (b, 27, ...) moved and added."""
    shape = sums.shape[2:]
    framed = F.pad(sums, (1,) * 6)
    windows = [slice(t, n + t) for n in shape for t in range(3)]
    h, w, d = windows[:3], windows[3:6], windows[6:]
    places = [(a, b, c) for a in h for b in w for c in d]
    total = framed[:, :1][(..., *places[0])]
    for tap, place in enumerate(places[1:], start=1):
        total = total + framed[:, tap : tap + 1][(..., *place)]
    return total
