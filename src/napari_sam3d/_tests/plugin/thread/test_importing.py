"""Torch comes without a stall, and the garbage collector is as it was."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest

from napari_sam3d.plugin.thread import importing
from napari_sam3d.plugin.thread.importing import collector_resting


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_nothing_is_collected_meanwhile_and_everything_later() -> None:
    gc.collect()
    with collector_resting():
        many = [[i] for i in range(100_000)]
        gone = weakref.ref(Knot())
        assert gone() is not None and gc.get_count()[0] > len(many) / 2
    assert gc.isenabled() and gc.get_count()[0] < 1000  # there is no look at each of them now
    gc.collect()
    assert gone() is None


def test_the_collector_comes_back_after_an_error_but_not_where_it_was_off() -> None:
    with pytest.raises(ImportError), collector_resting():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_resting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def run(code: str, **environment: str) -> str:
    words, around = [sys.executable, "-c", code], {**os.environ, **environment}
    done = subprocess.run(words, env=around, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_opening_the_dock_on_an_image_imports_nothing_that_takes_long() -> None:
    code = (
        "import os, sys\n"
        "from qtpy.QtWidgets import QApplication\n"
        "app = QApplication([])\n"
        "import numpy as np\n"
        "from napari.components import ViewerModel\n"
        "from napari_sam3d.plugin.segment_widget import SegmentWidget\n"
        "viewer = ViewerModel()\n"
        "viewer.add_image(np.zeros((8, 8, 8)), name='ct')\n"
        "dock = SegmentWidget(viewer, lambda settings, progress: object())\n"
        "slow = {'torch', 'requests', 'pooch', 'monai', 'cc3d', 'segment_anything'}\n"
        "print(dock.session.image, sorted(slow & set(sys.modules)), flush=True)\n"
        "os._exit(0)"
    )
    assert run(code, QT_QPA_PLATFORM="offscreen") == "ct []"


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are loaded ahead on Linux only")
def test_the_libraries_are_there_before_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from napari_sam3d.plugin.thread import importing\n"
        "importing._load_libraries()\n"
        "print('libtorch_cpu' in open('/proc/self/maps').read(), 'torch' in sys.modules)\n"
        "importing.import_engine()\n"
        "import torch\n"
        "print(float(torch.ones(2, 2).matmul(torch.ones(2, 2)).sum()))"
    )
    assert run(code).split() == ["True", "False", "8.0"]


@pytest.mark.parametrize("missing", ["torch", "libraries"])
def test_what_is_not_found_is_left_to_the_import(monkeypatch, tmp_path, missing) -> None:
    elsewhere = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})()
    found = None if missing == "torch" else elsewhere
    monkeypatch.setattr(importing, "find_spec", lambda name: found)
    importing._load_libraries()
    monkeypatch.setattr(sys, "platform", "win32")
    importing._load_libraries()


@pytest.mark.skipif(sys.platform != "linux", reason="triton is there on Linux only")
def test_triton_is_left_out_where_a_window_has_an_llvm() -> None:
    """Importing it then would end the program."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from napari_sam3d.plugin.thread import importing\n"
        "Path.read_text = lambda self, **_: maps\n"
        "maps = '7f00 r-xp /lib/libGL.so'\n"
        "importing.leave_triton_out()\n"
        "print('triton' in sys.modules)\n"
        "maps = '7f00 r-xp /usr/lib/libLLVM-15.so.1'\n"
        "importing.leave_triton_out()\n"
        "from torch.utils._triton import has_triton_package\n"
        "print(has_triton_package())\n"
    )
    assert run(code).splitlines() == ["False", "False"]
