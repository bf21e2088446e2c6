"""Every kind of NIfTI file that is more than a scalar volume in one file."""

import gzip
import struct
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest

from napari_sam3d._tests.nifti_files import AFFINE, SHAPE, header, nifti, numbers, put
from napari_sam3d.io import (
    NiftiError,
    TooLarge,
    is_labels,
    open_nifti,
    open_steps,
    read_nifti,
    unpack_steps,
    write_image,
    write_labels,
)
from napari_sam3d.io.read import finish

SHOWN = numbers()[::-1, ::-1, ::-1].transpose(2, 1, 0)
"""The test volume in display order."""


def series(n=3):
    """Stored (i, j, k, t); each frame is 1000 above the last."""
    return np.stack([numbers() + 1000 * t for t in range(n)], -1).astype("i2")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_time_series(tmp_path, name):
    image = open_nifti(
        put(tmp_path / name, nifti(series(), pixdim=(1, 2, 1.5, 3, 500), units=2 + 16))
    )
    assert image.axes == "T" and image.time_step == pytest.approx(0.5)
    assert image.data.shape == (3, *SHAPE[::-1])
    for t in range(3):
        np.testing.assert_array_equal(image.data[t], SHOWN + 1000 * t)
        np.testing.assert_array_equal(image.volume(t).data, image.data[t])
    np.testing.assert_array_equal(read_nifti(tmp_path / name, frame=2).data, SHOWN + 2000)
    for frame in (None, 3, -1):
        with pytest.raises(NiftiError, match="3 time points; choose one of them, 0 to 2"):
            image.volume(frame)


def test_series_and_their_frames_are_saved(tmp_path):
    image = open_nifti(put(tmp_path / "a.nii", nifti(series(), pixdim=(1, 2, 1.5, 3, 2))))
    grid, source = image.source.grid, image.source
    again = open_nifti(write_image(tmp_path / "b.nii", image.data, grid, source))
    assert again.time_step == 2
    np.testing.assert_array_equal(again.data, image.data)
    films = open_nifti(write_labels(tmp_path / "c.nii.gz", image.data > 1000, grid, source))
    assert films.axes == "T" and is_labels(films)
    np.testing.assert_array_equal(films.data, image.data > 1000)
    one = open_nifti(write_labels(tmp_path / "d.nii.gz", image.data[1], grid, source))
    assert one.axes == "" and one.source.grid == grid
    assert one.source.header["dim"].tolist() == [3, *SHAPE, 1, 1, 1, 1]
    np.testing.assert_array_equal(one.data, image.data[1])


def test_series_too_long_for_their_format_are_refused(tmp_path):
    image = open_nifti(put(tmp_path / "a.nii", nifti(numbers((1, 1, 1)))))
    frames = np.zeros((32768, 1, 1, 1), np.uint8)
    with pytest.raises(ValueError, match=r"32768 is too long for the format of a\.nii"):
        write_labels(tmp_path / "b.nii", frames, image.source.grid, image.source)


def test_components(tmp_path):
    stored = series()[..., None, :]  # (i, j, k, 1, c)
    image = open_nifti(put(tmp_path / "a.nii", nifti(stored, intent=1007)))
    assert image.axes == "C" and image.time_step is None
    np.testing.assert_array_equal(image.data[1], SHOWN + 1000)
    again = open_nifti(write_image(tmp_path / "b.nii", image.data, image.source.grid, image.source))
    assert again.axes == "C"
    np.testing.assert_array_equal(again.data, image.data)
    with pytest.raises(NiftiError, match="3 components"):
        image.volume()


def test_time_and_components(tmp_path):
    stored = np.stack([series(2), series(2) + 5000], -1)  # (i, j, k, t, c)
    image = open_nifti(put(tmp_path / "a.nii.gz", nifti(stored)))
    assert image.axes == "CT"
    assert "five dimensions" in " ".join(image.source.warnings)
    np.testing.assert_array_equal(image.data[1, 0], SHOWN + 5000)
    np.testing.assert_array_equal(image.data[0, 1], SHOWN + 1000)
    with pytest.raises(NiftiError, match="components"):
        image.volume(0)


@pytest.mark.parametrize(("colors", "code"), [(3, 128), (4, 2304)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_colors(tmp_path, name, colors, code):
    stored = (np.arange(colors * np.prod(SHAPE)) % 251).astype("u1")
    stored = stored.reshape((colors, *SHAPE), order="F")
    raw = nifti(stored, dim=(3, *SHAPE), code=code, bits=8 * colors)
    image = open_nifti(put(tmp_path / name, raw))
    assert image.rgb and image.data.shape == (*SHAPE[::-1], colors)
    assert image.data[-1, -1, -1].tolist() == stored[:, 0, 0, 0].tolist()
    assert image.data[-1, -1, -2].tolist() == stored[:, 1, 0, 0].tolist()
    assert not is_labels(image)
    with pytest.raises(NiftiError, match="colour image"):
        image.volume()
    copy = write_image(tmp_path / "b.nii", image.data, image.source.grid, image.source, rgb=True)
    assert copy.read_bytes()[352:] == stored.tobytes(order="F")
    np.testing.assert_array_equal(open_nifti(copy).data, image.data)
    with pytest.raises(ValueError, match="8 bits"):
        write_image(tmp_path / "c.nii", image.data * 1.0, image.source.grid, rgb=True)


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize(("dtype", "code", "shown"), [("c8", 32, "f4"), ("c16", 1792, "f8")])
def test_complex_numbers_show_their_magnitude(tmp_path, endian, dtype, code, shown):
    stored = (3 * numbers() + 4j * numbers()).astype(dtype)
    raw = nifti(stored, endian=endian, code=code, scaling=(2, 0))
    image = open_nifti(put(tmp_path / "a.nii.gz", raw))
    assert image.data.dtype == np.dtype(shown)
    np.testing.assert_allclose(image.data, 10.0 * SHOWN, rtol=1e-6)
    assert "magnitude" in " ".join(image.source.warnings)


VALUES = [0.0, 1.0, -2.5, 1e300, 1 / 3, -7e-12]


def quadruple(value):
    """IEEE's 128 bits, least significant byte first."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    exponent, fraction = (bits >> 52) & 0x7FF, bits & ((1 << 52) - 1)
    wide = (bits >> 63) << 127 | fraction << 60
    return (wide | (exponent - 1023 + 16383) << 112 if exponent else wide).to_bytes(16, "little")


def extended(value):
    """Intel's 80 bits, padded."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    exponent, fraction = (bits >> 52) & 0x7FF, bits & ((1 << 52) - 1)
    wide = (bits >> 63) << 79
    if exponent:
        wide |= (exponent - 1023 + 16383) << 64 | 1 << 63 | fraction << 11
    return wide.to_bytes(16, "little")


@pytest.mark.parametrize(("pack", "endian"), [(quadruple, "<"), (quadruple, ">"), (extended, "<")])
def test_long_doubles_of_both_kinds_are_read(tmp_path, pack, endian):
    voxels = b"".join(pack(v)[:: 1 if endian == "<" else -1] for v in VALUES)
    raw = header(dim=(3, 6, 1, 1), code=1536, bits=128, endian=endian) + bytes(4) + voxels
    image = open_nifti(put(tmp_path / "a.nii", raw))
    assert image.data.dtype == np.float64
    assert image.data[0, 0, ::-1].tolist() == VALUES
    assert "rounded" in " ".join(image.source.warnings)


def test_long_doubles_of_an_unknown_kind_are_refused(tmp_path):
    raw = header(dim=(3, 6, 1, 1), code=1536, bits=128) + bytes(4) + b"\x55" * 96
    with pytest.raises(NiftiError, match="unknown kind"):
        open_nifti(put(tmp_path / "a.nii", raw))


@pytest.mark.parametrize("opened", ["pair.hdr", "pair.img", "pair.img.gz"])
def test_pairs_open_by_either_half(tmp_path, opened):
    put(tmp_path / "pair.hdr", header(magic=b"ni1\0", vox_offset=0))
    voxels = put(
        tmp_path / ("pair.img.gz" if opened.endswith("gz") else "pair.img"),
        numbers().tobytes(order="F"),
    )
    image = open_nifti(tmp_path / opened)
    np.testing.assert_array_equal(image.data, SHOWN)
    assert image.name == opened and not image.source.warnings
    written = write_labels(tmp_path / "x", image.data, image.source.grid, image.source).read_bytes()
    assert gzip.decompress(written)[344:348] == b"n+1\0"
    voxels.unlink()
    with pytest.raises(NiftiError, match=r"missing|does not exist"):
        open_nifti(tmp_path / opened)


def test_analyze(tmp_path):
    raw = header(magic=bytes(4), vox_offset=0, codes=(0, 0), scaling=(0, 0), sform=AFFINE * 0)
    (tmp_path / "a.hdr").write_bytes(raw)
    (tmp_path / "a.img").write_bytes(numbers().tobytes(order="F"))
    image = open_nifti(tmp_path / "a.img")
    assert "left from right" in " ".join(image.source.warnings)
    # stored toward left, anterior and superior
    np.testing.assert_array_equal(image.data, numbers()[:, ::-1, ::-1].transpose(2, 1, 0))
    np.testing.assert_allclose(image.source.grid.spacing, (3, 1.5, 2))
    again = read_nifti(write_labels(tmp_path / "b", image.data, image.source.grid, image.source))
    assert again.grid == image.source.grid  # now said in so many words
    assert not again.source.warnings


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_extensions_stay_with_images_and_leave_labels(tmp_path, name, endian):
    comment = struct.pack(f"{endian}ii", 32, 6) + b"hello comment".ljust(24, b"\0")
    raw = nifti(endian=endian, vox_offset=352.0 + 48)
    raw = raw[:348] + b"\1\0\0\0" + comment + bytes(16) + raw[352:]
    image = open_nifti(put(tmp_path / name, raw))
    np.testing.assert_array_equal(image.data, SHOWN)
    assert not image.source.warnings
    grid, source = image.source.grid, image.source
    again = write_image(tmp_path / "b.nii", image.data, grid, source).read_bytes()
    assert again[348:352] == b"\1\0\0\0"
    assert struct.unpack("<ii", again[352:360]) == (32, 6)
    assert again[360:373] == b"hello comment"
    assert struct.unpack("<f", again[108:112])[0] % 16 == 0
    np.testing.assert_array_equal(read_nifti(tmp_path / "b.nii").data, SHOWN)
    assert b"hello" not in write_labels(tmp_path / "c.nii", image.data, grid, source).read_bytes()


def test_damaged_extensions_are_left_out(tmp_path):
    raw = nifti(vox_offset=352.0 + 48)
    raw = raw[:348] + b"\1\0\0\0" + struct.pack("<ii", 1 << 20, 6) + bytes(40) + raw[352:]
    image = open_nifti(put(tmp_path / "a.nii", raw))
    assert "extensions are damaged" in " ".join(image.source.warnings)
    np.testing.assert_array_equal(image.data, SHOWN)


def test_labels_that_are_none_are_said_to_be(tmp_path):
    raw = nifti(numbers(dtype="f4") / 2, intent=1002)
    image = open_nifti(put(tmp_path / "a.nii", raw))
    assert not is_labels(image)
    assert "not all values are whole" in " ".join(image.source.warnings)


def memory(monkeypatch, free):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=free))


@pytest.mark.parametrize("scaling", [(1, 0), (1, -1000), (2, 0)])
def test_what_fills_the_memory_stays_on_disk(tmp_path, monkeypatch, scaling):
    path = put(tmp_path / "a.nii", nifti(series(), scaling=scaling, endian=">"))
    whole = open_nifti(path)
    memory(monkeypatch, 4 * whole.data.nbytes - 4)
    lazy = open_nifti(path)
    assert isinstance(lazy.data, da.Array)
    assert lazy.data.dtype == whole.data.dtype
    np.testing.assert_array_equal(lazy.data.compute(), whole.data)
    np.testing.assert_array_equal(lazy.volume(1).data, whole.data[1])
    flat = put(tmp_path / "b.nii", nifti(scaling=(2, 0)))
    memory(monkeypatch, 100)
    np.testing.assert_array_equal(open_nifti(flat).data.compute(), 2 * SHOWN)


def test_gzipped_files_ask_before_they_fill_the_memory(tmp_path, monkeypatch):
    path = put(tmp_path / "a.nii.gz", nifti())
    nbytes = 2 * np.prod(SHAPE)
    memory(monkeypatch, nbytes * 2)
    with pytest.raises(TooLarge, match=r"^a\.nii\.gz needs .* unpack it"):
        open_nifti(path)
    np.testing.assert_array_equal(open_nifti(path, allow_large=True).data, SHOWN)
    memory(monkeypatch, nbytes)
    with pytest.raises(TooLarge, match="close other programs") as caught:
        open_nifti(path, allow_large=True)
    assert not caught.value.readable


def test_what_packs_too_well_is_asked_about_before_it_is_unpacked(tmp_path):
    zeros = gzip.compress(bytes(16 << 20), 9)
    bomb = gzip.compress(header(dim=(3, 1024, 1024, 2048), code=2, bits=8) + bytes(4))
    (tmp_path / "bomb.nii.gz").write_bytes(bomb + zeros * 128)
    with pytest.raises(TooLarge, match="few real files"):
        open_nifti(tmp_path / "bomb.nii.gz")


@pytest.mark.parametrize("raw", [nifti(scaling=(2, 0)), nifti(endian=">")])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_reading_tells_how_far_it_is(tmp_path, monkeypatch, name, raw):
    monkeypatch.setattr("napari_sam3d.io.read._PIECE", 50)
    path = put(tmp_path / name, raw)
    shares = list(open_steps(path))
    assert shares == sorted(shares) and shares[-1] == 1
    assert len(shares) == -(-np.prod(SHAPE) // 50)
    steps = open_steps(path)
    next(steps)
    steps.close()  # leaves no open file, which pytest would report
    assert finish(open_steps(path)).data.shape == SHAPE[::-1]


def test_unpacking(tmp_path):
    path = put(tmp_path / "a.nii.gz", nifti())
    target = finish(unpack_steps(path, tmp_path / "a.nii"))
    assert target.read_bytes() == nifti()
    steps = unpack_steps(path, tmp_path / "b.nii")
    next(steps)
    steps.close()
    packed = path.read_bytes()
    path.write_bytes(packed[:-8] + bytes([packed[-8] ^ 255]) + packed[-7:])
    with pytest.raises(NiftiError, match="checksum"):
        finish(unpack_steps(path, tmp_path / "b.nii"))
    with pytest.raises(NiftiError, match="not gzipped"):
        finish(unpack_steps(target, tmp_path / "b.nii"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii", "a.nii.gz"]


@pytest.mark.parametrize("padding", [bytes(9), bytes(4 << 20)])
def test_zeros_behind_the_voxels_are_padding(tmp_path, padding):
    packed = gzip.compress(nifti()) + gzip.compress(padding)
    (tmp_path / "a.nii.gz").write_bytes(packed)
    image = open_nifti(tmp_path / "a.nii.gz")
    assert not image.source.warnings
    np.testing.assert_array_equal(image.data, SHOWN)
