"""A batch in one process: what is done stays done, and what fails does not stop the rest."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from napari_sam3d._tests.engine.batch import balls
from napari_sam3d.engine.batch.ledger import Ledger
from napari_sam3d.engine.batch.planning import plan
from napari_sam3d.engine.batch.running import CaseDone, CaseFailed, Finished, Started, WorkerLost
from napari_sam3d.engine.batch.running import run as run_plan
from napari_sam3d.io.label_names import read_label_names
from napari_sam3d.settings import InferenceSettings


@pytest.fixture
def images(tmp_path):
    return balls.make(tmp_path / "images", 3)


@pytest.fixture
def masks(tmp_path):
    (tmp_path / "masks").mkdir()
    return tmp_path / "masks"


def run(images, masks, settings=None, **how):
    what = plan([images], masks, None, settings or InferenceSettings())
    return run_plan(what, Ledger(masks), **how)


def told(events):
    """What happens, without the figures."""
    kinds = {CaseDone: "done", CaseFailed: "failed"}
    return [(kinds[type(it)], it.outcome.case) if type(it) in kinds else type(it) for it in events]


def left_over(masks):
    return [path.name for path in (masks / "batch" / "cases").glob("*.attempt*")]


def test_each_case_becomes_a_mask_on_its_voxels_with_names(predictor, images, masks):
    *_, finished = events = list(run(images, masks))
    assert told(events)[1:-1] == [("done", f"x{n}") for n in range(3)]
    assert events[0] == Started(3, 0)
    assert (finished.done, finished.failed) == (3, 0)
    assert [it.name for it in read_label_names(masks / "x1_seg.nii.gz")] == ["ball"]
    (found,) = events[2].outcome.objects
    assert (found.voxels, found.centroid, found.score) == (27, balls.center(1), 0.9)
    labels, affine = balls.stored(masks / "x1_seg.nii.gz")
    assert labels.count(1) == 27 and affine == balls.AFFINE.tobytes()
    assert left_over(masks) == []


def test_what_is_done_is_not_done_again(predictor, images, masks):
    before = list(run(images, masks))
    again = list(run(images, masks))
    assert again[0] == Started(3, 3) and len(predictor.asked) == 3
    assert [it.outcome for it in again[1:-1]] == [it.outcome for it in before[1:-1]]
    assert all(it.known for it in again[1:-1])
    (masks / "x1_seg.nii.gz").unlink()  # its record alone is not enough
    assert next(run(images, masks)) == Started(3, 2)
    balls.click(images / "x2.nii.gz", (5, 12, 7))  # other prompts give another mask
    *_, changed, _ = run(images, masks)
    (found,) = changed.outcome.objects
    assert not changed.known and found.centroid == (5, 12, 7)


def test_a_mask_that_somebody_corrected_is_kept(predictor, images, masks):
    list(run(images, masks))
    mask = masks / "x0_seg.nii.gz"
    mask.write_bytes(b"corrected by hand")
    list(run(images, masks))
    assert mask.read_bytes() == b"corrected by hand"
    balls.click(images / "x0.nii.gz", (5, 12, 7))
    with pytest.raises(FileExistsError, match=r"x0_seg\.nii\.gz is there, and not as this batch"):
        list(run(images, masks))
    assert mask.read_bytes() == b"corrected by hand"


def test_what_is_not_of_this_batch_is_replaced_only_when_asked(predictor, images, masks):
    for number in (0, 2):
        (masks / f"x{number}_seg.nii.gz").write_bytes(b"foreign")
    with pytest.raises(FileExistsError, match="and 1 more are there, and not as this batch"):
        list(run(images, masks))
    assert predictor.asked == []
    events = run(images, masks, overwrite=True)
    with closing(events):
        next(events), next(events)
    assert (masks / "x2_seg.nii.gz").read_bytes() == b"foreign"
    # the permission holds until the batch is complete
    assert told(run(images, masks))[-1] is Finished
    assert len(predictor.asked) == 3
    assert balls.stored(masks / "x2_seg.nii.gz")[0].count(1) == 27


def test_other_settings_are_another_batch(predictor, images, masks):
    list(run(images, masks))
    other = InferenceSettings(threshold=0.7)
    with pytest.raises(ValueError, match="holds a batch with another threshold"):
        list(run(images, masks, other))
    list(run(images, masks, InferenceSettings(device="cpu")))  # only where it runs
    assert len(predictor.asked) == 3
    list(run(images, masks, other, overwrite=True))
    assert len(predictor.asked) == 6


def test_one_batch_at_a_time_writes_into_a_folder(predictor, images, masks):
    first = run(images, masks)
    next(first)
    with pytest.raises(ValueError, match="Another batch is writing into"):
        list(run(images, masks))
    assert told(first)[-1] is Finished


def test_a_case_that_fails_is_told_and_the_others_go_on(predictor, images, masks):
    (images / "x0.nii.gz").write_bytes(b"no image")
    balls.click(images / "x1.nii.gz", (5, 5, 5))
    text = (images / "x1_prompts.json").read_text()
    (images / "x1_prompts.json").write_text(text.replace("[5.0, 5.0, 5.0]", "[5.0, 99.0, 5.0]"))
    events = list(run(images, masks))
    assert told(events)[1:-1] == [("failed", "x0"), ("failed", "x1"), ("done", "x2")]
    assert "x0.nii.gz" in events[1].outcome.error and "outside" in events[2].outcome.error
    assert left_over(masks) == [] and not (masks / "x0_seg.nii.gz").exists()
    balls.make(images, 2)
    assert told(run(images, masks))[1:-1] == [("done", "x2"), ("done", "x0"), ("done", "x1")]


def test_prompts_that_the_model_cannot_use_are_told(predictor, images, masks):
    path = images / "x0_prompts.json"
    path.write_text(path.read_text().replace('"positive"', '"negative"'))
    failed = next(it for it in run(images, masks) if isinstance(it, CaseFailed))
    assert failed.outcome.error.startswith("x0_prompts.json does not say where object 1 is")
    events = run(images, masks, InferenceSettings(model="medsam"), overwrite=True)
    failed = next(it for it in events if isinstance(it, CaseFailed))
    assert failed.outcome.error == "medsam takes a box; it cannot use points."


def test_an_interrupt_leaves_what_is_done_and_no_mark(predictor, images, masks, monkeypatch):
    ask = predictor.predict

    def pressed(volume, prompts):
        if len(predictor.asked) == 1:
            raise KeyboardInterrupt
        return ask(volume, prompts)

    monkeypatch.setattr(predictor, "predict", pressed)
    with pytest.raises(KeyboardInterrupt):
        list(run(images, masks))
    assert left_over(masks) == [] and (masks / "x0_seg.nii.gz").exists()
    monkeypatch.setattr(predictor, "predict", ask)
    assert next(run(images, masks)) == Started(3, 1)


def test_a_case_is_done_once_more_after_a_death_and_not_a_third_time(predictor, images, masks):
    first = run(images, masks)
    next(first), first.close()
    cases = masks / "batch" / "cases"
    (cases / "x0.attempt1").write_text("process 7 on earth")
    for number in (1, 2):
        (cases / f"x1.attempt{number}").write_text(f"process {number} on mars")
    events = list(run(images, masks))
    assert told(events)[1:-1] == [
        WorkerLost,
        ("done", "x0"),
        WorkerLost,
        ("failed", "x1"),
        ("done", "x2"),
    ]
    assert events[1] == WorkerLost("x0", "process 7 on earth")
    assert "died twice (process 1 on mars, then process 2 on mars)" in events[4].outcome.error
    assert len(predictor.asked) == 2 and left_over(masks) == []
    assert told(run(images, masks))[1:-1][-1] == ("done", "x1")  # who starts it again may try


def test_a_mask_whose_record_was_never_written_is_ours(predictor, images, masks):
    list(run(images, masks))
    # what a death between the mask and its record leaves
    (masks / "batch" / "cases" / "x1.json").unlink()
    (masks / "batch" / "cases" / "x1.attempt1").write_text("process 7 on earth")
    assert told(run(images, masks))[3:-1] == [WorkerLost, ("done", "x1")]


def test_a_worker_that_sees_another_folder_says_so(predictor, images, masks, tmp_path):
    from dataclasses import replace

    from napari_sam3d.engine.batch.segmenting import segment_case

    what = plan([images], masks, None, InferenceSettings())
    task = replace(what.tasks[0], batch="abc")
    assert f"does not see the folder {masks}" in segment_case(task).error
    assert not any(masks.iterdir()) and predictor.asked == [] and os.listdir(images)
