"""Every odd file is refused in one good sentence, or read as it should be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import napari_sam3d
from napari_sam3d._tests.io.odd_files import REFUSED
from napari_sam3d._tests.io.odd_images import PLACED, READ
from napari_sam3d._tests.nifti_files import ORIENTATIONS, anatomy, forms, nifti, put, stored_as
from napari_sam3d.io import (
    NiftiError,
    TooLarge,
    is_labels,
    open_nifti,
    open_steps,
    read_nifti,
    write_labels,
)
from napari_sam3d.plugin.layers.convert import layer_data

SHARED = Path(napari_sam3d.__file__).parents[3] / "shared" / "tools" / "make_bad_nifti.py"
EXTRA_BYTES = 48 << 20
"""What reading may take beyond twice the array: a piece of the file as it is inflated."""


@contextmanager
def small_and_quick(nbytes=0):
    """Fail when the block computes longer than a second or allocates much more than `nbytes`."""
    began = time.process_time()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 1
    assert peak < 2 * nbytes + EXTRA_BYTES


def lay(folder, name, odd):
    for beside, content in odd.beside.items():
        (folder / beside).write_bytes(content)
    path = folder / name
    path.write_bytes(odd.content)
    return path


def is_a_good_sentence(text, name):
    return name in text and text.endswith(".") and "\n" not in text and text.count(". ") == 0


def seen(image):
    """Every voxel, and what a layer is made of; both have to be of use."""
    data = np.asarray(image.data)
    layer, meta, kind = layer_data(image)
    assert np.shape(layer) == data.shape
    assert np.isfinite(meta["scale"]).all() and (np.asarray(meta["scale"]) > 0).all()
    assert np.isfinite(meta["translate"]).all()
    assert data.dtype.isnative
    return data, kind


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    path = lay(tmp_path, name, REFUSED[name])
    with small_and_quick(), pytest.raises(NiftiError) as caught:
        open_nifti(path)
    assert REFUSED[name].says in str(caught.value)
    assert is_a_good_sentence(str(caught.value), name.rsplit(".", 2)[0])


@pytest.mark.parametrize("name", READ)
def test_read(tmp_path, name):
    odd = READ[name]
    path = lay(tmp_path, name, odd)
    with small_and_quick(odd.shows.nbytes):
        image = open_nifti(path)
    data, kind = seen(image)
    assert data.dtype == odd.shows.dtype
    np.testing.assert_array_equal(data, odd.shows)
    assert (image.name, image.axes, image.rgb) == (name, odd.axes, odd.rgb)
    assert is_labels(image) is odd.labels
    assert kind == ("labels" if odd.labels else "image")
    said = " ".join(image.source.warnings)
    assert odd.says in said if odd.says else not said


@pytest.mark.parametrize("name", PLACED)
def test_placed(tmp_path, name):
    odd = PLACED[name]
    image = open_nifti(lay(tmp_path, name, odd))
    data, _ = seen(image)
    source = image.source
    assert source.affine_source == odd.affine_source
    np.testing.assert_allclose(
        source.to_ras(source.to_display([0, 0, 0])), odd.first_ras, rtol=1e-6, atol=1e-9
    )
    said = " ".join(source.warnings)
    assert odd.says in said if odd.says else not said
    # onto the same voxels, and read the same way
    saved = write_labels(tmp_path / "labels.nii.gz", data, source.grid, source)
    again = read_nifti(saved)
    np.testing.assert_array_equal(again.data, data)
    assert again.grid == source.grid


def test_one_anatomy_is_displayed_alike_however_it_is_stored(tmp_path):
    for oblique in (False, True):
        images = [
            open_nifti(put(tmp_path / "a.nii.gz", nifti(stored, **forms(affine, "sform"))))
            for stored, affine in (stored_as(*anatomy(oblique), *o) for o in ORIENTATIONS)
        ]
        for image in images[1:]:
            np.testing.assert_array_equal(image.data, images[0].data)


# --- the file system ------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "dangling.nii").symlink_to(tmp_path / "nowhere.nii")
    (tmp_path / "ring.nii").symlink_to(tmp_path / "ring.nii")
    for name, says in {
        "folder.nii.gz": "is a folder",
        "dangling.nii": "does not exist",
        "missing.nii": "does not exist",
        "ring.nii": "ring",
        "n" * 300 + ".nii": "nnn",
        "nul\0l.nii": "nul",
    }.items():
        with pytest.raises(NiftiError, match=says) as caught:
            open_nifti(tmp_path / name)
        assert is_a_good_sentence(str(caught.value), name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(NiftiError, match="not a regular file"):
        open_nifti(tmp_path / "pipe.nii")


@pytest.mark.parametrize(
    "name",
    ["ünïcode 脳 spaces #%?&.nii.gz", "[brackets]*.nii.gz", "n" * 240 + ".nii.gz", "v1.2-b.nii"],
)
def test_any_name_is_read(tmp_path, name):
    if os.name == "nt" and "*" in name:
        pytest.skip("Windows has no such names")
    image = open_nifti(put(tmp_path / name, nifti()))
    assert image.name == name
    assert layer_data(image)[1]["name"] == name.removesuffix(".gz").removesuffix(".nii")


def test_a_growing_file_is_refused_until_it_is_whole(tmp_path):
    path, content = tmp_path / "copied.nii", nifti()
    for length in range(1, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(NiftiError, match=r"copied\.nii") as caught:
            open_nifti(path)
        assert is_a_good_sentence(str(caught.value), "copied.nii")
    path.write_bytes(content)
    assert open_nifti(path).data.shape == (7, 6, 5)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not delete a file that is mapped")
def test_a_mapped_file_may_be_deleted_or_replaced(tmp_path):
    path = put(tmp_path / "a.nii", nifti())
    image = open_nifti(path)
    path.unlink()
    assert image.data.max() == 209
    put(path, nifti())
    image = open_nifti(path)
    (tmp_path / "new.nii").write_bytes(nifti(np.zeros((5, 6, 7), "i2")))
    os.replace(tmp_path / "new.nii", path)
    assert image.data.max() == 209
    assert open_nifti(path).data.max() == 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list handles")
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_giving_up_closes_the_file(tmp_path, steps):
    stored = np.zeros((200, 200, 90), "i2")  # several pieces
    path = put(tmp_path / "a.nii.gz", nifti(stored))
    reading = open_steps(path)
    shares = [next(reading) for _ in range(steps)]
    assert shares == sorted(shares) and all(0 <= share < 1 for share in shares)
    assert opened(path) == bool(steps)
    reading.close()
    assert not opened(path)
    assert os.listdir(tmp_path) == ["a.nii.gz"]
    for share in open_steps(path):
        last = share
    assert last == 1
    assert not opened(path)


def opened(path):
    """Whether this process has the file open."""
    handles = Path("/proc/self/fd").iterdir()
    return any(os.path.realpath(handle) == str(path) for handle in handles)


def test_what_memory_hardly_holds_is_read_on_request(tmp_path, monkeypatch):
    from types import SimpleNamespace

    path = put(tmp_path / "a.nii.gz", nifti())
    free = SimpleNamespace(available=1000)  # the array needs 420
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(TooLarge, match=r"a\.nii\.gz"):
        open_nifti(path)
    assert open_nifti(path, allow_large=True).data.max() == 209
    free.available = 500
    with pytest.raises(TooLarge, match="memory") as caught:
        open_nifti(path, allow_large=True)
    assert not caught.value.readable


# --- the catalogue kept beside the repository -----------------------------------------------


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory):
    if not SHARED.is_file():
        pytest.skip("../shared/tools/make_bad_nifti.py is not there; odd_files.py stands in for it")
    folder = tmp_path_factory.mktemp("catalogue")
    subprocess.run([sys.executable, SHARED, folder], check=True, capture_output=True)
    rows = (folder / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    listed = [row.split("\t") for row in rows]
    if not os.access(folder / "no_permission.nii", os.R_OK):
        return folder, listed
    print("no_permission.nii is left out: this user may read everything")
    return folder, [row for row in listed if row[0] != "no_permission.nii"]


def test_every_row_of_the_catalogue(catalogue):
    folder, rows = catalogue
    assert len(rows) >= 142
    wrong = [found for row in rows if (found := what_is_wrong(folder, *row))]
    assert not wrong, "\n".join(wrong)


def what_is_wrong(folder, name, expect, note):
    """A line about a file that does not behave as its row says, or nothing."""
    try:
        with small_and_quick():
            image = open_nifti(folder / name)
            data, kind = seen(image)
    except NiftiError as error:
        if expect != "error":
            return f"{name} ({note}) is refused: {error}"
        if not is_a_good_sentence(str(error), name.rsplit(".", 2)[0]):
            return f"{name} is refused with the words: {error}"
        return ""
    except Exception as error:
        return f"{name} ({note}): {type(error).__name__}: {error}"
    if expect == "error":
        return f"{name} ({note}) is read"
    if bool(image.source.warnings) != (expect == "load+warn"):
        return f"{name} ({note}): {expect}, and it says {image.source.warnings}"
    if data.shape[-3 - image.rgb :][:3] != image.source.grid.shape:
        return f"{name} has shape {data.shape}, its grid {image.source.grid.shape}"
    is_one = name.startswith(("lab_", "case_seg")) and name not in (
        "lab_float_frac.nii.gz",
        "lab_slope.nii.gz",
    )
    return "" if is_one == (kind == "labels") else f"{name} ({note}) is shown as {kind}"
