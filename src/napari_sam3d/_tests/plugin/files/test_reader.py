"""The reader as napari asks it: which files are ours, and what the user hears of them."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_sam3d._tests.nifti_files import AFFINE, header, nifti, numbers, put
from napari_sam3d.io import NiftiError, TooLarge
from napari_sam3d.plugin.files import background
from napari_sam3d.plugin.files.reader import NO_LAYER, get_reader, read

TILTED = AFFINE.copy()
TILTED[:2, :2] = [[1.95, 0.33], [-0.44, 1.46]]


def put_pair(folder, name="a", shout=False):
    """A .hdr and a .img file."""
    ends = (".HDR", ".IMG") if shout else (".hdr", ".img")
    paths = [folder / f"{name}{end}" for end in ends]
    put(paths[0], header(magic=b"ni1\0", vox_offset=0.0))
    put(paths[1], numbers().tobytes(order="F"))
    return [str(path) for path in paths]


@pytest.fixture
def shown(monkeypatch):
    """What is shown to the user, by kind."""
    said: dict[str, list[str]] = {"error": [], "warning": [], "info": []}
    for kind, sentences in said.items():
        monkeypatch.setattr(f"napari_sam3d.plugin.files.reader.show_{kind}", sentences.append)
    return said


def test_names_are_enough_for_nii():
    assert get_reader("a/b.NII.gz") is read
    assert get_reader(["a.nii", "b.nii.gz"]) is read
    assert get_reader("a.gz") is None
    assert get_reader(["a.nii", "b.tif"]) is None
    assert get_reader([]) is None


@pytest.mark.parametrize("shout", [False, True])
def test_either_half_of_a_pair_is_the_image(tmp_path, shout):
    for half in put_pair(tmp_path, shout=shout):
        assert get_reader(half) is read
        ((data, meta, kind),) = read(half)
        assert (meta["name"], kind) == ("a", "image")
        np.testing.assert_array_equal(np.sort(np.ravel(data)), np.ravel(numbers(), "F"))


def test_both_halves_are_one_layer(tmp_path):
    halves = put_pair(tmp_path)
    other = str(put(tmp_path / "b.nii", nifti()))
    assert [meta["name"] for _, meta, _ in read([*halves, other])] == ["a", "b"]
    assert [meta["name"] for _, meta, _ in read([other, *reversed(halves)])] == ["b", "a"]
    assert len(read([other, other])) == 2  # the same file twice is the user's wish


def test_foreign_hdr_and_img_are_left_alone(tmp_path):
    (tmp_path / "envi.hdr").write_text("ENVI\ndescription = {a satellite image}\n")
    (tmp_path / "envi.img").write_bytes(bytes(1000))
    (tmp_path / "disk.img").write_bytes(b"EHFA_HEADER_TAG\0")
    (tmp_path / "empty.hdr").touch()
    for name in ("envi.hdr", "envi.img", "disk.img", "empty.hdr", "missing.hdr"):
        assert get_reader(str(tmp_path / name)) is None
    assert get_reader([*put_pair(tmp_path), str(tmp_path / "envi.hdr")]) is None


def test_analyze_files_are_ours(tmp_path):
    put(tmp_path / "old.hdr", header(magic=bytes(4), vox_offset=0.0))
    put(tmp_path / "old.img", numbers().tobytes(order="F"))
    assert get_reader(str(tmp_path / "old.hdr")) is read
    assert get_reader(str(tmp_path / "old.img")) is read


def test_a_bad_file_is_one_sentence_for_a_script(tmp_path, shown):
    (tmp_path / "bad.nii").write_bytes(b"nothing")
    with pytest.raises(NiftiError, match=r"^bad\.nii is not a NIfTI file"):
        read(str(tmp_path / "bad.nii"))
    assert not shown["error"]


def test_what_needs_too_much_memory_says_which_command_asks(tmp_path, monkeypatch):
    path = put(tmp_path / "a.nii.gz", nifti())
    monkeypatch.setattr("napari_sam3d.io.checks._LARGE", 0)
    with pytest.raises(TooLarge, match=r"needs .* GB .* Open NIfTI\.\.\. does that\.$"):
        read(str(path))


def test_labels_that_memory_does_not_hold_are_a_sentence(tmp_path, monkeypatch):
    def copy(*args):
        raise MemoryError

    monkeypatch.setattr("napari_sam3d.plugin.files.reader.layer_data", copy)
    with pytest.raises(NiftiError, match=r"^a_seg\.nii does not fit into memory"):
        read(str(put(tmp_path / "a_seg.nii", nifti())))


def test_a_cancelled_file_is_no_layer_and_no_error(tmp_path, monkeypatch):
    def give_up(*args, **kwargs):
        raise background.Cancelled

    monkeypatch.setattr("napari_sam3d.plugin.files.reader.background.run", give_up)
    assert read(str(put(tmp_path / "a.nii", nifti()))) == NO_LAYER


def test_warnings_and_tilt_are_shown(tmp_path, shown):
    read(str(put(tmp_path / "a.nii", nifti(numbers(), codes=(0, 0)))))
    assert "left and right are unknown" in shown["warning"][0]
    read(str(put(tmp_path / "b.nii", nifti(sform=TILTED))))
    assert len(shown["info"]) == 1 and "tilt of 12.7 degrees" in shown["info"][0]


def test_images_that_do_not_overlay_are_one_warning(tmp_path, shown, real_viewer, npe2pm, manifest):
    npe2pm.register(manifest)
    viewer = real_viewer()
    straight = [str(put(tmp_path / f"{n}.nii", nifti())) for n in "ab"]
    turned = str(put(tmp_path / "turned.nii", nifti(sform=TILTED)))
    viewer.open(straight, plugin="napari-sam3d")
    assert shown["warning"] == []
    viewer.open(turned, plugin="napari-sam3d")
    assert len(shown["warning"]) == 1
    assert shown["warning"][0].startswith("turned.nii and a are tilted differently")


def test_the_second_half_of_an_open_pair_is_no_second_layer(
    tmp_path, shown, real_viewer, npe2pm, manifest
):
    npe2pm.register(manifest)
    viewer = real_viewer()
    halves = put_pair(tmp_path)
    assert len(viewer.open(halves, plugin="napari-sam3d")) == 1
    assert shown["info"] == ["a.img belongs to a.hdr, which is open already."]
    assert len(viewer.open(halves[0], plugin="napari-sam3d")) == 1  # again, on purpose
    viewer.layers.clear()
    assert len(viewer.open(halves[1], plugin="napari-sam3d")) == 1
    assert [r.message for r in notification_manager.records if "Error" in type(r).__name__] == []
