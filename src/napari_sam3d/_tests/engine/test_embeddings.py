"""Embeddings are kept by volume, and keep no volume."""

from __future__ import annotations

import gc
from weakref import ref

import dask.array as da
import numpy as np
import pytest
import torch

from napari_sam3d.engine.embeddings import EmbeddingCache
from napari_sam3d.volume import Grid, Volume

SHAPE = (4, 4, 4)
GRID = Grid.from_spacing(SHAPE, (1, 1, 1))
PATCHES = [Grid.from_spacing(SHAPE, (1, 1, 1 + i)) for i in range(3)]


def volume(kind: str = "numpy") -> Volume:
    return Volume(da.zeros(SHAPE) if kind == "dask" else np.zeros(SHAPE), GRID)


class Encoder:
    """Counts how often it was asked; 4 bytes each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return torch.full((1,), float(self.calls))


def test_each_volume_has_its_own() -> None:
    cache, encode = EmbeddingCache(1000), Encoder()
    one, other = volume(), volume()
    said = [float(cache.get(it, PATCHES[0], encode)) for it in (one, other, one, other)]
    assert said == [1, 2, 1, 2]
    moved = Volume(one.data, Grid.from_spacing(SHAPE, (2, 2, 2)))
    assert float(cache.get(moved, PATCHES[0], encode)) == 1  # the same voxels


def test_the_one_used_longest_ago_goes() -> None:
    cache, encode = EmbeddingCache(8), Encoder()
    it = volume()
    for patch in (PATCHES[0], PATCHES[1], PATCHES[0], PATCHES[2]):
        cache.get(it, patch, encode)
    assert len(cache) == 2 and encode.calls == 3
    cache.get(it, PATCHES[0], encode)
    assert encode.calls == 3


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_a_volume_that_nobody_holds_is_gone_with_its_embeddings(kind) -> None:
    cache, encode = EmbeddingCache(1000), Encoder()
    first = volume(kind)
    cache.get(first, PATCHES[0], encode)
    gone = ref(first.data)
    del first
    gc.collect()
    assert gone() is None
    second = volume(kind)  # it may have the id of the first
    assert float(cache.get(second, PATCHES[0], encode)) == 2 and len(cache) == 1
