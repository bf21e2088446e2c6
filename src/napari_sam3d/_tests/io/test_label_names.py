"""Names of labels: the file beside the mask, and ITK-SNAP's text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam3d.io import label_names
from napari_sam3d.io.label_names import (
    LabelName,
    count_labels,
    itksnap_left_out,
    label_volumes,
    read_label_names,
    sidecar_path,
    write_itksnap,
    write_label_names,
)
from napari_sam3d.volume import Grid

LIVER = LabelName(1, "Leber, links „groß“", (1.0, 0.5019607843137255, 0.0, 1.0), 12.25)
colors = st.tuples(*[st.integers(0, 255).map(lambda n: n / 255)] * 4)
names = st.builds(
    LabelName,
    id=st.integers(-(2**63), 2**63 - 1),
    name=st.text(),
    color=st.none() | colors,
    volume_ml=st.none() | st.floats(0, 1e9),
)


@pytest.mark.parametrize(
    ("mask", "sidecar"),
    [
        ("a/x.nii.gz", "a/x.labels.json"),
        ("x.nii", "x.labels.json"),
        ("X.v2.NII.GZ", "X.v2.labels.json"),
        ("x.gz", "x.gz.labels.json"),
    ],
)
def test_the_sidecar_has_the_name_of_the_mask(mask, sidecar):
    assert sidecar_path(mask).as_posix() == sidecar


@given(st.lists(names, unique_by=lambda it: it.id))
def test_names_come_back_as_they_were(tmp_path_factory, written):
    mask = tmp_path_factory.mktemp("names") / "x.nii.gz"
    path = write_label_names(mask, written)
    assert path.name == "x.labels.json"
    assert read_label_names(mask) == tuple(sorted(written, key=lambda it: it.id))


def test_the_file_is_what_the_documentation_says(tmp_path):
    path = write_label_names(tmp_path / "x.nii", [LIVER, LabelName(300)])
    assert json.loads(path.read_text("utf-8")) == {
        "format": "napari-sam3d labels",
        "version": 1,
        "labels": [
            {"id": 1, "name": LIVER.name, "color": "#ff8000ff", "volume_ml": 12.25},
            {"id": 300, "name": "", "color": None, "volume_ml": None},
        ],
    }
    write_label_names(tmp_path / "x.nii", [LIVER])  # over our own file
    assert read_label_names(tmp_path / "x.nii") == (LIVER,)
    assert [p.name for p in tmp_path.iterdir()] == ["x.labels.json"]


def test_no_file_is_no_names(tmp_path):
    assert read_label_names(tmp_path / "x.nii.gz") == ()


def test_what_is_missing_or_unknown_does_not_matter(tmp_path):
    text = '{"format": "napari-sam3d labels", "version": 1, "x": 0, "labels": [{"id": 5, "y": 1}]}'
    (tmp_path / "x.labels.json").write_text(text)
    assert read_label_names(tmp_path / "x.nii") == (LabelName(5),)


def sidecar(version=1, **row) -> bytes:
    return json.dumps(
        {"format": "napari-sam3d labels", "version": version, "labels": [row]}
    ).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged or not JSON"),
        (b"{", "damaged or not JSON"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"[" * 100_000, "damaged or not JSON"),
        (b"9" * 10_000, "damaged or not JSON"),
        (b"[1, 2]", "does not hold napari-sam3d labels"),
        (b'{"format": "coco"}', "does not hold napari-sam3d labels"),
        (b'{"format": "napari-sam3d labels"}', "version is None"),
        (sidecar(2, id=1), "newer napari-sam3d"),
        (b'{"format": "napari-sam3d labels", "version": 1, "labels": {}}', "no list of labels"),
        (sidecar(name="a"), "has no number"),
        (sidecar(id=True), "has no number"),
        (sidecar(id=2**64), "has no number"),
        (sidecar(id=1, name=5), "name of label 1 is no text"),
        (sidecar(id=1, color="red"), "not like #d02040ff"),
        (sidecar(id=1, volume_ml=-1), "no millilitres"),
        (sidecar(id=1, volume_ml=float("nan")), "damaged or not JSON"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_sentence_and_never_replaced(tmp_path, content, words):
    path = tmp_path / "x.labels.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^x\.labels\.json .*{words}") as raised:
        read_label_names(tmp_path / "x.nii.gz")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250
    if b'"version": 1' not in content or words.startswith("damaged"):
        with pytest.raises(ValueError, match="left as it is"):
            write_label_names(tmp_path / "x.nii.gz", [LIVER])
        assert path.read_bytes() == content


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    write_label_names(tmp_path / "x.nii", [LIVER])
    monkeypatch.setattr("napari_sam3d.io.json_file._LARGEST", 10)
    with pytest.raises(ValueError, match="too large"):
        read_label_names(tmp_path / "x.nii")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_label_names(tmp_path / "x.nii", [LIVER])

    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left on device; nothing was changed"):
        write_label_names(tmp_path / "x.nii", [LabelName(7)])
    assert read_label_names(tmp_path / "x.nii") == (LIVER,)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OSError, match="cannot be written"):
        write_label_names(tmp_path / "none" / "x.nii", [LIVER])


@pytest.mark.parametrize("dtype", ["bool", "u1", "u2", "i2", "i4", "u8", "i8"])
def test_volumes_are_counted_voxels(dtype):
    labels = np.zeros((3, 4, 5), dtype)
    labels[0, 0, 0] = 1
    labels[1:, 1:, 1:] = np.iinfo(dtype).max if dtype != "bool" else 1
    large = int(labels.max())
    grid = Grid.from_spacing((3, 4, 5), (2, 1, 0.5))
    expected = {1: 1, large: 24} if dtype != "bool" else {1: 25}
    assert count_labels(labels) == expected
    assert label_volumes(labels, grid) == pytest.approx({k: n / 1000 for k, n in expected.items()})


@given(st.lists(st.integers(-5, 5) | st.sampled_from([70_000, -(2**40), 2**62]), max_size=30))
def test_counts_are_those_of_a_loop(values):
    expected = {label: values.count(label) for label in sorted({*values} - {0})}
    assert count_labels(np.array(values, np.int64)) == expected
    assert count_labels(np.array([[[values, values]]], np.int64)) == {
        label: 2 * n for label, n in expected.items()
    }


def test_large_ids_take_no_large_table(monkeypatch):
    monkeypatch.setattr(label_names.np, "bincount", None)
    assert count_labels(np.array([[0, 2**40, 2**40]])) == {2**40: 2}


def parse_like_itksnap(text: str) -> dict[int, tuple]:
    """As ITK-SNAP's ColorLabelTable reads it: numbers, then what is between the first quotes."""
    found = {}
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            numbers, name, _ = line.split('"')
            label, red, green, blue, alpha, visible, mesh = numbers.split()
            assert name, "an empty name is a syntax error there"
            rgb = int(red), int(green), int(blue)
            assert label not in found and max(rgb) <= 255 and 0 <= float(alpha) <= 1
            found[int(label)] = (*rgb, float(alpha), int(visible), int(mesh), name)
    return found


def test_itksnap_reads_the_names(tmp_path):
    rows = [LabelName(300, 'a "b"\nc'), LIVER, LabelName(65534), LabelName(65535), LabelName(-1)]
    path = write_itksnap(tmp_path / "x", rows)
    assert path.name == "x.txt"
    text = path.read_text("utf-8")
    assert "\n# ITK-SnAP Label Description File\n" in text
    found = parse_like_itksnap(text)
    assert found[0] == (0, 0, 0, 0, 0, 0, "Clear Label")
    assert found[1] == (255, 128, 0, 1, 1, 1, LIVER.name)
    assert found[300][-1] == "a 'b' c" and found[65534][-1] == "Label 65534"
    assert list(found) == [0, 1, 300, 65534]
    assert itksnap_left_out(rows) == (-1, 65535)
    with pytest.raises(FileExistsError):
        write_itksnap(path, rows)
    assert write_itksnap(path, [LIVER], overwrite=True) == path
    assert list(parse_like_itksnap(path.read_text("utf-8"))) == [0, 1]
