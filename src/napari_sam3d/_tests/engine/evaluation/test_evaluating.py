"""From labelled volumes to scores, by a predictor that knows the answer and one that does not."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.evaluation.evaluating import Looking, Scored, evaluate
from napari_sam3d.engine.evaluation.results_folder import ResultsFolder
from napari_sam3d.engine.evaluation.summary import summarise
from napari_sam3d.engine.prediction import Prediction
from napari_sam3d.io import read_nifti, write_image, write_labels
from napari_sam3d.io.datasets import find_cases
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import EvaluationSettings
from napari_sam3d.volume import Grid, Volume

ALL = ("cvpr25", "sam-med3d", "3dsam-adapter", "ma-sam")
SHAPE = (12, 20, 24)


def labels() -> np.ndarray:
    out = np.zeros(SHAPE, np.uint8)
    out[2:7, 3:9, 4:12] = 1
    out[6:11, 12:18, 14:22] = 3
    return out


@dataclass
class Knowing:
    """Answers with the label under the last positive click, or under the middle of the box."""

    truth: np.ndarray
    grid: Grid
    empty: bool = False
    asked: int = 0

    spec = replace(model_spec("compact"))
    device = torch.device("cpu")

    def predict(self, volume: Volume, prompts: Prompts, previous=None) -> Prediction:
        self.asked += 1
        at = [p.position_voxel for p in prompts.points if p.positive] or [prompts.box.middle()]
        there = np.rint(self.grid.to_voxel(volume.grid.to_world(np.array(at[0])))).astype(int)
        label = self.truth[tuple(np.clip(there, 0, np.array(self.truth.shape) - 1))]
        every = np.stack(np.meshgrid(*map(np.arange, volume.grid.shape), indexing="ij"), -1)
        at_voxel = np.rint(self.grid.to_voxel(volume.grid.to_world(every))).astype(int)
        inside = ((at_voxel >= 0) & (at_voxel < self.truth.shape)).all(-1)
        z, y, x = np.moveaxis(np.clip(at_voxel, 0, np.array(self.truth.shape) - 1), -1, 0)
        mask = inside & (self.truth[z, y, x] == label) & (label > 0) & (not self.empty)
        window = tuple(slice(0, n) for n in mask.shape)
        logits = np.where(mask, 9.0, -9.0).astype(np.float32)
        return Prediction(mask, window, volume.grid, logits, 1.0, 0.01)


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Two pairs, and one whose labels are on other voxels."""
    folder = tmp_path / "scans"
    folder.mkdir()
    grid = Grid.from_spacing(SHAPE, (2.0, 1.5, 1.5))
    image = np.random.default_rng(0).normal(100, 5, SHAPE).astype(np.float32)
    for name in ("a", "b"):
        write_image(folder / f"{name}.nii.gz", image + labels() * 20, grid)
        write_labels(folder / f"{name}_seg.nii.gz", labels(), grid)
    write_image(folder / "broken.nii.gz", image, grid)
    write_labels(
        folder / "broken_seg.nii.gz", labels()[:5], Grid.from_spacing((5, 20, 24), (2, 1, 1))
    )
    return folder


def run(pairs: Path, settings: EvaluationSettings, folder: Path, empty: bool = False):
    cases = find_cases(pairs)
    whole = read_nifti(pairs / "a_seg.nii.gz")
    knowing = Knowing(np.asarray(whole.data).astype(int), whole.grid, empty)
    results = ResultsFolder(folder)
    results.begin({"protocol": settings.protocol})
    events = list(evaluate(knowing, cases, settings, results))
    return knowing, events, [it.scores for it in events if isinstance(it, Scored)], results


@pytest.mark.parametrize("protocol", ALL)
def test_a_predictor_that_knows_the_answer_is_perfect(pairs, tmp_path, protocol):
    knowing, events, scores, _ = run(pairs, EvaluationSettings(protocol=protocol), tmp_path / "out")
    assert [it.case for it in scores] == ["a", "b", "broken"]
    assert [bool(it.error) for it in scores] == [False, False, True]
    assert "broken" in scores[2].error and not scores[2].objects
    for case in scores[:2]:
        assert [it.class_label for it in case.objects] == [1, 3]
        assert [it.voxels for it in case.objects] == [240, 240]
        for it in case.objects:
            # a crop of other voxels does not give each voxel back
            least = 0.85 if protocol == "sam-med3d" else 1.0
            assert min(r.dice for r in it.rounds) >= least
            assert it.volume_ml == pytest.approx(240 * 4.5 / 1000)
            assert it.contrast > 1
            assert it.rounds[0].said
    assert knowing.asked > 0
    shares = [it.share for it in events if isinstance(it, Looking) and it.case == "a"]
    assert shares == sorted(shares) and 0 < shares[0] and shares[-1] <= 1


def test_the_area_under_dice_is_4_for_a_perfect_and_0_for_an_empty_predictor(pairs, tmp_path):
    settings = EvaluationSettings(protocol="cvpr25", box="none")
    (pairs / "broken.nii.gz").unlink()
    (pairs / "broken_seg.nii.gz").unlink()
    perfect = run(pairs, settings, tmp_path / "perfect")[2]
    empty = run(pairs, settings, tmp_path / "empty", empty=True)[2]
    best = summarise("cvpr25", 2.0, perfect).challenge.with_failed
    assert (best.dsc_auc, best.nsd_auc) == (pytest.approx(4), pytest.approx(4))
    worst = summarise("cvpr25", 2.0, empty).challenge.with_failed
    assert (worst.dsc_auc, worst.nsd_auc, worst.dsc_final) == (0, 0, 0)


@pytest.mark.parametrize("boxed", [True, False])
def test_boxes_of_the_challenge_are_those_of_its_files(tmp_path, boxed):
    faces = {"z_min": 2, "z_max": 6, "z_mid": 4}
    faces |= {"z_mid_x_min": 4, "z_mid_x_max": 11, "z_mid_y_min": 3, "z_mid_y_max": 8}
    only = np.where(labels() == 1, 1, 0).astype(np.uint8)
    arrays = {"boxes": np.array([faces], object)} if boxed else {}
    image = (100 * only).astype(np.uint8)
    np.savez(tmp_path / "x.npz", imgs=image, gts=only, spacing=(2.0, 1.5, 1.5), **arrays)
    results = ResultsFolder(tmp_path / "out")
    results.begin({})
    knowing = Knowing(only.astype(int), Grid.from_spacing(SHAPE, (2.0, 1.5, 1.5)))
    *_, scored = evaluate(knowing, find_cases(tmp_path), EvaluationSettings(), results)
    (it,) = scored.scores.objects
    if boxed:
        assert (it.rounds[0].name, it.rounds[0].said) == ("box", ((2, 3, 4, 6, 8, 11),))
    else:
        assert it.rounds[0].name == "1"


def test_what_is_done_is_not_done_again(pairs, tmp_path):
    settings = EvaluationSettings(protocol="cvpr25")
    first, _, scores, _ = run(pairs, settings, tmp_path / "out")
    second, events, again, _ = run(pairs, settings, tmp_path / "out")
    assert first.asked > 0 and second.asked == 0
    assert again[:2] == scores[:2]
    known = [it.known for it in events if isinstance(it, Scored)]
    assert known == [True, True, False]  # what failed is tried again


def test_a_case_whose_labels_changed_is_done_again(pairs, tmp_path):
    settings = EvaluationSettings(protocol="cvpr25")
    run(pairs, settings, tmp_path / "out")
    grid = Grid.from_spacing(SHAPE, (2.0, 1.5, 1.5))
    only = np.where(labels() == 1, 1, 0).astype(np.uint8)
    write_labels(pairs / "b_seg.nii.gz", only, grid, overwrite=True)
    _, events, scores, _ = run(pairs, settings, tmp_path / "out")
    assert [it.known for it in events if isinstance(it, Scored)] == [True, False, False]
    assert [len(it.objects) for it in scores] == [2, 1, 0]


def test_an_evaluation_that_was_stopped_goes_on(pairs, tmp_path):
    settings = EvaluationSettings(protocol="cvpr25")
    whole = run(pairs, settings, tmp_path / "whole")[2]
    truth = read_nifti(pairs / "a_seg.nii.gz")
    results = ResultsFolder(tmp_path / "out")
    results.begin({"protocol": "cvpr25"})
    knowing = Knowing(np.asarray(truth.data).astype(int), truth.grid)
    events = evaluate(knowing, find_cases(pairs), settings, results)
    for event in events:
        if isinstance(event, Looking) and event.case == "b":
            events.close()
    scores = run(pairs, settings, tmp_path / "out")[2]

    def timeless(case):
        objects = tuple(
            replace(it, rounds=tuple(replace(r, seconds=0.0) for r in it.rounds))
            for it in case.objects
        )
        return replace(case, objects=objects, seconds=0.0, peak_bytes=0)

    assert [timeless(it) for it in scores] == [timeless(it) for it in whole]


def test_a_folder_of_another_evaluation_is_refused(tmp_path):
    folder = ResultsFolder(tmp_path / "out")
    folder.begin({"protocol": "cvpr25", "clicks": 5, "labels": (1, 2)})
    folder.begin({"protocol": "cvpr25", "clicks": 5, "labels": (1, 2)})
    with pytest.raises(ValueError, match="another clicks, protocol; choose"):
        folder.begin({"protocol": "ma-sam", "clicks": 3, "labels": (1, 2)})


def test_a_folder_with_other_files_is_refused_and_not_cleared(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    folder = ResultsFolder(tmp_path)
    folder.clear()
    with pytest.raises(ValueError, match="holds other files"):
        folder.begin({})
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_results_are_written(pairs, tmp_path):
    settings = EvaluationSettings(protocol="cvpr25")
    _, _, scores, folder = run(pairs, settings, tmp_path / "out")
    folder.write_summary(summarise("cvpr25", 2.0, scores), scores, "compact on scans")
    assert folder.picture.stat().st_size > 10_000
    value = json.loads(folder.json.read_text())
    assert [it["case"] for it in value["cases"]] == ["a", "b", "broken"]
    challenge = folder.challenge.read_text().splitlines()
    assert challenge[0].startswith("CaseName,TotalRunningTime,RunningTime_1")
    lines = folder.csv.read_text().splitlines()
    assert len(lines) == 1 + 2 * 2 * 6
    told = folder.table.read_text()
    assert "compact on scans" in told and "2 mm" in told and "broken" in told


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 400, "Ä ö", "a b"])
def test_any_name_of_a_case_is_a_file(tmp_path, name):
    folder = ResultsFolder(tmp_path / "out")
    folder.begin({})
    path = folder._of(name, "json")
    path.write_text("{}")
    assert path.parent == tmp_path / "out" / "cases"
    assert path != folder._of(name + "_", "json")
