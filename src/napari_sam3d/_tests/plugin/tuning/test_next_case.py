"""Volume after volume: proposals, corrections, labels that match, and nothing that is lost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent

from napari_sam3d._tests.plugin.conftest import ball
from napari_sam3d._tests.test_cli_adapters import write
from napari_sam3d.engine import proposing
from napari_sam3d.engine.class_prior import ClassPrior
from napari_sam3d.engine.places import adapter_file
from napari_sam3d.engine.proposing import Proposal
from napari_sam3d.io.label_names import LabelName, read_label_names, write_label_names
from napari_sam3d.io.pairs import find_images, find_pairs, read_pair
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.plugin.tuning.next_case import NextCase
from napari_sam3d.plugin.tuning.next_case_classes import OWN, Classes, values_of
from napari_sam3d.prompts import Found

SHAPE = (10, 12, 14)
HEAD, NECK = (3, 6, 7), (7, 6, 7)
WINDOW = tuple(slice(0, n) for n in SHAPE)


class Pairs:
    """Stands in for the table of pairs."""

    def __init__(self) -> None:
        self.pairs = []

    def add_pair(self, pair) -> None:
        self.pairs.append(pair)

    def value(self):
        return tuple(self.pairs)


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(0).normal(0, 1, SHAPE[::-1]).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([1, 1, 2, 1])), path)
    return path


def prior(label: int, name: str) -> dict:
    third = (0.5, 0.5, 0.5)
    told = ClassPrior(
        label=label,
        name=name,
        cases=2,
        of=2,
        parts=1.0,
        centre=third,
        centre_spread=third,
        size_mm=third,
        size_spread_mm=third,
        brightness=0.5,
        brightness_spread=0.1,
    )
    return asdict(told)


def proposal(label: int, name: str, center) -> Proposal:
    return Proposal(label, name, Found("compact", name, ball(SHAPE, center, 1.5), WINDOW), 0.9)


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a", "b", "c"):
        image(tmp_path / "scans" / f"{name}.nii.gz")
    return tmp_path / "scans"


@pytest.fixture
def pairs() -> Pairs:
    return Pairs()


@pytest.fixture
def case(qtbot, loader, pairs, folder, monkeypatch):
    """The section, with an adapter that proposes two classes whose values are 5 and 2."""
    notification_manager.records.clear()
    priors = [prior(2, "head"), prior(5, "neck")]
    write(adapter_file("leg"), classes=["head", "neck"], priors=priors)
    found = [proposal(2, "head", HEAD), proposal(5, "neck", NECK)]
    monkeypatch.setattr(proposing, "propose", lambda *_: found)
    viewer = ViewerModel()
    dock = SegmentWidget(viewer, loader)
    qtbot.addWidget(dock)
    it = NextCase(viewer, pairs, lambda _: dock)
    qtbot.addWidget(it)
    it.sentences, it.refusals = [], []
    it.said.connect(it.sentences.append)
    it.refused.connect(it.refusals.append)
    it.set_folder(folder)
    yield it
    it.teardown()
    if dock._open:
        dock.teardown()


def opened(case: NextCase, qtbot) -> SegmentWidget:
    """Opens the next one, and waits for its proposals."""
    case.buttons.next.click()
    dock = case.case.dock
    qtbot.waitUntil(lambda: len(dock.session.used()) == 2)
    return dock


def test_three_volumes_one_after_the_other(case, qtbot, pairs, folder):
    names = []
    for count in (1, 2, 3):
        dock = opened(case, qtbot)
        names.append(case.case.name)
        assert dock.value().adapter == "leg"
        assert case._viewer.layers[0].name == names[-1]
        assert len(case._viewer.layers) <= 4  # those of the one before are gone
        session = dock.session
        session.select(1)
        session.prompt_layer.add(HEAD)  # a correction: a larger ball
        qtbot.waitUntil(lambda s=session: np.sum(s.labels.data == 1) > 50)
        shown = np.asarray(session.labels.data)
        case._bar.add.click()
        assert case.refusals == []
        assert len(pairs.pairs) == count
        path = folder / f"{names[-1]}_seg.nii.gz"
        labels = read_pair(find_pairs(folder)[count - 1]).labels
        assert set(np.unique(labels)) == {0, 2, 5}
        assert np.array_equal(labels == 2, shown == 1) and np.array_equal(labels == 5, shown == 2)
        assert {it.id: it.name for it in read_label_names(path)} == {2: "head", 5: "neck"}
        assert case.again.text() == f"Train again with {count} pair{'s' * (count > 1)}"
    assert names == ["a", "b", "c"]
    assert case.list.count.text() == "3 of 3 have labels"
    assert not case.buttons.next.isEnabled()
    asked = []
    case.train_requested.connect(lambda *told: asked.append(told))
    case.again.click()
    assert asked == [("compact", "leg")]


def test_work_that_is_not_saved_is_asked_about(case, qtbot, monkeypatch, folder):
    asked = []

    def answer(allowed):
        monkeypatch.setattr(questions, "allow", lambda text, *_: asked.append(text) or allowed)

    answer(False)
    dock = opened(case, qtbot)
    labels = dock.session.labels
    dock.session.labels.data_setitem((np.array([0]), np.array([0]), np.array([0])), 7)
    case.buttons.next.click()
    case.buttons.skip.click()
    assert len(asked) == 2 and "were not added" in asked[0]
    assert case.case.name == "a" and labels in case._viewer.layers
    answer(True)
    case.buttons.skip.click()
    assert case.case.name == "b" and labels not in case._viewer.layers
    qtbot.waitUntil(lambda: len(dock.session.used()) == 2)
    case.buttons.skip.click()  # untouched proposals are nobody's work
    assert case.case.name == "c" and len(asked) == 3
    assert list(folder.glob("*_seg*")) == []


def test_what_was_closed_without_labels_is_offered_again(case, qtbot, monkeypatch):
    monkeypatch.setattr(questions, "allow", lambda *_: True)
    dock = opened(case, qtbot)
    dock.session.select(1)
    dock.session.prompt_layer.add(HEAD)
    qtbot.waitUntil(lambda: np.sum(dock.session.labels.data == 1) > 50)
    case.buttons.skip.click()
    qtbot.waitUntil(lambda: len(dock.session.used()) == 2)
    case.list.chosen.emit(0)
    assert "earlier work on a" in case.sentences[-1]
    qtbot.waitUntil(lambda: not dock.keeper.bar.isHidden())
    dock.keeper.bar.resume.click()
    assert np.sum(dock.session.labels.data == 1) > 50


def test_a_mask_that_comes_too_late_hinders_nothing(case, qtbot, loader, pairs, monkeypatch):
    monkeypatch.setattr(questions, "allow", lambda *_: True)
    dock = opened(case, qtbot)
    loader.predictor.go.clear()
    loader.predictor.started.clear()
    dock.session.select(1)
    dock.session.prompt_layer.add(HEAD)
    case.buttons.add.click()
    assert "still being computed" in case.refusals[-1] and pairs.pairs == []
    qtbot.waitUntil(loader.predictor.started.is_set)
    case.buttons.skip.click()
    assert case.case.name == "b"
    loader.predictor.go.set()
    qtbot.waitUntil(lambda: len(dock.session.used()) == 2)
    assert all(it.untouched for it in dock.session.objects.values())


def test_a_dock_that_was_closed_is_not_needed_to_add(case, qtbot, loader, pairs):
    dock = opened(case, qtbot)
    other = SegmentWidget(case._viewer, loader)
    qtbot.addWidget(other)
    case._open_dock = lambda _: other
    dock.setParent(None)
    dock.event(QEvent(QEvent.Type.ParentChange))
    case.buttons.add.click()
    assert case.refusals == [] and pairs.pairs[0].names == {2: "head", 5: "neck"}
    opened(case, qtbot)
    assert case.case.dock is other and case.case.name == "b"
    assert len(case._viewer.layers) <= 4
    other.teardown()


def test_names_of_the_training_set_decide_about_values(case, qtbot, pairs, folder):
    known = image(folder.parent / "old" / "x.nii.gz")
    labels = known.with_name("x_seg.nii.gz")
    nib.save(nib.Nifti1Image(np.full(SHAPE[::-1], 9, np.uint8), nib.load(known).affine), labels)
    write_label_names(labels, [LabelName(9, "neck")])
    pairs.add_pair(read_pair(find_pairs(known.parent)[0]))
    dock = opened(case, qtbot)
    session = dock.session
    session.new_object()
    session.prompt_layer.add((5, 1, 1))
    qtbot.waitUntil(lambda: session.object.shown is not None)
    session.rename(session.current, "cyst")
    case.buttons.add.click()
    assert case.refusals == []
    assert pairs.pairs[-1].names == {9: "neck", 2: "head", 10: "cyst"}


def test_labels_that_are_there_come_back_as_objects(case, qtbot, pairs, monkeypatch):
    opened(case, qtbot)
    case.buttons.add.click()
    opened(case, qtbot)
    monkeypatch.setattr(questions, "allow", lambda *_: True)
    case.list.chosen.emit(0)
    session = case.case.dock.session
    assert {n: it.name for n, it in session.objects.items()} == {2: "head", 5: "neck"}
    assert "has labels" in case.sentences[-1] and not case.case.changed
    case.buttons.add.click()
    assert [pair.names for pair in pairs.pairs] == [{2: "head", 5: "neck"}] * 2


def test_an_existing_file_is_asked_about(case, qtbot, pairs, monkeypatch, folder):
    opened(case, qtbot)
    other = folder / "a_seg.nii.gz"
    other.write_bytes(b"of somebody else")
    monkeypatch.setattr(questions, "allow", lambda *_: False)
    case.buttons.add.click()
    assert other.read_bytes() == b"of somebody else" and pairs.pairs == []
    monkeypatch.setattr(questions, "allow", lambda *_: True)
    case.buttons.add.click()
    assert len(pairs.pairs) == 1 and case.refusals == []


def test_what_cannot_be_used_is_said_and_passed_over(case, qtbot, folder, tmp_path):
    film = nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.float32), np.eye(4))
    nib.save(film, folder / "a.nii.gz")
    case.buttons.next.click()
    assert "a.nii.gz is no single volume" in case.refusals[-1]
    assert case.case is None and len(case._viewer.layers) == 0
    (folder / "b.nii.gz").write_bytes(b"nothing")
    case.buttons.next.click()
    assert case.case is None
    opened(case, qtbot)
    assert case.case.name == "c"
    case._viewer.layers.remove(case.case.image)
    assert case.buttons.add.isHidden()
    with pytest.raises(ValueError, match="No volume is open"):
        case.add()
    with pytest.raises(ValueError, match="holds no NIfTI image"):
        case.set_folder(tmp_path)


def test_without_a_mask_nothing_is_added(case, qtbot, pairs):
    case.adapter.setCurrentIndex(0)
    case.buttons.next.click()
    assert "click on its objects" in case.sentences[-1]
    case.buttons.add.click()
    assert "a has no mask yet" in case.refusals[-1] and pairs.pairs == []


def test_folders_of_nnunet_keep_their_layout(tmp_path):
    first = image(tmp_path / "imagesTr" / "x_0000.nii.gz")
    image(tmp_path / "imagesTr" / "x_0001.nii.gz")
    second = image(tmp_path / "imagesTr" / "y.nii.gz")
    for folder in (tmp_path, tmp_path / "imagesTr"):
        found = find_images(folder)
        assert [(it.image, it.labels.name) for it in found] == [
            (first, "x.nii.gz"),
            (second, "y.nii.gz"),
        ]
        assert {it.labels.parent for it in found} == {tmp_path / "labelsTr"}


def test_the_value_of_an_object_without_a_name():
    asked = []

    def ask(answer):
        return lambda number, named: asked.append((number, named)) or answer

    named = Classes({"head": 2, "neck": 5}, 5)
    assert values_of({1: "", 2: "neck"}, named, ask("head")) == (
        {1: 2, 2: 5},
        {2: "head", 5: "neck"},
    )
    assert asked == [(1, ("head", "neck"))]
    assert values_of({1: ""}, named, ask(None)) is None
    assert values_of({1: ""}, named, ask(OWN)) == ({1: 6}, {})
    # a single class needs no question, and numbers stay numbers
    assert values_of({4: ""}, Classes({"head": 2}, 2), ask(None)) == ({4: 2}, {2: "head"})
    assert values_of({4: ""}, Classes({"label 1": 1}, 1), ask(None)) == ({4: 4}, {})
    assert values_of({1: "label 1"}, Classes({"label 1": 1}, 1), ask(None)) == ({1: 1}, {})
