"""The npe2 manifest: what it names exists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest

from napari_sam3d._tests.plugin.conftest import MANIFEST
from napari_sam3d.plugin.segment_widget import SegmentWidget

KNOWN_MENUS = {"napari/file/io_utilities", "napari/layers/segment"}
"""Menus that napari lets plugins add to; it ignores others in silence."""


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
    assert set(manifest.contributions.menus) <= KNOWN_MENUS


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "sub-01.ses.2.nii.gz", "A.NII.GZ", "a.hdr", "a.img"]
)
def test_nifti_files_are_ours(npe2pm, manifest, name) -> None:
    npe2pm.register(manifest)
    commands = [reader.command for reader in npe2pm.iter_compatible_readers([name])]
    assert commands == ["napari-sam3d.get_reader"]


def test_the_dock_opens_from_the_menu(real_viewer, npe2pm, manifest, qtbot) -> None:
    npe2pm.register(manifest)
    viewer = real_viewer()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sam3d", "Segment")
    assert isinstance(widget, SegmentWidget)
    assert widget.controls.status.text() == "Open a 3D image to begin."
    viewer.window.remove_dock_widget(dock)
    assert widget.runner.worker.wait(5)
