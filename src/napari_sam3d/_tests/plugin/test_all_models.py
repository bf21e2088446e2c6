"""Every family in the dock: small seeded weights, real clicks, the phantom."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_sam3d._tests.plugin.conftest import canvas_click, canvas_key, open_dock, sentences
from napari_sam3d._tests.plugin.local_models import FIRST, SlowServer, put, released_adapter
from napari_sam3d._tests.tiny_checkpoints import save_tiny, tiny_ma_sam
from napari_sam3d.catalog import MODELS
from napari_sam3d.engine import fixed
from napari_sam3d.engine.places import models_folder
from napari_sam3d.engine.releases import save_adapters
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.layers.convert import layer_data
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.plugin.session.availability import Where, entry, where
from napari_sam3d.samples import load_sample

CLICK = (59, 75, 54)
SECOND = (59, 77, 56)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path / "models"))
    # random weights find objects without end
    monkeypatch.setattr(fixed, "_MOST_VIEWS", 2)
    notification_manager.records.clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks: more threads would wait for each other
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def give(folder, monkeypatch):
    """Puts weights of a model where it looks for them."""
    return lambda name: put(name, monkeypatch, folder)


@pytest.fixture
def server(folder, monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    http = SlowServer(folder / "public")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = http.url(MODELS["sam_vit_b"].weights.file)
    put("sam_vit_b", monkeypatch, http.folder, url=url)
    yield http
    http.go.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def phantom(viewer):
    data, meta, _ = layer_data(load_sample("phantom").volume, as_labels=False)
    return viewer.add_image(data, **meta)


@pytest.fixture
def few_slices(viewer):
    """Part of the phantom, for what looks at all of it."""
    data, meta, _ = layer_data(load_sample("phantom").volume, as_labels=False)
    return viewer.add_image(data[54:66, 40:110, 20:90], **{**meta, "metadata": {}})


@pytest.fixture
def dock(viewer, qtbot):
    widget = open_dock(viewer, None, qtbot)
    yield widget
    widget.runner.stop()
    assert widget.runner.worker.wait(10)


def choose(dock: SegmentWidget, model: str) -> None:
    """As a user does, in the list."""
    box = dock.form.row("model").native
    box.setCurrentIndex(box.findData(model))
    assert dock.value().model == model


def status(dock: SegmentWidget) -> str:
    return dock.controls.status.text()


def mask(dock: SegmentWidget, object_id: int = 1) -> np.ndarray:
    return np.asarray(dock.session.labels.data == object_id)


def answered(dock: SegmentWidget, qtbot, points: int) -> None:
    said = f"({points} point{'s' * (points > 1)})"
    qtbot.waitUntil(lambda: said in status(dock) and not dock.controls.busy.isVisible())


@pytest.mark.parametrize("model", ["sam_med3d_turbo", "sam3d_adapter_kits", "sam_vit_b"])
def test_clicks_become_masks(viewer, phantom, dock, qtbot, give, monkeypatch, model) -> None:
    give(model)
    encoded: list[object] = []
    prepare = fixed.apply_intensity

    def encode(*values):
        encoded.append(values)
        return prepare(*values)

    monkeypatch.setattr(fixed, "apply_intensity", encode)
    choose(dock, model)
    qtbot.waitUntil(lambda: "Model loaded" in status(dock))
    assert status(dock).endswith("Click on the object, in a slice or in the 3D view.")
    canvas_click(viewer, CLICK, phantom)
    answered(dock, qtbot, 1)
    first, looked_at = mask(dock), len(encoded)
    assert first.any() and "expected IoU" in status(dock)
    canvas_click(viewer, SECOND, phantom)
    answered(dock, qtbot, 2)
    assert len(dock.session.object.prompts.points) == 2 and mask(dock).any()
    assert len(encoded) == looked_at, "the second click lies on patches that were encoded before"
    if model != "sam_vit_b":
        assert looked_at == 2
        assert dock.session.object.previous(model).views
    second = mask(dock)
    canvas_key(viewer, "Ctrl+Z")
    np.testing.assert_array_equal(mask(dock), first)
    assert dock.session.pending() is None
    canvas_key(viewer, "Ctrl+Shift+Z")
    np.testing.assert_array_equal(mask(dock), second)
    assert sentences() == []


def test_a_model_that_knows_positive_points_refuses_others(viewer, phantom, dock, give) -> None:
    give("sam3d_adapter_kits")
    choose(dock, "sam3d_adapter_kits")
    assert not dock.controls.negative.isEnabled()
    canvas_click(viewer, CLICK, phantom, control=True)
    assert status(dock) == "This model takes positive points only."
    assert not dock.session.object.prompts.points


@pytest.mark.parametrize("model", ["ma_sam_btcv", "sam3d_adapter_auto_kits"])
def test_segment_finds_classes_without_clicks(viewer, few_slices, dock, qtbot, give, model) -> None:
    give(model)
    dock.session.ensure_layers()[0].data[3, 5:40, 5:40] = 1  # by hand
    painted = mask(dock, 1)
    choose(dock, model)
    qtbot.waitUntil(lambda: "needs no clicks: press Segment." in status(dock))
    assert not dock.controls.positive.isEnabled()
    assert dock.controls.auto.isEnabled() == ("box" in MODELS[model].prompts)
    canvas_click(viewer, (5, 20, 20), few_slices)
    assert status(dock) == f"{model} needs no clicks: press Segment."
    assert not dock.session.object.prompts.points
    dock.controls.segment.click()
    qtbot.waitUntil(lambda: "Found" in status(dock))
    classes = MODELS[model].classes
    found = {n: it for n, it in dock.session.objects.items() if it.prompts.start}
    assert found and {it.name for it in found.values()} <= set(classes)
    assert status(dock).startswith(f"Found {len(found)} of {len(classes)} in ")
    assert min(found) == 2 and dock.session.current == 2
    assert dock.controls.objects.currentText() == found[2].name
    np.testing.assert_array_equal(mask(dock, 1), painted)
    for number, it in found.items():
        own = np.zeros(painted.shape, bool)
        own[it.prompts.start.window] = it.prompts.start.mask
        np.testing.assert_array_equal(mask(dock, number), own & ~painted)
    whole = dock.session.labels.data.copy()
    # once more would find them on themselves
    dock.controls.segment.click()
    assert "is there already" in sentences()[-1]
    dock.controls.undo.click()
    assert set(np.unique(dock.session.labels.data)) == {0, 1}
    dock.controls.redo.click()
    np.testing.assert_array_equal(dock.session.labels.data, whole)
    dock.controls.clear.click()
    assert not mask(dock, 2).any() and (len(found) == 1 or mask(dock, 3).any())
    dock.controls.undo.click()
    np.testing.assert_array_equal(dock.session.labels.data, whole)


def test_escape_ends_a_segmentation_without_clicks(viewer, few_slices, dock, qtbot, give) -> None:
    give("ma_sam_btcv")
    choose(dock, "ma_sam_btcv")
    shares: list[float] = []
    dock.runner.worker.progressed.connect(lambda number, share: shares.append(share))
    dock.runner.worker.progressed.connect(lambda *_: canvas_key(viewer, "Escape"))
    dock.controls.segment.click()
    qtbot.waitUntil(lambda: status(dock) == "Cancelled; nothing was changed.")
    assert shares and shares[-1] < 1
    assert not dock.session.labels.data.any() and not dock.controls.busy.isVisible()


def test_a_found_object_is_corrected_by_clicks_for_another_model(
    viewer, few_slices, dock, qtbot, give
) -> None:
    give("ma_sam_btcv")
    give("sam_vit_b")
    choose(dock, "ma_sam_btcv")
    dock.controls.segment.click()
    qtbot.waitUntil(lambda: "Found" in status(dock))
    number, name = dock.session.current, dock.controls.objects.currentText()
    whole = dock.session.labels.data.copy()
    choose(dock, "sam_vit_b")
    canvas_click(viewer, (5, 35, 34), few_slices)
    answered(dock, qtbot, 1)
    assert dock.session.current == number and dock.controls.objects.currentText() == name
    others = (whole != 0) & (whole != number)
    np.testing.assert_array_equal(dock.session.labels.data[others], whole[others])
    canvas_key(viewer, "Ctrl+Z")
    np.testing.assert_array_equal(dock.session.labels.data, whole)


def test_models_change_between_clicks(viewer, phantom, dock, qtbot, give) -> None:
    for model in ("sam_med3d_turbo", "sam_vit_b"):
        give(model)
    choose(dock, "sam_med3d_turbo")
    canvas_click(viewer, CLICK, phantom)
    answered(dock, qtbot, 1)
    medical = mask(dock)
    canvas_key(viewer, "N")
    choose(dock, "compact")  # object 1 keeps its mask, of which this model must not make use
    canvas_click(viewer, (40, 90, 100), phantom)
    answered(dock, qtbot, 1)
    np.testing.assert_array_equal(mask(dock, 1), medical)
    assert mask(dock, 2).any()
    dock.controls.objects.activated.emit(0)
    assert dock.session.object.previous("compact") is None
    canvas_click(viewer, SECOND, phantom)
    answered(dock, qtbot, 2)
    assert not np.array_equal(mask(dock, 1), medical)
    choose(dock, "sam_vit_b")  # asks again for the current object
    qtbot.waitUntil(lambda: dock.session.object.previous("sam_vit_b") is not None)
    assert len(dock.session.object.prompts.points) == 2
    assert sentences() == []


def test_a_download_is_shown_cancelled_and_taken_up_again(
    viewer, phantom, dock, qtbot, server
) -> None:
    choose(dock, "sam_vit_b")
    assert "are downloaded at the first click (1 MB)." in status(dock)
    assert "MB to download" in dock.form.row("model").native.currentText()
    assert server.asked == [] and not dock.controls.busy.isVisible()
    canvas_click(viewer, CLICK, phantom)
    qtbot.waitUntil(lambda: dock.controls.busy.maximum() > 0)
    assert status(dock).startswith("Downloading sam_vit_b: 0 of 1 MB (")
    part = models_folder() / (MODELS["sam_vit_b"].weights.file + ".part")
    qtbot.waitUntil(lambda: part.stat().st_size == FIRST)
    canvas_click(viewer, SECOND, phantom)  # does not begin anew
    qtbot.waitUntil(lambda: len(dock.session.object.prompts.points) == 2)
    canvas_key(viewer, "Escape")
    assert status(dock).startswith("Cancelled; the points are kept.")
    assert not dock.controls.busy.isVisible() and part.stat().st_size == FIRST
    # the connection hangs still; another model does not wait for it
    choose(dock, "compact")
    answered(dock, qtbot, 2)
    assert mask(dock).any()
    choose(dock, "sam_vit_b")
    assert server.asked == [""] and not dock.controls.busy.isVisible()
    dock.controls.segment.click()
    qtbot.waitUntil(lambda: "Loading" in status(dock) or "Downloading" in status(dock))
    server.go.set()
    answered(dock, qtbot, 2)
    assert len(server.asked) <= 2 and set(server.asked[1:]) <= {f"bytes={FIRST}-"}
    assert dock.form.row("model").native.currentText() == "sam_vit_b  ·  on this computer"
    assert not part.exists() and sentences() == []


def test_a_failed_download_is_one_sentence_and_is_tried_again(
    viewer, phantom, dock, qtbot, server
) -> None:
    away = server.folder.rename(server.folder.with_name("away"))
    server.go.set()
    choose(dock, "sam_vit_b")
    canvas_click(viewer, CLICK, phantom)
    qtbot.waitUntil(lambda: bool(sentences()))
    (sentence,) = sentences()
    assert "could not be fetched" in sentence and "404" in sentence and "\n" not in sentence
    assert status(dock) == sentence and not dock.controls.busy.isVisible()
    away.rename(server.folder)
    dock.controls.segment.click()
    answered(dock, qtbot, 1)
    assert mask(dock).any()


def test_weights_that_have_to_be_added_are_asked_for(viewer, phantom, dock, qtbot) -> None:
    choose(dock, "sam3d_adapter_lits")
    said = (
        "sam3d_adapter_lits needs a file of weights: get it from "
        "https://github.com/med-air/3DSAM-adapter and choose Add weights..."
    )
    assert status(dock).endswith(said) and sentences() == []
    canvas_click(viewer, CLICK, phantom)
    qtbot.waitUntil(lambda: sentences() == [said])
    assert len(dock.session.object.prompts.points) == 1


def test_a_model_for_boxes_asks_for_one(viewer, phantom, dock) -> None:
    choose(dock, "medsam")
    assert "Takes a box and no points" in status(dock)
    canvas_click(viewer, CLICK, phantom)
    assert "choose the tool Box" in status(dock) and not dock.session.object.prompts.points
    dock.controls.segment.click()
    assert sentences()[-1].startswith("medsam needs a file of weights")


def test_a_file_is_added_in_the_dock(viewer, phantom, dock, qtbot, folder, monkeypatch) -> None:
    file = released_adapter(folder)
    asked: list[tuple] = []

    def which(text, options, parent):
        asked.append((text, options))
        return 1

    monkeypatch.setattr(questions, "choose", which)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    choose(dock, "sam3d_adapter_colon")
    dock.model.add_weights.click()
    ((text, options),) = asked
    assert text == "last.pth.tar does not tell what it was made for."
    assert options[0].startswith("sam3d_adapter_colon: ") and len(options) == 4
    added = options[1].split(":")[0]
    assert dock.value().model == added
    assert dock.form.row("model").native.currentText() == f"{added}  ·  on this computer"
    canvas_click(viewer, CLICK, phantom)
    answered(dock, qtbot, 1)
    assert mask(dock).any() and sentences() == []


def test_a_wrong_file_is_one_sentence_and_the_dialog_may_be_left(dock, folder, monkeypatch) -> None:
    file = folder / "notes.pth"
    file.write_text("no weights")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    dock.model.add_weights.click()
    (sentence,) = sentences()
    assert sentence.startswith("notes.pth is no file of weights")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    dock.model.add_weights.click()
    assert len(sentences()) == 1 and dock.value().model == "compact"


def test_the_list_says_where_weights_are_and_what_models_take(dock, give) -> None:
    give("sam3d_adapter_kits")
    dock.model.refresh()
    box = dock.form.row("model").native
    texts = {box.itemData(n): box.itemText(n) for n in range(box.count())}
    assert list(texts) == list(MODELS)
    assert texts["compact"] == "compact  ·  built in"
    assert texts["sam3d_adapter_kits"] == "sam3d_adapter_kits  ·  on this computer"
    assert texts["sam_med3d_turbo"] == "sam_med3d_turbo  ·  402 MB to download"
    assert texts["sam_med3d_cvpr"] == "sam_med3d_cvpr  ·  to be downloaded"
    assert texts["ma_sam_btcv"] == "ma_sam_btcv  ·  weights to be added"
    for n in range(box.count()):
        tip = box.itemData(n, Qt.ItemDataRole.ToolTipRole)
        assert MODELS[box.itemData(n)].title[1:] in tip
    assert replace(dock.value(), model="compact") == dock.value()


def test_weights_on_another_model_are_here_when_both_are(folder) -> None:
    spec = MODELS["ma_sam_btcv"]
    file, sam = models_folder() / spec.weights.file, models_folder() / "sam_vit_h_4b8939.pth"
    adapters, base = tiny_ma_sam()
    save_adapters(adapters, file, "epoch_1.pth", folder / "base.pth")
    assert where(spec) is Where.HERE  # its own file was named
    save_adapters(adapters, file, "epoch_1.pth", None)
    assert where(spec) is Where.DOWNLOAD and entry(spec).endswith("2565 MB to download")
    save_tiny(base, sam)
    assert where(spec) is Where.HERE
    file.write_bytes(b"cut off")
    assert where(spec) is Where.HERE  # loading it says what is wrong
