"""What a save may never do to the file it replaces, whatever happens to it meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from napari_sam3d._tests.nifti_files import nifti, numbers, put
from napari_sam3d.io import read_nifti, write_image, write_labels
from napari_sam3d.plugin.layers.convert import layer_data
from napari_sam3d.volume import Grid

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="signals, links and file modes are those of POSIX"
)

SMALL = Grid.from_spacing((2, 3, 4), (1, 1, 1))
BIG = Grid.from_spacing((128, 256, 256), (1, 1, 1))
OLD = b"the old file, whole\n" * 1000
NAMES = ["mask.nii", "mask.nii.gz"]


def noise(seed=0):
    """Labels that take a moment to pack."""
    return np.random.default_rng(seed).integers(0, 256, BIG.shape, np.uint8)


def start(function, *arguments):
    """Run a function of this module in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    return process


def finish(process):
    process.join(120)
    return process.exitcode


def others(path):
    """Files beside `path`."""
    return [p for p in path.parent.iterdir() if p != path]


# --- killed ---------------------------------------------------------------------------------


def save_and_stop(path, point, pipe):
    """Save; at `point` tell the test so and wait for the end."""
    fsync, replace, read = os.fsync, os.replace, gzip.GzipFile.read

    def at(here):
        if here == point:
            pipe.send(point)
            pipe.recv()

    def synced(file):
        fsync(file)
        at("synced")

    def compared(self, count=-1):
        piece = read(self, count)
        at("comparing")
        return piece

    def replaced(source, target):
        at("ready")
        replace(source, target)
        at("replaced")

    os.fsync, os.replace, gzip.GzipFile.read = synced, replaced, compared
    write_labels(path, noise(), BIG, overwrite=True)


@pytest.mark.parametrize(
    ("name", "point"),
    [
        *[("mask.nii", point) for point in ("synced", "ready", "replaced")],
        *[("mask.nii.gz", p) for p in ("writing", "comparing", "synced", "ready", "replaced")],
    ],
)
def test_a_killed_save_leaves_the_old_file(tmp_path, name, point):
    path = tmp_path / name
    path.write_bytes(OLD)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = start(save_and_stop, path, point, theirs)
    if point == "writing":
        while not any(p.stat().st_size > 1 << 16 for p in others(path)):
            assert process.exitcode is None
    else:
        assert ours.poll(120)
    process.kill()
    assert finish(process) == -signal.SIGKILL
    if point == "replaced":
        np.testing.assert_array_equal(read_nifti(path).data, noise())
    else:
        assert path.read_bytes() == OLD
        assert others(path)  # it was caught in the act: what it wrote has another name


def save_and_die_at_many_moments(path, pipe):
    """Fork savers that die a little later each; send what they left, "old" or "new" or else."""
    labels = noise()[:48]
    grid = Grid.from_spacing(labels.shape, (1, 1, 1))
    began = time.perf_counter()
    write_labels(path, labels, grid, overwrite=True)
    whole, new = time.perf_counter() - began, path.read_bytes()
    found = []
    for moment in np.linspace(0.02, 1.3, 14):
        path.write_bytes(OLD)
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, moment * whole)
            write_labels(path, labels, grid, overwrite=True)
            os._exit(0)
        os.waitpid(child, 0)
        found.append({OLD: "old", new: "new"}.get(path.read_bytes(), "neither"))
    pipe.send(found)


def test_at_no_moment_is_the_file_half_old_and_half_new(tmp_path):
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = start(save_and_die_at_many_moments, tmp_path / "mask.nii.gz", theirs)
    assert ours.poll(120)
    found = ours.recv()
    assert finish(process) == 0
    assert set(found) <= {"old", "new"}
    assert found[0] == "old"


# --- the disk -------------------------------------------------------------------------------


def save_on_a_full_disk(path, pipe):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        write_labels(path, noise(), BIG, overwrite=True)
    except OSError as error:
        pipe.send(str(error))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, name, existing):
    path = tmp_path / name
    if existing:
        path.write_bytes(OLD)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = start(save_on_a_full_disk, path, theirs)
    assert ours.poll(120)
    sentence = ours.recv()
    assert finish(process) == 0
    assert name in sentence and "cannot be written" in sentence and "\n" not in sentence
    assert path.read_bytes() == OLD if existing else not path.exists()
    assert not others(path)


def save_where_one_may_not(pipe):
    """As nobody in a folder of mode 0555: root may write everywhere."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "mask.nii.gz"
    path.write_bytes(OLD)
    path.chmod(0o666)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        write_labels(path, np.ones(SMALL.shape, int), SMALL, overwrite=True)
    except OSError as error:
        pipe.send((str(error), path.read_bytes() == OLD, others(path)))
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written(tmp_path):
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = start(save_where_one_may_not, theirs)
    assert ours.poll(120)
    sentence, same, beside = ours.recv()
    assert finish(process) == 0
    assert "mask.nii.gz cannot be written" in sentence and sentence.endswith(".")
    assert same and not beside


@pytest.mark.parametrize("mode", [0o444, 0o400])
def test_a_read_only_file_is_refused_even_for_root(tmp_path, mode):
    path = put(tmp_path / "mask.nii", OLD)
    path.chmod(mode)
    with pytest.raises(OSError, match=r"mask\.nii.*read-only") as caught:
        write_labels(path, np.ones(SMALL.shape, int), SMALL, overwrite=True)
    assert str(caught.value).endswith(".")
    assert path.read_bytes() == OLD
    assert path.stat().st_mode & 0o777 == mode
    assert not others(path)


def test_a_read_only_file_behind_a_link_is_refused(tmp_path):
    path, link = put(tmp_path / "mask.nii", OLD), tmp_path / "link.nii"
    path.chmod(0o444)
    link.symlink_to(path)
    with pytest.raises(OSError, match="read-only"):
        write_labels(link, np.ones(SMALL.shape, int), SMALL, overwrite=True)
    assert link.is_symlink() and path.read_bytes() == OLD


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    path = put(tmp_path / "mask.nii", OLD)
    path.chmod(mode)
    write_labels(path, np.ones(SMALL.shape, int), SMALL, overwrite=True)
    assert read_nifti(path).data.all()
    assert path.stat().st_mode & 0o777 == mode


def test_a_folder_that_is_gone_or_goes_meanwhile(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    path = folder / "mask.nii"
    with pytest.raises(OSError, match=r"mask\.nii cannot be written: .*\."):
        write_labels(path, np.ones(SMALL.shape, int), SMALL)
    folder.mkdir()
    monkeypatch.setattr("os.fsync", lambda _: shutil.rmtree(folder))
    with pytest.raises(OSError, match=r"mask\.nii cannot be written: .*\."):
        write_labels(path, np.ones(SMALL.shape, int), SMALL)
    assert not list(tmp_path.iterdir())


# --- links, names, the open file ------------------------------------------------------------


def test_links_stay_links(tmp_path):
    (tmp_path / "far").mkdir()
    real, link, chain = tmp_path / "far" / "real.nii", tmp_path / "link.nii", tmp_path / "chain.nii"
    real.write_bytes(OLD)
    link.symlink_to(Path("far") / "real.nii")
    chain.symlink_to(link)
    write_labels(chain, np.ones(SMALL.shape, int), SMALL, overwrite=True)
    assert link.is_symlink() and chain.is_symlink() and not real.is_symlink()
    assert read_nifti(real).data.all()
    assert not others(real)


def test_a_dangling_link_gets_what_it_points_at(tmp_path):
    link = tmp_path / "link.nii"
    link.symlink_to(tmp_path / "new.nii")
    write_labels(link, np.ones(SMALL.shape, int), SMALL)
    assert link.is_symlink()
    assert read_nifti(tmp_path / "new.nii").data.all()
    lost = tmp_path / "lost.nii"
    lost.symlink_to(tmp_path / "nowhere" / "new.nii")
    with pytest.raises(OSError, match="cannot be written"):
        write_labels(lost, np.ones(SMALL.shape, int), SMALL)
    assert lost.is_symlink()


@pytest.mark.parametrize(
    "name",
    [
        *["n" * 240 + ".nii.gz", "n" * 248 + ".nii.gz", "ö" * 124 + ".nii.gz"],
        *["ünïcode 脳 spaces #%?&.nii.gz", "[brackets]*.nii.gz", "file:%2e%2e.nii", " .nii"],
        *["UPPER.NII.GZ", "dots.v1.2-final.nii.gz", "-rf.nii", "'quotes\".nii", "line\nfeed.nii"],
    ],
)
def test_any_name_can_be_saved_and_replaced(tmp_path, name):
    path = tmp_path / name
    for value in (1, 2):
        assert write_labels(path, np.full(SMALL.shape, value), SMALL, overwrite=True) == path
        assert (read_nifti(path).data == value).all()
    assert not others(path)


def test_a_name_that_is_too_long_is_said_so(tmp_path):
    with pytest.raises(OSError, match="cannot be written: File name too long"):
        write_labels(tmp_path / ("n" * 255), np.ones(SMALL.shape, int), SMALL)
    assert not list(tmp_path.iterdir())


def test_the_open_image_is_refused_under_all_its_names(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    path = put(tmp_path / "image.nii", content := nifti())
    link = tmp_path / "folder" / "link.nii"
    link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for opened in (path, link, "image.nii", "folder/../image.nii"):
        volume = read_nifti(opened)
        for target in (path, link, "image.nii", "folder/../image.nii"):
            with pytest.raises(ValueError, match=r"image\.nii"):
                write_labels(target, volume.data, volume.grid, volume.source, overwrite=True)
    assert path.read_bytes() == content


def replace_what_is_mapped(path, pipe):
    volume = read_nifti(path)
    data, *_ = layer_data(volume)
    before = np.array(data)
    write_image(path, before * 0, volume.grid, volume.source, overwrite=True, replace_source=True)
    pipe.send(bool((data == before).all() and (volume.data == before).all()))
    pipe.send(not read_nifti(path).data.any())


def test_an_open_layer_survives_the_replacement_of_its_file(tmp_path):
    data = numbers((64, 64, 64), "i4")
    path = put(tmp_path / "image.nii", nifti(data))
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = start(replace_what_is_mapped, path, theirs)  # a bus error would end the process
    assert finish(process) == 0
    assert ours.recv() and ours.recv()


# --- together -------------------------------------------------------------------------------


def save_many_times(path, value, pipe):
    pipe.send("ready")
    pipe.recv()
    labels = np.full((64, 64, 64), value)
    for _ in range(20):
        write_labels(path, labels, Grid.from_spacing(labels.shape, (1, 1, 1)), overwrite=True)


def test_two_who_save_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "mask.nii.gz"
    pipes = [multiprocessing.get_context("spawn").Pipe() for _ in range(2)]
    with contextlib.ExitStack() as ending:
        processes = [
            start(save_many_times, path, value, theirs)
            for value, (_, theirs) in enumerate(pipes, start=1)
        ]
        for process in processes:
            ending.callback(process.kill)
        for ours, _ in pipes:
            assert ours.poll(120)
        for ours, _ in pipes:
            ours.send("go")
        reads = 0
        while any(process.exitcode is None for process in processes):
            if path.exists():
                assert np.unique(read_nifti(path).data).tolist() in ([1], [2])
                reads += 1
    assert [process.exitcode for process in processes] == [0, 0]
    assert reads
    assert not others(path)
