"""Random headers, cut files and flipped bits: one good sentence, or an image of the right shape.

`NAPARI_SAM3D_FUZZ=6000 pytest test_fuzz.py` tries that many new examples per test; without it
the same few are tried each time.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import data_type_codes

from napari_sam3d._tests.io.odd_files import nifti2
from napari_sam3d._tests.nifti_files import SHAPE, header, nifti
from napari_sam3d.io import NiftiError, open_nifti, read_nifti, write_labels
from napari_sam3d.plugin.layers.convert import layer_data

ASKED = os.environ.get("NAPARI_SAM3D_FUZZ")
fuzzed = settings(
    max_examples=int(ASKED or 150),
    derandomize=not ASKED,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

KINDS = {
    "one": header(),
    "one-big": header(endian=">"),
    "two": nifti2((3, *SHAPE))[:540],
    "two-big": nifti2((3, *SHAPE), endian=">")[:540],
    "pair": header(magic=b"ni1\0", vox_offset=0),
    "analyze": header(magic=bytes(4), vox_offset=0, codes=(0, 0)),
}
VOXELS = np.random.default_rng(0).integers(0, 256, 9000, np.uint8).tobytes()
FLOATS = [0, 1, -1, 0.5, 2, 1e-3, 1e-20, 1e-45, 1e20, 3e38, np.nan, np.inf, -np.inf, 352, 544]
INTEGERS = [*range(-2, 9), 16, 32, 64, 128, 255, 256, 512, 768, 1007, 1024, 1280, 1536, 1792, 2304]


def fields_of(kind):
    dtype = (nib.Nifti2Header if kind.startswith("two") else nib.Nifti1Header).template_dtype
    return dtype.newbyteorder(">" if kind.endswith("big") else "<")


@st.composite
def mutated(draw, kinds=tuple(KINDS)):
    """A kind and its header with some fields and some bytes changed."""
    kind = draw(st.sampled_from(kinds))
    dtype = fields_of(kind)
    changed = np.frombuffer(KINDS[kind], dtype).copy()
    for name in draw(st.lists(st.sampled_from(sorted(dtype.fields)), max_size=6)):
        if name in ("sizeof_hdr", "magic") and draw(st.integers(0, 9)):
            continue  # seldom: it is no NIfTI file then
        base, shape = dtype[name].subdtype or (dtype[name], ())
        at = draw(st.integers(0, max(0, int(np.prod(shape)) - 1)))
        if base.kind == "S":
            value = draw(st.binary(max_size=base.itemsize))
        elif base.kind == "f":
            value = draw(st.sampled_from(FLOATS) | st.floats(width=base.itemsize * 8))
        else:
            low, high = np.iinfo(base).min, np.iinfo(base).max
            value = draw(
                st.sampled_from([n for n in INTEGERS if low <= n <= high]) | st.integers(low, high)
            )
        changed[name].reshape(-1)[at] = value
    raw = bytearray(changed.tobytes())
    for at, value in draw(
        st.lists(st.tuples(st.integers(4, len(raw) - 1), st.integers(0, 255)), max_size=2)
    ):
        raw[at] = value
    return kind, bytes(raw)


@st.composite
def random_headers(draw):
    """Noise that starts and ends as a header does."""
    kind = draw(st.sampled_from(tuple(KINDS)))
    raw, size = KINDS[kind], len(KINDS[kind])
    noise = bytearray(draw(st.binary(min_size=size, max_size=size)))
    noise[:4] = raw[:4]
    if size == 348:
        noise[344:] = raw[344:]
    else:
        noise[4:12] = raw[4:12]
    if draw(st.booleans()):  # a shape that lets it come further
        dtype = fields_of(kind)
        start = dtype.fields["dim"][1]
        noise[start : start + dtype["dim"].itemsize] = raw[start : start + dtype["dim"].itemsize]
    if draw(st.booleans()):
        dtype = fields_of(kind)
        for name in ("datatype", "vox_offset"):
            start = dtype.fields[name][1]
            noise[start : start + dtype[name].itemsize] = raw[start : start + dtype[name].itemsize]
    return kind, bytes(noise)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def lay(folder, kind, raw, zipped):
    """A file, or two, with a header and voxels behind it."""
    shutil.rmtree(folder)
    folder.mkdir()
    if kind in ("pair", "analyze"):
        (folder / "a.img").write_bytes(VOXELS)
        (folder / "a.hdr").write_bytes(raw)
        return folder / "a.hdr"
    content = raw + bytes(4) + VOXELS
    path = folder / ("a.nii.gz" if zipped else "a.nii")
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return path


def opened(path):
    """The image, or None when it was refused as it should be."""
    on_disk = sum(p.stat().st_size for p in path.parent.iterdir())
    began = time.process_time()
    tracemalloc.start()
    try:
        return open_nifti(path)
    except NiftiError as error:
        sentence = str(error)
        assert path.stem.split(".")[0] + "." in sentence
        assert sentence.endswith(".") and "\n" not in sentence and ". " not in sentence
        return None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert time.process_time() - began < 2
        # deflate packs at most 1032 bytes into one, and a byte may become a float64
        unpacked = on_disk * (1032 if path.name.endswith(".gz") else 1)
        assert peak < 10 * unpacked + (48 << 20)


def usable(image):
    """Look at every voxel, make a layer, and save a label map on the same voxels."""
    data = np.asarray(image.data)
    np.isfinite(data).sum()
    grid = image.source.grid
    spatial = data.shape[:-1] if image.rgb else data.shape
    assert spatial[-3:] == grid.shape
    assert len(spatial) - 3 == len(image.axes)
    for one in (image.source.affine, grid.affine, grid.inverse):
        assert np.isfinite(one).all()
    corners = np.array([(0, 0, 0), np.array(grid.shape) - 1])
    assert np.isfinite(image.source.to_ras(corners)).all()
    np.testing.assert_array_equal(image.source.to_display(image.source.to_stored(corners)), corners)
    layer, meta, _ = layer_data(image)
    assert np.shape(layer) == data.shape
    assert np.isfinite(meta["scale"]).all() and (np.array(meta["scale"]) > 0).all()
    assert np.isfinite(meta["translate"]).all()
    assert image.time_step is None or image.time_step > 0
    labels = np.arange(np.prod(grid.shape)).reshape(grid.shape) % 200
    saved = write_labels(Path(image.source.path).with_name("out.nii"), labels, grid, image.source)
    again = read_nifti(saved)
    np.testing.assert_array_equal(again.data, labels)
    np.testing.assert_array_equal(again.grid.affine, grid.affine)


def as_the_header_says(image, kind, raw):
    """Compare shape and numbers with what the bytes say, read without our reader."""
    fields = np.frombuffer(raw, fields_of(kind))[0]
    dim = [int(n) for n in fields["dim"]]
    shape = (*dim[1 : dim[0] + 1], 1, 1)
    spatial, others = shape[:3], [n for n in shape[3:] if n > 1]
    stored_shape = np.asarray(image.source.stored_shape)
    assert stored_shape.tolist() == list(spatial)
    sizes = list(image.data.shape[:-1] if image.rgb else image.data.shape)
    assert sizes[:-3] == others[::-1]
    assert sorted(sizes[-3:]) == sorted(spatial)
    code, offset = int(fields["datatype"]), float(fields["vox_offset"])
    dtype = data_type_codes.dtype[code]
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    inter = 0 if kind == "analyze" else inter  # where other programs keep other things
    unscaled = slope == 0 or not np.isfinite([slope, inter]).all() or (slope, inter) == (1, 0)
    if image.rgb or not unscaled or dtype.kind not in "iuf" or dtype.itemsize > 8:
        return
    if kind not in ("pair", "analyze"):
        start = len(raw) + 4
        offset = offset - start if offset else 0
    dtype = dtype.newbyteorder(">" if kind.endswith("big") else "<")
    stored = np.frombuffer(VOXELS, dtype, int(np.prod(shape)), int(offset))
    np.testing.assert_array_equal(np.sort(stored), np.sort(np.asarray(image.data), axis=None))


@fuzzed
@given(header=mutated(), zipped=st.booleans())
def test_changed_headers(folder, header, zipped):
    image = opened(lay(folder, *header, zipped))
    event("refused" if image is None else "read")
    if image is not None:
        as_the_header_says(image, *header)
        usable(image)


@fuzzed
@given(header=random_headers(), zipped=st.booleans())
def test_random_headers(folder, header, zipped):
    image = opened(lay(folder, *header, zipped))
    event("refused" if image is None else "read")
    if image is not None:
        as_the_header_says(image, *header)
        usable(image)


@pytest.mark.parametrize("field", ["pixdim", "scl_slope", "scl_inter", "srow_x", "qoffset_x"])
@pytest.mark.parametrize("kind", KINDS)
def test_signalling_nan(folder, kind, field):
    """A NaN that makes numpy warn when it is converted."""
    dtype = fields_of(kind)
    raw, at = bytearray(KINDS[kind]), dtype.fields[field][1]
    for part in range(at, at + dtype[field].itemsize, dtype[field].base.itemsize):
        nan = b"\x7f\xf0\0\0\0\0\0\1" if dtype[field].base.itemsize == 8 else b"\x7f\x81\0\0"
        raw[part : part + len(nan)] = nan if kind.endswith("big") else nan[::-1]
    image = opened(lay(folder, kind, bytes(raw), zipped=False))
    assert image is not None
    usable(image)


WHOLE = {
    "a.nii": nifti(),
    "a.nii.gz": gzip.compress(nifti(), 6, mtime=0),
    "stored.nii.gz": gzip.compress(nifti(), 0, mtime=0),
    "scaled.nii.gz": gzip.compress(nifti(scaling=(2, 1)), 6, mtime=0),
    "two.nii": nifti2((3, *SHAPE)) + nifti()[352:],
    "long.nii": nifti(np.arange(3000, dtype="f4").reshape(10, 10, 10, 3)),
}


@fuzzed
@given(name=st.sampled_from(tuple(WHOLE)), share=st.floats(0, 1, exclude_max=True))
def test_cut_files_are_refused(folder, name, share):
    content = WHOLE[name]
    shutil.rmtree(folder)
    folder.mkdir()
    path = folder / name
    path.write_bytes(content[: int(share * len(content))])
    assert opened(path) is None


@fuzzed
@given(
    name=st.sampled_from(tuple(WHOLE)),
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_flipped_bits(folder, name, flips):
    content = bytearray(WHOLE[name])
    for at, bits in flips:
        content[at % len(content)] ^= bits
    shutil.rmtree(folder)
    folder.mkdir()
    path = folder / name
    path.write_bytes(content)
    image = opened(path)
    if image is None:
        return
    usable(image)
    if name.endswith(".gz"):  # the checksum lets nothing pass but what is the same
        whole = folder / f"whole_{name}"
        whole.write_bytes(WHOLE[name])
        np.testing.assert_array_equal(image.data, open_nifti(whole).data)
