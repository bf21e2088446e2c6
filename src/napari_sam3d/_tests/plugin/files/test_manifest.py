"""The npe2 manifest: what it names exists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from napari._app_model.constants import MenuId
from npe2 import PluginManifest

from napari_sam3d._tests.plugin.conftest import MANIFEST
from napari_sam3d.plugin.segment_widget import SegmentWidget
from napari_sam3d.plugin.train_widget import TrainWidget


def test_it_is_valid(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    assert manifest.display_name == "SAM 3D"


def named(value: object) -> Iterator[str]:
    """All values under a key `command`, at any depth."""
    if isinstance(value, dict):
        yield from (str(v) for k, v in value.items() if k == "command")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from named(item)


def test_every_command_is_declared_and_used(manifest: PluginManifest) -> None:
    declared = [command.id for command in manifest.contributions.commands]
    assert len(set(declared)) == len(declared)
    contributions = yaml.safe_load(Path(MANIFEST).read_text())["contributions"]
    assert set(named(contributions)) == set(declared)


def test_menus_are_ones_that_napari_shows(manifest: PluginManifest) -> None:
    # which ones plugins may add to is not public; napari ignores others in silence
    assert set(manifest.contributions.menus) <= {str(it) for it in MenuId.contributables()}


def test_docks_are_under_layers_segment_and_files_under_file(manifest: PluginManifest) -> None:
    menus = manifest.contributions.menus
    assert [it.command for it in menus["napari/layers/segment"]] == [
        "napari-sam3d.segment",
        "napari-sam3d.train",
    ]
    assert {"napari-sam3d.open_nifti", "napari-sam3d.save_masks"} <= {
        it.command for it in menus["napari/file/io_utilities"]
    }


def test_the_palette_has_what_needs_no_arguments(manifest: PluginManifest) -> None:
    """napari puts every command there that is not switched off."""
    offered = {it.id for it in manifest.contributions.commands if it.enablement != "False"}
    hidden = {it.id for it in manifest.contributions.commands} - offered
    assert {"napari-sam3d.segment", "napari-sam3d.train", "napari-sam3d.open_nifti"} <= offered
    assert {it.command for it in manifest.contributions.readers} <= hidden
    assert {it.command for it in manifest.contributions.writers} <= hidden
    titles = [it.title for it in manifest.contributions.commands]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "sub-01.ses.2.nii.gz", "A.NII.GZ", "a.hdr", "a.img"]
)
def test_nifti_files_are_ours(npe2pm, manifest, name) -> None:
    npe2pm.register(manifest)
    commands = [reader.command for reader in npe2pm.iter_compatible_readers([name])]
    assert commands == ["napari-sam3d.get_reader"]


def entry(menu: Any, *titles: str) -> Any:
    """An action of a menu, and of the menus in it, by the beginnings of their titles."""
    menu.aboutToShow.emit()
    (action,) = [it for it in menu.actions() if it.text().replace("&", "").startswith(titles[0])]
    return action if len(titles) == 1 else entry(action.menu(), *titles[1:])


@pytest.mark.parametrize(
    ("titles", "kind"),
    [
        (("layers", "Segment", "Segment (SAM 3D)"), SegmentWidget),
        (("plugins", "SAM 3D", "Segment"), SegmentWidget),
        (("layers", "Segment", "Train (SAM 3D)"), TrainWidget),
        (("plugins", "SAM 3D", "Train"), TrainWidget),
    ],
)
def test_a_click_in_the_menus_opens_a_dock(
    real_viewer, npe2pm, manifest, qtbot, titles, kind
) -> None:
    npe2pm.register(manifest)
    viewer = real_viewer(show=True)
    entry(getattr(viewer.window, f"{titles[0]}_menu"), *titles[1:]).trigger()
    (widget,) = viewer.window.dock_widgets.values()
    assert isinstance(widget, kind)
    qtbot.waitUntil(widget.isVisible)
    viewer.window.remove_dock_widget(widget)
    assert kind is TrainWidget or widget.runner.worker.wait(5)


def test_the_dock_opens_by_name(real_viewer, npe2pm, manifest, qtbot) -> None:
    npe2pm.register(manifest)
    viewer = real_viewer()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sam3d", "Segment")
    assert isinstance(widget, SegmentWidget)
    assert widget.controls.status.text() == "Open a 3D image to begin."
    viewer.window.remove_dock_widget(dock)
    assert widget.runner.worker.wait(5)
