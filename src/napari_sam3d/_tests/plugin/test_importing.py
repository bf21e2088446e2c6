"""Torch comes without a stall, and the garbage collector is as it was."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from napari_sam3d.plugin import importing
from napari_sam3d.plugin.importing import collector_resting


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


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are loaded ahead on Linux only")
def test_the_libraries_are_there_before_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from napari_sam3d.plugin import importing\n"
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
