"""What may import what, and what must not be imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import napari_sam3d

ROOT = Path(__file__).parents[3]
SLOW = ("torch", "torchvision", "monai", "segment_anything")
WINDOWED = ("napari", "qtpy", "magicgui", "superqt", "vispy")


def loaded_by(code: str, *packages: str) -> str:
    """Those of the packages that a fresh interpreter has imported after running the code."""
    report = f"import sys\n{code}\nprint(*[p for p in {packages!r} if p in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import napari_sam3d",
        "from napari_sam3d import Grid, Volume, Prompts, MODELS, InferenceSettings",
        "from napari_sam3d import read_nifti, write_labels",
        "from napari_sam3d.cli import main; main(['models'])",
        "from napari_sam3d.engine.batch import cluster, planning, running",
        "from napari_sam3d.cli import Demo, Segment; Demo(); Segment(image='ct.nii')",
    ],
)
def test_light_things_stay_light(code):
    assert loaded_by(code, *SLOW, *WINDOWED, "matplotlib") == ""


def test_the_engine_opens_no_window_and_loads_only_what_a_click_needs():
    loaded = loaded_by("import napari_sam3d.engine.predictor", *SLOW[1:], *WINDOWED)
    assert loaded == ""


@pytest.mark.parametrize(
    "module",
    ["files.reader", "files.writer", "files.sample_data", "segment_widget", "train_widget"],
)
def test_the_plugin_starts_without_torch(module):
    assert loaded_by(f"import napari_sam3d.plugin.{module}", *SLOW, "pyqtgraph") == ""


def test_the_list_of_models_needs_no_network_library():
    code = (
        "from napari_sam3d.catalog import MODELS\n"
        "from napari_sam3d.plugin.session.availability import describe, entry\n"
        "[(entry(spec), describe(spec)) for spec in MODELS.values()]"
    )
    assert loaded_by(code, *SLOW, "pooch", "requests") == ""


def test_public_names_resolve():
    for name in napari_sam3d.__all__:
        assert getattr(napari_sam3d, name) is not None
    assert set(napari_sam3d.__all__) <= set(dir(napari_sam3d))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        napari_sam3d.nonsense  # noqa: B018


def test_import_directions_hold():
    """The contracts of pyproject.toml: data -> engine -> plugin and command line."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("the tests run outside a checkout")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    words = [sys.executable, "-X", "utf8", "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def test_entry_points_resolve():
    (script,) = entry_points(group="console_scripts", name="napari-sam3d")
    assert callable(script.load())
    (manifest,) = entry_points(group="napari.manifest", name="napari-sam3d")
    assert manifest.value == "napari_sam3d:napari.yaml"
    assert (Path(napari_sam3d.__file__).parent / "napari.yaml").is_file()
