import hashlib
import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from napari_sam3d import samples
from napari_sam3d._tests.nifti_files import nifti
from napari_sam3d.phantom import draw_phantom
from napari_sam3d.samples import SAMPLES, Remote, SampleSpec, fetch, load_sample

LOCAL = [name for name, spec in SAMPLES.items() if spec.remote is None]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder and the address under which it is served on this computer."""
    folder = tmp_path / "served"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.mark.parametrize("name", LOCAL)
def test_samples_that_need_no_network(name):
    sample = load_sample(name)
    assert sample.volume.grid.contains(sample.click_voxel)
    assert all(float(c).is_integer() for c in sample.click_voxel)
    if sample.labels is not None:
        assert sample.labels.shape == sample.volume.grid.shape
        assert set(np.unique(sample.labels)) == {0, *sample.label_names}


def test_the_phantom_is_clicked_in_a_lesion_darker_than_its_liver():
    sample = load_sample("phantom")
    label = sample.labels[tuple(int(c) for c in sample.click_voxel)]
    assert sample.label_names[int(label)] == "liver lesion"
    numbers = {name: number for number, name in sample.label_names.items()}
    image, labels = sample.volume.data, sample.labels
    lesion, liver = (image[labels == numbers[n]].mean() for n in ("liver lesion", "liver"))
    assert 30 < liver - lesion < 80
    assert image[labels == numbers["left lung"]].mean() < -600


def test_the_phantom_lies_the_right_way_round():
    image, labels, names = draw_phantom()
    centers = {name: np.argwhere(labels == number).mean(axis=0) for number, name in names.items()}
    assert centers["liver"][2] < centers["spleen"][2]  # liver right, spleen left
    assert centers["heart"][0] < centers["bladder"][0]  # downward is inferior
    assert centers["heart"][1] < centers["spine"][1]  # backward is posterior
    assert image.dtype == np.int16 and labels.dtype == np.uint8


def test_the_phantom_follows_its_seed():
    first, again, other = draw_phantom(1), draw_phantom(1), draw_phantom(2)
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[1] != other[1]).any()


def test_unknown_samples_name_the_known_ones():
    with pytest.raises(ValueError, match="phantom, brain"):
        load_sample("elephant")


def test_every_checksum_has_the_length_of_its_kind():
    lengths = {"sha256": 64, "md5": 32}
    for spec in SAMPLES.values():
        if spec.remote is not None:
            kind, digest = spec.remote.known_hash.split(":")
            assert len(bytes.fromhex(digest)) * 2 == lengths[kind]
            assert spec.remote.url.startswith("https://")


def test_fetch_once_then_from_the_cache(server, tmp_path):
    folder, url = server
    (folder / "a.bin").write_bytes(b"content")
    remote = Remote(url=f"{url}/a.bin", known_hash=sha256(b"content"))
    (path,) = fetch(remote, tmp_path / "cache")
    assert path.read_bytes() == b"content"
    (folder / "a.bin").unlink()
    assert fetch(remote, tmp_path / "cache") == (path,)


def test_fetch_refuses_other_bytes_and_dead_addresses(server, tmp_path):
    folder, url = server
    (folder / "a.bin").write_bytes(b"tampered")
    remote = Remote(url=f"{url}/a.bin", known_hash=sha256(b"content"))
    with pytest.raises(OSError, match=r"a\.bin could not be fetched"):
        fetch(remote, tmp_path / "cache")
    with pytest.raises(OSError, match=r"b\.bin could not be fetched"):
        fetch(Remote(url=f"{url}/b.bin", known_hash=sha256(b"")), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.bin"))


def test_hippocampus_comes_out_of_its_archive(server, tmp_path, monkeypatch):
    folder, url = server
    spec = SAMPLES["hippocampus"]
    labels = np.zeros((5, 6, 7), "u1")
    labels[1:4, 2:5, 2:4], labels[1:4, 2:5, 4:6] = 1, 2
    members = dict(zip(spec.remote.members, (nifti(dtype="f4"), nifti(labels)), strict=True))
    with tarfile.open(folder / "task.tar", "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    remote = Remote(
        url=f"{url}/task.tar",
        known_hash=sha256((folder / "task.tar").read_bytes()),
        members=spec.remote.members,
    )
    sample = load_from(spec, remote, tmp_path, monkeypatch)
    assert sample.volume.data.dtype == np.float32
    assert sample.labels[tuple(int(c) for c in sample.click_voxel)] == 1


def test_nuclei_are_clicked_where_they_are_bright(server, tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    folder, url = server
    stack = np.zeros((60, 2, 256, 256), np.uint16)
    stack[16:24, 1, 64:80, 96:112] = 1000
    tifffile.imwrite(folder / "cells3d.tif", stack, compression="zlib")
    digest = sha256((folder / "cells3d.tif").read_bytes())
    remote = Remote(url=f"{url}/cells3d.tif", known_hash=digest)
    sample = load_from(SAMPLES["nuclei"], remote, tmp_path, monkeypatch)
    assert sample.volume.grid.shape == (60, 256, 256)
    assert sample.click_voxel == (20, 72, 104)
    assert sample.volume.data[20, 72, 104] == 1000


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def load_from(spec, remote, tmp_path, monkeypatch):
    """Load a sample from another address into a folder of the test."""
    monkeypatch.setattr(samples, "fetch", partial(fetch, folder=tmp_path / "cache"))
    return spec.load(
        SampleSpec(
            name=spec.name, title=spec.title, licence=spec.licence, load=spec.load, remote=remote
        )
    )
