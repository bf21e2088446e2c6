"""How much memory is taken meanwhile, and whether an error says that it is full."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil
import torch

_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
_EVERY = 0.02  # seconds


class Peak:
    """The most memory that was taken inside of it: `bytes` more than before it rose.

    On a GPU what torch allocates there, else what the process has in memory.

    Parameters
    ----------
    device
        Where the network runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes = 0
        self._device = device
        self._process = psutil.Process()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak memory", daemon=True)

    def __enter__(self) -> Peak:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._before = self._process.memory_info().rss
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before
            return
        self._left.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._left.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        now = self._process.memory_info().rss
        self._before = min(self._before, now)  # garbage of earlier work may go meanwhile
        self.bytes = max(self.bytes, now - self._before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full; on the CPU torch has no class for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(word in str(error).lower() for word in _NO_MEMORY)
