import gzip
import os
import pickle

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam3d._tests.nifti_files import (
    AFFINE,
    ORIENTATIONS,
    SHAPE,
    TILT,
    anatomy,
    forms,
    header,
    nifti,
    numbers,
    put,
    stored_as,
    turn,
)
from napari_sam3d.io import (
    NiftiError,
    NiftiSource,
    is_labels,
    read_nifti,
    write_image,
    write_labels,
)
from napari_sam3d.volume import Grid

KEPT = [(0, 4), (32, 56), (74, 108), (120, 124), (132, 140), (252, 328), (344, 348)]
"""Header bytes that labels share with their source: all but type, scaling, intent and text."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    oblique=st.booleans(),
    which=st.sampled_from(["qform", "sform", "both"]),
    zipped=st.booleans(),
)
def test_labels_go_back_onto_the_voxels_of_any_file(
    tmp_path_factory, orientation, oblique, which, zipped
):
    folder = tmp_path_factory.mktemp("round")
    name = "image.nii.gz" if zipped else "image.nii"
    stored, affine = stored_as(*anatomy(oblique), *orientation)
    raw = nifti(stored, **forms(affine, which))
    volume = read_nifti(put(folder / name, raw))

    # one anatomy, one display array, one place in the world
    reference, at = anatomy(oblique)
    np.testing.assert_array_equal(volume.data, reference[::-1, ::-1, ::-1].transpose(2, 1, 0))
    first_ras = at @ [*(np.array(SHAPE) - 1), 1]
    np.testing.assert_allclose(volume.grid.to_world([0, 0, 0]), -first_ras[2::-1], atol=1e-4)

    labels = write_labels(folder / "labels.nii.gz", volume.data, volume.grid, volume.source)
    written = gzip.decompress(labels.read_bytes())
    voxels = np.frombuffer(written[352:], np.uint8)  # all values fit into a byte
    np.testing.assert_array_equal(voxels.reshape(stored.shape, order="F"), stored)
    for start, stop in KEPT:
        assert written[start:stop] == raw[start:stop]
    np.testing.assert_allclose(nib.load(labels).affine, volume.source.affine, atol=1e-5)
    again = read_nifti(labels)
    assert again.grid == volume.grid
    assert is_labels(again)
    same_geometry_in_itk(folder / name, labels)


def same_geometry_in_itk(first, second):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    images = [sitk.ReadImage(str(path)) for path in (first, second)]
    for get in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(images[0], get)() == getattr(images[1], get)()


def test_points_of_all_frames_agree(tmp_path):
    stored, affine = stored_as(*anatomy(True), (2, 0, 1), (-1, 1, -1))
    volume = read_nifti(put(tmp_path / "a.nii", nifti(stored, sform=affine)))
    source = volume.source
    point = np.array([[1, 2, 3]])
    (ijk,) = source.to_stored(point)
    assert volume.data[1, 2, 3] == stored[tuple(ijk)]
    assert source.to_display(source.to_stored(point)).tolist() == point.tolist()
    np.testing.assert_allclose(source.to_ras(point)[0], (affine @ [*ijk, 1])[:3], atol=1e-4)
    np.testing.assert_allclose(source.from_ras(source.to_ras(point)), point, atol=1e-9)
    np.testing.assert_allclose(source.to_ras(point), -volume.grid.to_world(point)[:, ::-1])


def test_source_survives_pickle_and_dict(tmp_path):
    source = read_nifti(put(tmp_path / "a.nii", nifti())).source
    for copy in (pickle.loads(pickle.dumps(source)), NiftiSource.from_dict(source.as_dict())):
        assert copy.as_dict() == source.as_dict()
        assert copy.grid == source.grid


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_voxel_types_are_kept_in_native_order(tmp_path, dtype, endian):
    volume = read_nifti(put(tmp_path / "a.nii", nifti(dtype=dtype, endian=endian)))
    assert volume.data.dtype == np.dtype(dtype)
    assert sorted(volume.data.ravel()) == list(range(np.prod(SHAPE)))
    labels = volume.data.astype(int)
    path = write_labels(tmp_path / "b.nii", labels, volume.grid, volume.source)
    np.testing.assert_array_equal(read_nifti(path).data, labels)


def test_plain_files_are_mapped_not_read(tmp_path):
    volume = read_nifti(put(tmp_path / "a.nii", nifti()))
    base = volume.data
    while not isinstance(base, np.memmap) and base is not None:
        base = base.base
    assert base is not None
    assert not volume.data.flags.writeable


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ((0, 5), np.int16),
        ((float("nan"), 0), np.int16),
        ((1, 0), np.int16),
        ((1, -1024), np.float32),
        ((2, 1), np.float32),
        ((1e38, 0), np.float64),
    ],
)
def test_scaling(tmp_path, scaling, expected):
    volume = read_nifti(put(tmp_path / "a.nii", nifti(scaling=scaling)))
    assert volume.data.dtype == expected
    slope, inter = scaling if expected != np.int16 else (1, 0)
    np.testing.assert_allclose(volume.data[-1, -1, -1], inter, rtol=1e-6)
    np.testing.assert_allclose(volume.data[-1, -1, -2], slope + inter, rtol=1e-6)


@pytest.mark.parametrize(("units", "factor"), [(0, 1), (2, 1), (1, 1000), (3, 0.001)])
def test_units(tmp_path, units, factor):
    volume = read_nifti(put(tmp_path / "a.nii", nifti(units=units)))
    np.testing.assert_allclose(volume.grid.spacing, np.array([3, 1.5, 2]) * factor)


@pytest.mark.parametrize(
    ("fields", "source", "warning"),
    [
        ({}, "sform", None),
        ({"codes": (1, 0)}, "qform", None),
        ({"codes": (0, 0)}, "pixdim", "no orientation"),
        ({"codes": (1, 1), "offset_mm": (-10, 30, -40)}, "sform", "differ"),
        ({"codes": (0, 1), "sform": AFFINE * 0}, "pixdim", "damaged"),
        ({"codes": (1, 1), "sform": AFFINE * np.nan}, "qform", "damaged"),
        ({"codes": (1, 0), "quaternion": (0.9, 0.9, 0.9)}, "pixdim", "damaged"),
        ({"codes": (0, 0), "pixdim": (1, -2, 0, np.nan)}, "pixdim", "no orientation"),
        ({"sform": AFFINE + np.eye(4, k=1)}, "sform", "right angles"),
    ],
)
def test_choice_of_the_affine(tmp_path, fields, source, warning):
    volume = read_nifti(put(tmp_path / "a.nii", nifti(**fields)))
    assert volume.source.affine_source == source
    assert (warning is None) == (not volume.source.warnings)
    assert warning is None or warning in " ".join(volume.source.warnings)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (1, 6, 7), (1, 1, 1), (5, 6, 7, 1, 1)])
def test_flat_and_padded_shapes_become_three_axes(tmp_path, shape):
    data = np.arange(np.prod(shape), dtype="i2").reshape(shape, order="F")
    volume = read_nifti(put(tmp_path / "a.nii", nifti(data)))
    assert volume.data.shape == (*shape, 1)[2::-1]
    path = write_labels(tmp_path / "b.nii", volume.data, volume.grid, volume.source)
    np.testing.assert_array_equal(read_nifti(path).data, volume.data)


GOOD = nifti()
ZIPPED = gzip.compress(GOOD, 6, mtime=0)
BAD = {
    "empty.nii": (b"", "is empty"),
    "short.nii": (GOOD[:200], "200 bytes"),
    "text.nii.gz": (b"no image\n" * 99, "not a NIfTI"),
    "magic.nii": (nifti(magic=b"xyz\0"), "not a NIfTI"),
    "size.nii": (nifti(size=1234), "not a NIfTI"),
    "cut.nii": (GOOD[:-9], "cut off"),
    "cut.nii.gz": (ZIPPED[: len(ZIPPED) // 2], "cut off"),
    "tail.nii.gz": (ZIPPED[:-6], "cut off"),
    "crc.nii.gz": (ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 255]) + ZIPPED[-7:], "checksum"),
    "dims.nii": (nifti(dim=(9, 5, 6, 7)), "damaged"),
    "zero.nii": (nifti(dim=(3, 5, 0, 7)), "damaged"),
    "line.nii": (nifti(dim=(1, 210)), "single line"),
    "type.nii": (nifti(code=9999), "9999"),
    "complex256.nii": (nifti(code=2048, bits=256), "complex256"),
    "6d.nii": (nifti(np.zeros((2, 2, 2, 2, 2, 2), "i2")), "6 dimensions"),
    "singular.nii": (nifti(sform=AFFINE * [1, 1, 0, 1]), "singular"),
    "offset.nii": (nifti(vox_offset=float("nan")), "damaged"),
    "huge.nii": (nifti(dim=(3, 32767, 32767, 32767)), "cut off"),
    "huge.nii.gz": (gzip.compress(nifti(dim=(3, 32767, 32767, 32767))), "cannot fit"),
    "pair.hdr": (header(magic=b"ni1\0"), "pair"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_sentence(tmp_path, name):
    content, words = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NiftiError) as caught:
        read_nifti(tmp_path / name)
    sentence = str(caught.value)
    assert sentence.startswith(name) and words in sentence and sentence.endswith(".")
    assert "\n" not in sentence


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(NiftiError, match="does not exist"):
        read_nifti(tmp_path / "nothing.nii")
    with pytest.raises(NiftiError, match="folder"):
        read_nifti(tmp_path)


def test_more_than_the_free_memory_is_refused(tmp_path, monkeypatch):
    from types import SimpleNamespace

    path = put(tmp_path / "a.nii.gz", GOOD)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=500))
    with pytest.raises(NiftiError, match="GB"):
        read_nifti(path)


ODD = {
    "plain.nii.gz": (GOOD, "unlike its name"),
    "zipped.nii": (ZIPPED, "unlike its name"),
    "more.nii.gz": (ZIPPED + gzip.compress(bytes(99) + b"more"), "extra data"),
    "junk.nii.gz": (ZIPPED + b"junk" * 9, "extra data"),
    "bits.nii": (nifti(bits=8), "bits per voxel"),
    "offset.nii": (nifti(vox_offset=0), "352"),
    "half.nii": (nifti(magic=b"ni1\0"), "half"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_read_with_a_warning(tmp_path, name):
    content, words = ODD[name]
    (tmp_path / name).write_bytes(content)
    volume = read_nifti(tmp_path / name)
    assert words in " ".join(volume.source.warnings)
    np.testing.assert_array_equal(volume.data, numbers()[::-1, ::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("a.nii", {"dtype": "u1"}, False),
        ("a.nii", {"dtype": "u1", "intent": 1002}, True),
        ("case_seg.nii", {"dtype": "u1"}, True),
        ("segment.nii", {"dtype": "u1"}, False),
        ("x.GT.nii", {"dtype": "f4"}, True),
        ("mask.nii", {"data": numbers(dtype="f4") / 2}, False),
        ("mask.nii", {"dtype": "u1", "scaling": (1 / 255, 0)}, False),
    ],
)
def test_what_counts_as_labels(tmp_path, name, fields, expected):
    assert is_labels(read_nifti(put(tmp_path / name, nifti(**fields)))) is expected


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 255, "u1"), (0, 256, "u2"), (0, 65536, "i4"), (-1, 5, "i2"), (0, 2**40, "i8")],
)
def test_labels_get_the_smallest_type_that_holds_them(tmp_path, low, high, dtype):
    labels = np.array([[[low, high]]], np.int64)
    path = write_labels(tmp_path / "a", labels, Grid.from_spacing((1, 1, 2), (1, 1, 1)))
    assert path.name == "a.nii.gz"
    assert read_nifti(path).data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read_nifti(path).data, labels)


@pytest.mark.parametrize("tilt", [(0, 0, 0), TILT])
def test_labels_without_a_source_keep_their_place(tmp_path, tilt):
    affine = turn(tilt) @ np.diag([3, 2, 1, 1.0])
    affine[:3, 3] = (5, -6, 7)
    grid = Grid((2, 3, 4), affine)
    mask = np.arange(24).reshape(grid.shape) % 3 == 0
    again = read_nifti(write_labels(tmp_path / "a.nii.gz", mask, grid))
    np.testing.assert_array_equal(again.data, mask)
    np.testing.assert_allclose(again.grid.affine, affine, atol=1e-5)
    assert not again.source.warnings
    assert is_labels(again)


def test_free_text_of_the_source_is_not_in_the_labels(tmp_path):
    volume = read_nifti(put(tmp_path / "a.nii", nifti()))
    path = write_labels(tmp_path / "b.nii", volume.data, volume.grid, volume.source)
    content = path.read_bytes()
    assert not any(text in content for text in (b"patient", b"aux", b"a description", b"db"))


def test_images_keep_their_values_and_header(tmp_path):
    volume = read_nifti(put(tmp_path / "a.nii", nifti(scaling=(2, 1))))
    path = write_image(tmp_path / "b.nii.gz", volume.data, volume.grid, volume.source)
    again = read_nifti(path)
    assert again.data.dtype == np.float32
    np.testing.assert_array_equal(again.data, volume.data)
    assert again.grid == volume.grid
    assert not is_labels(again)
    with pytest.raises(ValueError, match="complex"):
        write_image(path, volume.data.astype(complex), volume.grid)


def test_the_same_labels_give_the_same_bytes(tmp_path):
    grid = Grid.from_spacing((2, 2, 2), (1, 1, 1))
    first, second = (write_labels(tmp_path / n, np.ones((2, 2, 2), int), grid) for n in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_targets_that_are_refused(tmp_path):
    volume = read_nifti(put(tmp_path / "a.nii", nifti()))
    mask = volume.data > 3
    with pytest.raises(ValueError, match="image itself"):
        write_labels(tmp_path / "a.nii", mask, volume.grid, volume.source, overwrite=True)
    old = put(tmp_path / "old.nii.gz", b"old")
    with pytest.raises(FileExistsError, match="exists already"):
        write_labels(old, mask, volume.grid, volume.source)
    with pytest.raises(ValueError, match="shape"):
        write_labels(tmp_path / "b.nii", mask[1:], volume.grid, volume.source)
    with pytest.raises(ValueError, match="whole numbers"):
        write_labels(tmp_path / "b.nii", mask * 0.5, volume.grid, volume.source)
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        write_labels(tmp_path / "folder.nii", mask, volume.grid, overwrite=True)
    with pytest.raises(OSError, match="cannot be written"):
        write_labels(tmp_path / "missing" / "b.nii", mask, volume.grid)


def test_replacing_the_mapped_source_leaves_the_open_volume_alone(tmp_path):
    volume = read_nifti(put(tmp_path / "a.nii", nifti()))
    before = volume.data.copy()
    write_image(
        tmp_path / "a.nii",
        volume.data * 0,
        volume.grid,
        volume.source,
        overwrite=True,
        replace_source=True,
    )
    np.testing.assert_array_equal(volume.data, before)
    assert not read_nifti(tmp_path / "a.nii").data.any()


@pytest.mark.parametrize("failing", ["os.fsync", "os.replace"])
def test_a_failed_save_changes_nothing(tmp_path, monkeypatch, failing):
    volume = read_nifti(put(tmp_path / "a.nii", nifti()))
    old = tmp_path / "b.nii.gz"
    old.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(failing, full)
    with pytest.raises(OSError, match=r"b\.nii\.gz cannot be written: No space left"):
        write_labels(old, volume.data, volume.grid, volume.source, overwrite=True)
    assert old.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii", "b.nii.gz"]


def test_what_reads_back_differently_never_replaces_the_target(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n=-1: b"\0" * n)
    grid = Grid.from_spacing((2, 2, 2), (1, 1, 1))
    with pytest.raises(OSError, match="read back"):
        write_labels(tmp_path / "a.nii.gz", np.ones((2, 2, 2), int), grid)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="links and permissions are those of POSIX")
def test_links_and_permissions(tmp_path):
    real, link = tmp_path / "real.nii", tmp_path / "link.nii"
    real.write_bytes(b"old")
    real.chmod(0o600)
    link.symlink_to(real)
    grid = Grid.from_spacing((2, 2, 2), (1, 1, 1))
    mask = os.umask(0o027)
    try:
        write_labels(link, np.ones((2, 2, 2), int), grid, overwrite=True)
        new = write_labels(tmp_path / "new.nii", np.ones((2, 2, 2), int), grid)
    finally:
        os.umask(mask)
    assert link.is_symlink()
    assert read_nifti(real).data.all()
    assert real.stat().st_mode & 0o777 == 0o600
    assert new.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("old", "new"), [("x.nii", "x.nii.gz"), ("x.nii.gz", "x.nii")])
def test_no_file_is_put_beside_its_twin(tmp_path, old, new):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    grid = Grid.from_spacing((2, 2, 2), (1, 1, 1))
    write_labels(tmp_path / old, np.ones((2, 2, 2), int), grid)
    with pytest.raises(ValueError, match=rf"{old} is in the same folder.*{new}"):
        write_labels(tmp_path / new, np.full((2, 2, 2), 2), grid)
    # the reason: the voxels of x.nii under the name of x.nii.gz
    put(tmp_path / new, nifti(np.full((2, 2, 2), 2, "u1")))
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "x.nii.gz")))
    assert (voxels == (1 if old == "x.nii" else 2)).all()
    write_labels(tmp_path / new, np.full((2, 2, 2), 3), grid, overwrite=True)


def test_saving_sweeps_up_after_those_who_were_killed(tmp_path):
    old, new = tmp_path / ".sam3d-0.tmp", tmp_path / ".sam3d-1.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_labels(tmp_path / "a", np.ones((2, 2, 2), int), Grid.from_spacing((2, 2, 2), (1, 1, 1)))
    assert not old.exists() and new.exists()  # the new one may be somebody's at work
