"""The challenge's npz: read as NumPy does, boxes without its pickles, and nothing that lies."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam3d.io import challenge
from napari_sam3d.io.challenge import read_array, read_boxes, read_gts, read_image
from napari_sam3d.prompts import Box

SHAPE = (3, 4, 5)
IMGS = np.arange(60, dtype=np.uint8).reshape(SHAPE)
KEYS = ("z_min", "z_max", "z_mid", "z_mid_x_min", "z_mid_y_min", "z_mid_x_max", "z_mid_y_max")


def row(*numbers, kind=np.int64):
    return {key: kind(number) for key, number in zip(KEYS, numbers, strict=True)}


def save(path, **arrays):
    np.savez_compressed(path, **{"imgs": IMGS, "spacing": (2.5, 1.0, 0.5), **arrays})
    return path


def put(path, key, content, method=zipfile.ZIP_DEFLATED):
    """A zip file with one member of any content."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{key}.npy", content)
    return path


def npy(array, **changed):
    """The bytes of an array in a file of its own, with another header."""
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **changed}
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + array.tobytes()


def test_an_image_has_the_spacing_of_its_axes_in_order(tmp_path):
    volume = read_image(save(tmp_path / "CT_1.npz"))
    assert (volume.data == IMGS).all() and volume.data.dtype == np.uint8
    assert volume.grid.spacing == (2.5, 1.0, 0.5) and volume.grid.shape == SHAPE
    assert volume.name == "CT_1.npz" and volume.source is None
    path = save(tmp_path / "x.npz", gts=(IMGS > 9).astype(np.uint8))
    assert read_gts(path).sum() == 50


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "f4", ">f8", "u8", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save_npz", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(tmp_path, dtype, order, save_npz):
    array = np.asarray(np.random.default_rng(0).integers(0, 2, (7, 11, 13)), dtype, order=order)
    save_npz(tmp_path / "x.npz", a=array)
    found = read_array(tmp_path / "x.npz", "a")
    assert found is not None and np.array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert read_array(tmp_path / "x.npz", "b") is None


@pytest.mark.parametrize("kind", [np.int64, np.uint16, int, float])
@pytest.mark.parametrize("as_array", [False, True])
def test_boxes_go_to_the_labels_in_order(tmp_path, kind, as_array):
    rows = [row(0, 2, 1, 1, 0, 4, 3, kind=kind), row(1, 1, 1, 2, 3, 2, 3, kind=kind)]
    boxes = np.array(rows, object) if as_array else rows  # NumPy makes such an array of the list
    path = save(tmp_path / "x.npz", boxes=boxes)
    assert read_boxes(path, [3, 7], SHAPE) == {
        3: Box((0, 0, 1), (2, 3, 4)),
        7: Box((1, 3, 2), (1, 3, 2)),
    }
    with pytest.raises(ValueError, match=r"^x\.npz has 2 boxes for 1 labels"):
        read_boxes(path, [3], SHAPE)


def test_an_image_without_boxes_has_none(tmp_path):
    assert read_boxes(save(tmp_path / "x.npz"), [1], SHAPE) == {}


class Call:
    """A call in the boxes, which `np.load(allow_pickle=True)` would do."""

    def __reduce__(self):
        return os.mkdir, ("mark",)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([row(0, 2, 1, 1, 0, 5, 3)], "leaves the image"),
        ([row(2, 0, 1, 1, 0, 4, 3)], "leaves the image"),
        ([row(-1, 0, 1, 1, 0, 4, 3)], "leaves the image"),
        ([{"z_min": 0}], "without the six numbers"),
        ([dict.fromkeys(KEYS, np.nan)], "without the six numbers"),
        ([dict.fromkeys(KEYS, "1")], "without the six numbers"),
        ([None], "without the six numbers"),
        ([[0, 0, 0]], "boxes of int64"),
        ([[Call()]], "names '.*mkdir'"),
        ([Call()], "names '.*mkdir'"),
    ],
)
def test_odd_boxes_are_one_sentence(tmp_path, monkeypatch, boxes, words):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "x.npz", boxes=np.array(boxes))
    with pytest.raises(ValueError, match=rf"^x\.npz.*({words})") as raised:
        read_boxes(path, [1], SHAPE)
    assert "\n" not in str(raised.value) and not (tmp_path / "mark").exists()
    assert read_image(path).grid.shape == SHAPE  # which needs none of them


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"imgs": np.zeros((4, 5))}, "imgs of 2 axes"),
        ({"imgs": np.zeros((3, 4, 5, 3))}, "imgs of 4 axes"),
        ({"imgs": np.array(5)}, "damaged"),
        ({"imgs": np.zeros((0, 4, 5))}, "damaged"),
        ({"imgs": np.array([None])}, "imgs of object"),
        ({"imgs": np.array(["a"])}, "imgs of <U1"),
        ({"imgs": np.zeros(SHAPE, "c16")}, "imgs of complex128"),
        ({"imgs": np.zeros(SHAPE, "i4,f8")}, "plain numbers"),
        ({"spacing": (1, 2)}, "spacing in three numbers"),
        ({"spacing": np.array([1, 2, None])}, "spacing of object"),
        ({"spacing": (1, 0, 1)}, "voxel sizes are above zero"),
        ({"spacing": (1, np.nan, 1)}, "voxel sizes are above zero"),
        ({"spacing": (1, -1, 1)}, "voxel sizes are above zero"),
    ],
)
def test_odd_images_are_one_sentence(tmp_path, changed, words):
    with pytest.raises(ValueError, match=rf"^x\.npz .*{words}") as raised:
        read_image(save(tmp_path / "x.npz", **changed))
    assert "\n" not in str(raised.value)


def test_what_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", gts=IMGS)
    with pytest.raises(ValueError, match=r"^x\.npz holds no imgs"):
        read_image(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", imgs=IMGS)
    with pytest.raises(ValueError, match=r"^x\.npz does not say its spacing"):
        read_image(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=r"^x\.npz holds no gts; name the folder"):
        read_gts(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=r"^none\.npz does not exist"):
        read_gts(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="cannot be read"):
        read_gts(tmp_path)


@pytest.mark.parametrize(
    "shape", [(30, 40, 51), (2**20, 2**20, 2**20), (-1, 2, 2), (2**62, 2**62, 2), (True,), ()]
)
def test_a_header_that_lies_takes_no_memory(tmp_path, shape):
    path = put(tmp_path / "x.npz", "imgs", npy(np.zeros(60_000, np.uint8), shape=shape))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^x\.npz is damaged"):
        read_array(path, "imgs")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_directory_that_lies_takes_no_memory(tmp_path):
    """The sizes of a zip file's directory need not be those of what it packs."""
    claimed = 3 << 30
    head = npy(np.zeros(0, np.uint8), shape=(3, 1 << 15, 1 << 15))
    path = put(tmp_path / "x.npz", "imgs", head + bytes(100))
    content = bytearray(path.read_bytes())
    real = struct.pack("<I", len(head) + 100)
    assert content.count(real) >= 2
    for at in (content.find(real), content.rfind(real)):
        content[at : at + 4] = struct.pack("<I", len(head) + claimed)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^x\.npz .*claims"):
        read_array(path, "imgs")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_bomb_is_refused_by_the_free_memory(tmp_path, monkeypatch):
    path = save(tmp_path / "x.npz", imgs=np.zeros((100, 100, 100), np.uint8))
    memory = type("Memory", (), {"available": 1_000_000})
    monkeypatch.setattr(challenge.psutil, "virtual_memory", lambda: memory)
    with pytest.raises(ValueError, match=r"^x\.npz needs 0\.0 GB of memory for imgs and 0\.0 GB"):
        read_image(path)


def test_a_wrong_checksum_and_odd_packing_are_told(tmp_path):
    path = put(tmp_path / "x.npz", "imgs", npy(IMGS), zipfile.ZIP_STORED)
    content = path.read_bytes()
    at = content.find(IMGS.tobytes())
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    with pytest.raises(ValueError, match=r"^x\.npz is damaged"):
        read_array(path, "imgs")
    put(path, "imgs", npy(IMGS), zipfile.ZIP_LZMA)
    with pytest.raises(ValueError, match=r"packed as NumPy does not"):
        read_array(path, "imgs")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    np.savez(path, imgs=IMGS, boxes=[row(0, 2, 1, 1, 0, 4, 3)], spacing=(1.0, 2.0, 3.0))
    return path.read_bytes()


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_is_a_sentence_or_harmless(tmp_path, sound, data):
    content = bytearray(sound)
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    _read_all(tmp_path / "x.npz", bytes(content))


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(header=st.binary(max_size=80) | st.text(max_size=80).map(str.encode), data=st.data())
def test_any_header_of_an_array_is_a_sentence_or_harmless(tmp_path, header, data):
    """Whole zip files, so that the header is what is looked at."""
    if data.draw(st.booleans()):
        sound = npy(IMGS)[10:128]
        at = data.draw(st.integers(0, len(sound)))
        header = sound[:at] + header + sound[at + len(header) :]
    version = data.draw(st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\x09\0"]))
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    member = b"\x93NUMPY" + version + length + header + IMGS.tobytes()
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("imgs", "boxes", "spacing"):
            archive.writestr(f"{key}.npy", member)
    _read_all(path, path.read_bytes())


def _read_all(path, content):
    path.write_bytes(content)
    for read in (read_image, read_gts, lambda it: read_boxes(it, [1], SHAPE)):
        try:
            with warnings.catch_warnings():  # NumPy's, about headers that Python 2 has written
                warnings.simplefilter("ignore")
                read(path)
        except ValueError as error:
            assert str(error).startswith("x.npz") and "\n" not in str(error)
            assert len(str(error)) < 300
