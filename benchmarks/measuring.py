"""Seconds and memory of a piece of work, in this process or in one of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

_Found = TypeVar("_Found")


def timed(work: Callable[[], _Found], repeats: int = 1) -> tuple[_Found, float]:
    """What `work` returned last, and the median of its seconds."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - began)
    return found, median(seconds)


def memory_mb(mark: str) -> float:
    """A line of Linux's /proc/self/status, VmRSS or VmHWM, in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(mark):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"This system does not tell {mark}.")


def reset_peak() -> None:
    """Forget the high-water mark of memory so far."""
    Path("/proc/self/clear_refs").write_text("5")


def alone(function: Callable[..., _Found], *given: Any) -> _Found:
    """What a function returns in a fresh process, where nothing is loaded and no memory taken."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given).result()
