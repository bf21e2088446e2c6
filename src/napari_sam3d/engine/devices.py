"""Where a network runs and in which number format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

_FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, mps, cuda or cuda:N.

    Raises
    ------
    ValueError
        When there is no such device on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "mps", "cuda"):
        raise ValueError(f"Unknown device {name!r}; use auto, cpu, mps, cuda or cuda:N.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ValueError(f"Device {name!r} is not here: torch sees {count} CUDA devices.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("Device 'mps' is not here: torch sees no Apple GPU.")
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format called `name`; auto takes half precision where the device is fast at it.

    Raises
    ------
    ValueError
        For a name other than auto, fp32, bf16 and fp16.
    """
    if name in _FORMATS:
        return _FORMATS[name]
    if name != "auto":
        raise ValueError(f"Unknown precision {name!r}; use auto, {', '.join(_FORMATS)}.")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    if device.type == "cpu" and _cpu_is_fast_at_bf16():
        return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """A context in which networks compute in `precision`."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def _cpu_is_fast_at_bf16() -> bool:
    # torch before 2.10 cannot tell
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
