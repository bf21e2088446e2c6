"""What all benchmarks leave: rows of figures in one form of JSON, and a table.

A file of results holds `part`, `when` (UTC), `machine`, `command`, `headline` and `rows`; a row is
flat and stands on a line of its own. No path and no name of a machine gets into it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIELDS = ("part", "when", "machine", "command", "headline", "rows")
OUTPUTS = ("--output", "--out", "--figures")
"""Options that say where figures go, which does not change them."""
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
_DIGITS = 5


def save(
    part: str, path: Path, rows: Sequence[Mapping[str, Any]], headline: str, text: str = ""
) -> None:
    """Write results.

    Parameters
    ----------
    part
        Name of the benchmark.
    path
        Where the JSON goes; a Markdown file of the same name goes beside it.
    rows
        The figures.
    headline
        What they say, in a line.
    text
        Tables for people, in Markdown; without them there is no Markdown file.
    """
    told = {
        "part": part,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "command": command(sys.argv),
        "headline": headline,
    }
    write(path, told, rows, text)


def write(path: Path, told: dict[str, Any], rows: Iterable[Mapping[str, Any]], text: str) -> None:
    """Put results into place: all other fields, a line for each row, and tables beside them."""
    head = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in told.items()]
    body = ",\n".join("  " + json.dumps(_plain(row)) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    partly = path.with_name(f".{path.name}.part")
    partly.write_text("{\n" + ",\n".join([*head, f'"rows": [\n{body}\n]']) + "\n}\n", "utf-8")
    partly.replace(path)  # in one step: a benchmark that is stopped leaves no half file
    if text:
        about = f"`{told['command']}`, {told['when'][:10]}, {described(told['machine'])}"
        parts = [f"# {told['part']}", told["headline"], about, text.strip()]
        path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", "utf-8")


def load(path: Path) -> dict[str, Any]:
    """What is in a file of results.

    Raises
    ------
    ValueError
        When it is none.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON ({error}); delete it to measure anew.") from None
    if not isinstance(found, dict) or set(found) != set(FIELDS):
        fields = ", ".join(FIELDS)
        raise ValueError(f"{path.name} has not the fields {fields}; delete it to measure anew.")
    return found


def rows_before(path: Path) -> list[dict[str, Any]]:
    """The rows that the same command left there on this machine; none when it did not."""
    return load(path)["rows"] if path.exists() and is_of(path, command(sys.argv)) else []


def is_of(path: Path, asked: str) -> bool:
    """Whether results come from a command, on a machine such as this one."""
    found = load(path)
    return found["command"] == asked and found["machine"] == machine()


def machine() -> dict[str, Any]:
    """What of this machine makes figures larger or smaller."""
    import psutil

    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = None
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "processor": platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in _processor_flags()],
        "python": platform.python_version(),
        "torch": torch,
    }


def described(found: Mapping[str, Any]) -> str:
    """A machine in a few words; what nobody wrote down is left out."""
    flags = [flag for flag in found["flags"] or () if "bf16" in flag or "512f" in flag]
    words = [
        *([f"{found['cores']} cores"] if found["cores"] else []),
        *([f"{found['memory_gb']} GB"] if found["memory_gb"] else []),
        *flags,
        *([f"torch {found['torch']}"] if found["torch"] else []),
    ]
    return ", ".join(words)


def command(words: Sequence[str]) -> str:
    """A command as anybody would type it: without the places of data and figures."""
    kept, rest = [_script(words[0])], iter(words[1:])
    for word in rest:
        option, equals, _ = word.partition("=")
        if option in (*OUTPUTS, "--data") and not equals:
            next(rest, None)
        if option == "--data":
            kept += [option, "DIR"]
        elif option not in OUTPUTS:
            kept.append("DIR" if os.sep in word else word)
    return shlex.join(["python", *kept])


def table(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Markdown; columns of numbers are set right."""
    cells = [[str(cell) for cell in line] for line in lines]
    right = [all(_is_number(line[n]) for line in cells) for n in range(len(heads))]
    rows = [list(heads), ["---:" if it else "---" for it in right], *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def times(value: float, of: float) -> str:
    """A ratio to the smallest case."""
    return f"{value / of:.1f}" if of > 0 else ""


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"([*+-]*[\d.,]+( ?[%A-Za-z]{1,2})?\**)?", cell) is not None


def _script(word: str) -> str:
    path = Path(word).resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def _processor_flags() -> set[str]:
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = (line.partition(":") for line in told.splitlines())
    return {
        flag
        for name, _, value in lines
        if name.strip() in ("flags", "Features")
        for flag in value.split()
    }


def _plain(value: Any) -> Any:
    """What JSON takes, its floats in few digits; what is no number is null."""
    if isinstance(value, Mapping):
        return {name: _plain(it) for name, it in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(it) for it in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
