"""Runs and adapters of the tests stay among themselves."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch, one_thread):
    monkeypatch.setenv("NAPARI_SAM3D_DATA", str(tmp_path))
    return tmp_path
