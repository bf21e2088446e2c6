"""Adapters in the dock: listed for their model, chosen, and gone with their file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from safetensors.numpy import save_file

from napari_sam3d.engine.places import adapters_folder, adapters_of
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.settings import InferenceSettings


def put(name: str, model: str = "compact") -> None:
    adapters_folder().mkdir(parents=True, exist_ok=True)
    path = adapters_folder() / f"{name}.safetensors"
    save_file({"x": np.zeros(1)}, str(path), {"model": json.dumps(model)})


@pytest.fixture
def dock(qtbot, loader):
    put("nuclei")
    put("tumour", "sam_med3d_turbo")
    (adapters_folder() / "broken.safetensors").write_bytes(b"no tensors")
    it = SegmentWidget(ViewerModel(), loader)
    qtbot.addWidget(it)
    yield it
    it.teardown()


def names(dock: SegmentWidget) -> tuple[str, ...]:
    return tuple(dock.model.form.row("adapter").choices)


def test_a_model_has_its_own_adapters(dock):
    assert adapters_of("compact") == ["nuclei"]
    assert names(dock) == ("", "nuclei")
    assert not dock.model.adapter.isHidden()
    dock.set_value(InferenceSettings(adapter="nuclei"))
    assert dock.value().adapter == "nuclei"
    told = []
    dock.model.changed.connect(told.append)
    dock.model.row.value = "sam_med3d_turbo"
    assert names(dock) == ("", "tumour")
    assert [it.adapter for it in told] == [""]
    dock.model.row.value = "medsam"
    assert dock.model.adapter.isHidden()


def test_an_adapter_appears_at_once_and_goes_with_its_file(dock, qtbot):
    put("nuclei 2")
    qtbot.waitUntil(lambda: names(dock) == ("", "nuclei", "nuclei 2"))
    dock.set_value(InferenceSettings(adapter="nuclei 2"))
    (adapters_folder() / "nuclei 2.safetensors").unlink()
    qtbot.waitUntil(lambda: names(dock) == ("", "nuclei"))
    assert dock.value().adapter == ""


def test_settings_with_an_adapter_that_is_not_here_leave_it_out(dock):
    dock.set_value(InferenceSettings(adapter="lost", threshold=0.3))
    assert dock.value() == InferenceSettings(threshold=0.3)
