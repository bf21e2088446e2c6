"""What was not saved comes back: after a kill, in another viewer, never from a damaged file."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import napari_sam3d
from napari_sam3d._tests.plugin import killed_session
from napari_sam3d._tests.plugin.killed_session import SHAPE, answer_all, fingerprint, new_session
from napari_sam3d.io import read_nifti
from napari_sam3d.plugin.session.objects import Found
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.plugin.unsaved import kept_folder
from napari_sam3d.plugin.unsaved.autosave import Autosave
from napari_sam3d.plugin.unsaved.kept_file import read_kept
from napari_sam3d.prompts import Box, Scribble
from napari_sam3d.settings import InferenceSettings

KILLS = int(os.environ.get("NAPARI_SAM3D_KILLS", "3"))


def keep(session: Session, folder: Path, **settings) -> Autosave:
    it = Autosave(session, lambda: InferenceSettings(**settings), folder, patience_s=60)
    it.save()
    return it


def click(session: Session, *position: int) -> None:
    session.prompt_layer.add(position)
    answer_all(session)


def flush(autosave: Autosave) -> None:
    autosave.save()
    assert autosave._writer.wait(60)


def work_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.work"))


@pytest.fixture
def left(tmp_path) -> Path:
    """Two objects with a history, left without saving."""
    session = new_session()
    autosave = keep(session, tmp_path, threshold=0.25)
    click(session, 20, 36, 40)
    click(session, 20, 36, 44)
    session.undo()
    answer_all(session)
    session.new_object()
    click(session, 35, 60, 70)
    session.objects[2] = replace(session.object, name="liver")
    autosave.save()
    autosave.close()
    return tmp_path


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_kill_loses_at_most_one_operation(tmp_path, kill) -> None:
    log, chance = tmp_path / "log", random.Random(kill)
    path = os.pathsep.join([str(Path(napari_sam3d.__file__).parents[1]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, killed_session.__file__, str(tmp_path / "work"), str(log), str(kill)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
    )
    try:
        enough = chance.randrange(5, 95)
        until = time.monotonic() + 120
        while not log.exists() or log.read_text().count("over") < enough:
            assert process.poll() is None and time.monotonic() < until
    finally:
        process.kill()
        process.communicate()
    lines = log.read_text().split("\n")[:-1]
    states, over = [line for line in lines if line != "over"], lines.count("over")
    assert over < 100  # it was in the middle
    session = new_session()
    autosave = keep(session, tmp_path / "work")
    kept, sentence = autosave.offer()
    assert kept is not None and not sentence
    autosave.resume()
    # the last one that was over or the one before it, or the one that was just being saved
    assert fingerprint(session) in states[over - 2 :]
    assert len(states[over - 2 :]) <= 3
    behind = len(states) - 1 - max(i for i, it in enumerate(states) if it == fingerprint(session))
    print(f"killed after {len(states)} operations; the last {behind} of them did not come back")
    autosave.close()


def test_everything_comes_back(left) -> None:
    session = new_session()
    autosave = keep(session, left)
    kept, sentence = autosave.offer()
    assert kept.title == "ct" and sentence == ""
    assert autosave.resume().settings["threshold"] == 0.25
    assert session.current == 2 and session.title(2) == "liver"
    assert len(session.prompt_layer.layer.data) == 1
    assert session.pending() is None  # no model is asked for what is there
    before = (session.labels.data == 1).sum()
    assert before > 100
    session.select(1)
    session.redo()
    answer_all(session)
    assert (session.labels.data == 1).sum() > before
    session.undo(), session.undo()
    answer_all(session)
    assert set(np.unique(session.labels.data)) == {0, 2}
    autosave.close()


def test_what_was_resumed_is_kept_in_the_same_file_and_not_offered_twice(left) -> None:
    (path,) = work_files(left)
    session = new_session()
    autosave = keep(session, left)
    autosave.resume()
    click(session, 5, 5, 5)
    flush(autosave)
    assert work_files(left) == [path]
    other = keep(new_session(), left)
    assert other.offer() == (None, "")
    with pytest.raises(ValueError, match="no earlier work on ct"):
        other.resume()
    other.close()
    autosave.close()


def test_what_was_declined_is_not_offered_again(left) -> None:
    autosave = keep(new_session(), left)
    autosave.decline()
    assert autosave.offer() == (None, "") and not work_files(left)
    autosave.close()
    again = keep(new_session(), left)
    assert again.offer() == (None, "")
    again.close()


def test_resuming_never_replaces_what_was_begun(left) -> None:
    session = new_session()
    autosave = keep(session, left)
    click(session, 5, 5, 5)
    begun = fingerprint(session)
    with pytest.raises(ValueError, match="Undo what you have begun"):
        autosave.resume()
    assert fingerprint(session) == begun
    session.undo()
    autosave.resume()
    assert session.title(2) == "liver"
    autosave.close()


def test_masks_that_were_saved_and_sessions_without_any_leave_nothing(tmp_path) -> None:
    session = new_session()
    autosave = keep(session, tmp_path)
    flush(autosave)
    assert not work_files(tmp_path)
    click(session, 20, 36, 40)
    flush(autosave)
    assert len(work_files(tmp_path)) == 1
    autosave.forget()
    flush(autosave)
    assert not work_files(tmp_path)
    click(session, 20, 36, 44)
    flush(autosave)
    assert len(work_files(tmp_path)) == 1
    while session.object.prompts.past:
        session.undo()
        answer_all(session)
    flush(autosave)
    autosave.close()
    # redo could still bring them back, but nobody would miss them after a crash
    assert not work_files(tmp_path) and not list(tmp_path.iterdir())


def test_only_what_changed_is_copied_and_nothing_when_nothing_did(tmp_path, monkeypatch) -> None:
    session = new_session()
    autosave = keep(session, tmp_path)
    click(session, 20, 36, 40)
    flush(autosave)
    jobs = []
    monkeypatch.setattr(autosave._writer, "put", jobs.append)
    autosave.save()
    assert not jobs
    session.labels.data_setitem((np.array([39]), np.array([71]), np.array([79])), 5)
    session.labels.paint((0, 0, 0), 3)
    autosave.save()
    (job,) = jobs
    assert set(job.blocks) == {(1, 1, 1), (0, 0, 0)}
    session.labels.undo()
    autosave.look_again()
    assert jobs[1].blocks[0, 0, 0] is None or not (jobs[1].blocks[0, 0, 0] == 3).any()
    autosave.close()


def test_numbers_above_255_and_what_a_model_found_come_back(tmp_path) -> None:
    from napari_sam3d.plugin.session.found import add_found, request_all

    session = new_session()
    autosave = keep(session, tmp_path)
    mask = np.ones((4, 5, 6), bool)
    window = (slice(3, 7), slice(60, 65), slice(60, 66))
    add_found(session, request_all(session), [Found("ma", "spleen", mask, window)])
    autosave.save()
    session.select(1000)
    click(session, 20, 36, 40)
    autosave.save()
    autosave.close()
    labels = session.labels.data.copy()
    session = new_session()
    autosave = keep(session, tmp_path)
    autosave.resume()
    np.testing.assert_array_equal(session.labels.data, labels)
    assert session.current == 1000 and session.labels.data.max() == 1000
    session.select(min(session.objects))
    session.undo()
    assert session.labels.data[window].max() == 0
    session.redo()
    assert session.title(session.current) == "spleen"
    np.testing.assert_array_equal(session.labels.data, labels)
    autosave.close()


def test_what_was_erased_by_hand_stays_erased_when_resumed(tmp_path) -> None:
    session = new_session()
    autosave = keep(session, tmp_path)
    click(session, 20, 36, 40)
    labels = session.labels
    labels.brush_size = 4
    labels.paint((20, 36, 40), 0)
    erased = (labels.data[20] == 0) & (np.hypot(*np.ogrid[-36:36, -40:40]) < 2)
    assert erased.sum() > 4
    session.redo()
    autosave.save()
    autosave.close()
    session = new_session()
    autosave = keep(session, tmp_path)
    autosave.resume()
    np.testing.assert_array_equal(session.labels.data, labels.data)
    click(session, 20, 36, 42)
    assert not session.labels.data[20][erased].any()
    assert session.labels.data[20, 36, 44] == 1
    autosave.close()


def test_boxes_scribbles_and_what_they_start_from_come_back_with_their_history(tmp_path) -> None:
    session = new_session()
    autosave = keep(session, tmp_path)
    start = np.zeros(SHAPE, np.uint8)
    start[10:20, 30:40, 30:50] = 1
    session.start_from(session._viewer.add_labels(start, name="seg"), 1)
    session.set_box(Box((5.0, 10.0, 10.0), (8.0, 20.0, 20.0)))
    answer_all(session)
    session.add_scribble(Scribble(((20.0, 36.0, 40.0), (20.0, 36.0, 52.0)), positive=False))
    answer_all(session)
    session.start_from(session.labels, 1)
    session.undo()
    states = [fingerprint(session)]
    autosave.save()
    autosave.close()
    while session.object.prompts.past:
        session.undo()
        answer_all(session)
        states.append(fingerprint(session))
    assert len(set(states)) == 4
    session = new_session()
    autosave = keep(session, tmp_path)
    autosave.resume()
    assert session.pending() is None and session.title(1) == "seg 1"
    for state in states:
        assert fingerprint(session) == state
        session.undo()
        answer_all(session)
    for state in states[-2::-1]:
        session.redo()
        answer_all(session)
        assert fingerprint(session) == state
    session.redo()
    before = session.object.prompts.undo()
    assert session.object.prompts.start is not before.start and not session.object.prompts.parts
    autosave.close()


def test_a_dock_opened_again_goes_on_in_the_same_file(tmp_path) -> None:
    session = new_session()
    autosave = keep(session, tmp_path)
    click(session, 20, 36, 40)
    autosave.save()
    autosave.close()
    image, viewer = session.image, session._viewer
    session.close()
    (path,) = work_files(tmp_path)
    again = Session(viewer)
    again.set_image(image)
    autosave = keep(again, tmp_path)
    assert autosave.offer() == (None, "")
    click(again, 20, 36, 44)
    flush(autosave)
    assert work_files(tmp_path) == [path]
    assert len(read_kept(path).objects[1].prompts.points) == 2
    autosave.close()


def test_another_image_is_another_file(tmp_path) -> None:
    session = new_session()
    autosave = keep(session, tmp_path)
    click(session, 20, 36, 40)
    autosave.save()
    session.set_image(session._viewer.add_image(np.zeros(SHAPE), name="pet"))
    flush(autosave)
    assert autosave.offer() == (None, "")
    click(session, 20, 36, 40)
    flush(autosave)
    assert sorted(read_kept(p).title for p in work_files(tmp_path)) == ["ct", "pet"]
    autosave.close()


def test_images_are_told_apart_by_file_and_header(tmp_path) -> None:
    def key(name: str, spacing: float) -> str:
        image = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), np.diag([spacing, 1, 1, 1]))
        nib.save(image, tmp_path / name)
        return kept_folder.key_of(read_nifti(tmp_path / name), "ct")

    keys = [key("a.nii", 1), key("b.nii", 1), key("a.nii", 2), key("a.nii", 1)]
    assert len(set(keys)) == 3 and keys[0] == keys[3]


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "outside", "bit", "version"])
def test_a_damaged_file_is_one_sentence_once(left, damage) -> None:
    (path,) = work_files(left)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    tile = next(name for name in members if name.startswith("tiles/"))
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "bit":
        at = content.index(members[tile])
        path.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    else:
        if damage == "foreign":
            members = {"state.json": b'{"format": "other"}'}
        elif damage == "outside":
            members["tiles/9_0_0"] = members[tile]
        else:
            state = members["state.json"]
            members["state.json"] = state.replace(b'"version": 1', b'"version": 2')
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in members.items():
                archive.writestr(name, value)
    session = new_session()
    untouched = fingerprint(session)
    autosave = keep(session, left)
    kept, sentence = autosave.offer()
    if kept is not None:  # the damage is in the masks, which are read when they are wanted
        with pytest.raises(ValueError, match="is damaged, or holds no work"):
            autosave.resume()
        assert not work_files(left)
    else:
        assert sentence.startswith("Earlier work on this image cannot be resumed: ")
    assert autosave.offer() == (None, "")
    assert fingerprint(session) == untouched
    autosave.close()


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    session = new_session()
    autosave = keep(session, tmp_path / "taken")
    said = []
    autosave.failed.connect(said.append)
    for x in (40, 44, 48):
        click(session, 20, 36, x)
        flush(autosave)
        autosave._complain()
    assert len(said) == 1 and said[0].startswith("Unsaved work is not kept: ")
    autosave.close()


def test_old_and_too_many_files_go(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kept_folder, "_MOST_BYTES", 250)
    for age_days, name in enumerate(["a.work", "b.declined", "c.work", "d.txt"]):
        (tmp_path / name).write_bytes(bytes(100))
        then = time.time() - age_days * 86400
        os.utime(tmp_path / name, (then, then))
    (tmp_path / "old.work").write_bytes(b"x")
    os.utime(tmp_path / "old.work", (0, 0))
    kept_folder.sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.work", "b.declined", "d.txt"]


def test_what_another_process_is_at_is_not_offered(left) -> None:
    (path,) = work_files(left)
    key = path.name.split("-")[0]
    mine = kept_folder.this_process()
    assert not kept_folder._is_at_work(mine)
    assert kept_folder.left_work(left, key)[0] == path
    import psutil

    parent = psutil.Process(os.getppid())
    other = {**mine, "pid": parent.pid, "since": parent.create_time()}
    assert kept_folder._is_at_work(other)
    assert not kept_folder._is_at_work({**other, "since": other["since"] - 60})
    assert not kept_folder._is_at_work({"pid": "many"})
