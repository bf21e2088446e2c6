"""Imports torch in a thread while the window stays alive."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path


def import_engine() -> None:
    """Import what runs models, and torch with it.

    Python lets no other thread run while it loads a library for `import`, which takes torch's a
    third of a second, nor while it looks for garbage among the many objects of a new package.
    """
    leave_triton_out()
    if "torch" not in sys.modules:
        _load_libraries()
    with collector_resting():
        import napari_sam3d.engine.predictor  # noqa: F401


def leave_triton_out() -> None:
    """Have torch do without its compiler where that would end the program.

    triton brings an LLVM of its own, and breaks off when the one of Mesa is there already, which
    draws windows without a graphics card, and with some. We compile nothing; optimisers and monai
    merely look whether it is there.
    """
    if sys.platform == "linux" and "triton" not in sys.modules:
        with suppress(OSError):
            if "libLLVM" in Path("/proc/self/maps").read_text(errors="replace"):
                sys.modules["triton"] = None  # type: ignore[assignment]  # cannot be imported


@contextmanager
def collector_resting() -> Iterator[None]:
    """No search for garbage meanwhile, nor at the end among what has come since the beginning."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # both together: all objects are old ones, without a look at each of them
        gc.enable()


def _load_libraries() -> None:
    """Have the system load torch's libraries; where that fails, `import torch` does it."""
    spec = find_spec("torch")
    if sys.platform != "linux" or spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    # called like this it runs without Python's lock, which `ctypes.CDLL` holds in Python 3.11
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    # as torch loads them; neither knows Python, and the second one brings all the others
    dlopen(os.fsencode(folder / "libtorch_global_deps.so"), os.RTLD_LAZY | os.RTLD_GLOBAL)
    dlopen(os.fsencode(folder / "libtorch.so"), os.RTLD_LAZY)
