"""Layers on arrays of any kind become volumes without being read."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_sam3d._tests.spy_array import SpyArray
from napari_sam3d.plugin.layers.convert import volume_from_layer

SHAPE = (20, 24, 28)
BLOCK = (slice(3, 9), slice(0, 24), slice(20, 28))


def numbers(shape=SHAPE, dtype="int16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 99, shape).astype(dtype)


def zarr_array(tmp_path, array: np.ndarray, version: int):
    zarr = pytest.importorskip("zarr", reason="zarr is no dependency; install it to see this test")
    options = {"zarr_format": version} if hasattr(zarr, "create_array") else {}
    out = zarr.open(
        str(tmp_path / "a.zarr"),
        mode="w",
        shape=array.shape,
        chunks=(8, 8, 8),
        dtype=array.dtype,
        **options,
    )
    out[:] = array
    return out


def kind_of(kind: str, array: np.ndarray, tmp_path):
    if kind == "memmap":
        array.tofile(tmp_path / "voxels")
        return np.memmap(tmp_path / "voxels", array.dtype, "r", shape=array.shape)
    if kind == "dask":
        return da.from_array(array, chunks=(7, 8, 9))
    if kind.startswith("zarr"):
        return zarr_array(tmp_path, array, int(kind[-1]))
    return array


@pytest.mark.parametrize("kind", ["numpy", "memmap", "dask", "zarr v2", "zarr v3"])
@pytest.mark.parametrize("dtype", ["int16", ">u2", "float64", "bool", "uint64"])
def test_every_array_is_a_volume(kind, dtype, tmp_path) -> None:
    array = numbers(dtype=dtype)
    image = Image(kind_of(kind, array, tmp_path), contrast_limits=(0, 99), scale=(3, 1, 0.5))
    volume = volume_from_layer(image)
    assert volume.grid.shape == SHAPE and volume.grid.spacing == (3, 1, 0.5)
    assert volume.data.dtype == array.dtype
    np.testing.assert_array_equal(np.asarray(volume.data[BLOCK]), array[BLOCK])


def test_nothing_is_read_until_it_is_needed() -> None:
    spy = SpyArray((300, 300, 300), (50, 50, 50))
    image = Image(spy, contrast_limits=(0, 255))
    spy.reads.clear()
    volume = volume_from_layer(image)
    assert not spy.reads
    block = volume.data[140:160, 140:160, 140:160]
    assert isinstance(block, np.ndarray)
    assert block.shape == (20, 20, 20) and block.any()
    assert spy.voxels_read <= 8 * 50**3


def test_what_numpy_and_dask_hold_is_not_wrapped() -> None:
    for array in (numbers(), da.from_array(numbers())):
        assert volume_from_layer(Image(array, contrast_limits=(0, 99))).data is array


def test_of_several_levels_the_finest_is_the_volume() -> None:
    fine = numbers((41, 60, 30))
    levels = [fine, fine[::2, ::2, ::2], fine[::4, ::4, ::4]]
    image = Image(levels, multiscale=True, scale=(2, 1, 1), translate=(5, 6, 7))
    volume = volume_from_layer(image)
    np.testing.assert_array_equal(volume.data, fine)
    assert [it.grid.shape for it in volume.coarser] == [(21, 30, 15), (11, 15, 8)]
    first, beyond = (-0.5,) * 3, np.subtract(fine.shape, 0.5)
    for level, factors in zip(volume.coarser, image.downsample_factors[1:], strict=True):
        np.testing.assert_allclose(level.grid.spacing, np.array((2, 1, 1)) * factors)
        for own, same in ((first, first), (np.subtract(level.grid.shape, 0.5), beyond)):
            np.testing.assert_allclose(level.grid.to_world(own), volume.grid.to_world(same))


def test_levels_on_disk_stay_there() -> None:
    spies = [SpyArray((n, n, n), (32, 32, 32)) for n in (256, 128, 64)]
    image = Image(spies, multiscale=True, contrast_limits=(0, 255))
    for spy in spies:
        spy.reads.clear()
    volume = volume_from_layer(image)
    assert [it.data.shape[0] for it in (volume, *volume.coarser)] == [256, 128, 64]
    assert not any(spy.reads for spy in spies)


def test_slices_and_turned_axes_of_what_is_not_in_memory() -> None:
    """As networks for slices ask for them."""
    spy = SpyArray((40, 50, 60), (16, 16, 16))
    whole = spy[:, :, :]
    blocks = volume_from_layer(Image(spy, contrast_limits=(0, 255))).data
    assert blocks.chunks == ((16, 16, 8), (16, 16, 16, 2), (16, 16, 16, 12))
    for axis, index in ((0, 20), (1, 26), (2, 31)):
        np.testing.assert_array_equal(np.take(blocks, index, axis), whole.take(index, axis))
    turned = np.flip(blocks.transpose((2, 0, 1)), 0)
    np.testing.assert_array_equal(turned[10:14], np.flip(whole.transpose((2, 0, 1)), 0)[10:14])
    np.testing.assert_array_equal(np.asarray(blocks), whole)
