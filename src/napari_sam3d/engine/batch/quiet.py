"""Ctrl+C and the logs of dask, kept from where they do harm."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOTHING = logging.CRITICAL + 1
"""Level of a log that says nothing."""


@contextmanager
def held() -> Iterator[None]:
    """Keep Ctrl+C until the end of a block, and for good from the threads and processes made in it.

    dask is not made for being stopped half way through starting, or closing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # which does not get it
        return
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    masks = sys.platform != "win32"
    if masks:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def silent() -> Iterator[None]:
    """Without what dask logs: deaths and lost connections are told in sentences, by others."""
    loud: list[Any] = [logging.getLogger(name) for name in ("tornado", "asyncio")]
    loud += logging.getLogger("distributed").handlers
    before = [(it, it.level) for it in loud]
    for it, _ in before:
        it.setLevel(NOTHING)
    try:
        yield
    finally:
        for it, level in before:
            it.setLevel(level)
