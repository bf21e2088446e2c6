"""The tables of benchmarks, from what these have saved as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "benchmarks"
_MOST_ROWS = 60
"""A longer table is told by the means of its groups."""
_MOST_KINDS = 12
"""Values that a column may have that groups are made by."""
_NUMBERS = ("label", "id", "seed", "number")
"""Columns whose numbers have no mean."""


def benchmark_tables(folder: Path = FOLDER) -> str:
    """A section for each file of results, in Markdown."""
    return "\n\n".join(_section(path, folder) for path in files(folder))


def files(folder: Path = FOLDER) -> list[Path]:
    """The files of results; those in the folder `results` replace older ones of the same name."""
    found = {path.name: path for path in folder.glob("*.json")}
    found |= {path.name: path for path in folder.glob("results/*.json")}
    return [found[name] for name in sorted(found)]


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a file says of all its rows, and the rows; either may be empty."""
    found = json.loads(path.read_text("utf-8"))
    about: dict[str, Any] = {}
    if isinstance(found, Mapping):
        about = {name: value for name, value in found.items() if name != "rows"}
        found = found.get("rows") or []
    return about, [row for row in found if isinstance(row, Mapping)]


def _section(path: Path, folder: Path) -> str:
    about, rows = read(path)
    title = str(about.get("part") or path.stem).replace("_", " ")
    parts = [f"## {title[0].upper()}{title[1:]}", str(about.get("headline", "")), _made(about)]
    parts.append(_written(path, about) or (table(rows) if rows else ""))
    place = f"benchmarks/{path.relative_to(folder).as_posix()}"
    parts.append(f"All figures: `{place}`, {len(rows)} rows.")
    return "\n\n".join(part for part in parts if part)


def _made(about: Mapping[str, Any]) -> str:
    """By which command, when and on what."""
    on = about.get("machine")
    machine = on if isinstance(on, Mapping) else {}
    words = [
        f"`{about['command']}`" if about.get("command") else "",
        str(about.get("when") or "")[:10],
        f"{machine['cores']} cores" if machine.get("cores") else "",
        f"{machine['memory_gb']} GB" if machine.get("memory_gb") else "",
        f"PyTorch {machine['torch']}" if machine.get("torch") else "",
    ]
    return ", ".join(word for word in words if word)


def _written(path: Path, about: Mapping[str, Any]) -> str:
    """The tables that the benchmark itself made of these figures, if it did."""
    beside = path.with_suffix(".md")
    if not beside.is_file() or not about.get("headline"):
        return ""
    _, _, told = beside.read_text("utf-8").partition("\n\n")
    same, _, tables = told.partition("\n\n")
    if same.strip() != str(about["headline"]):
        return ""  # of figures from before
    return re.sub(r"^#", "##", tables.partition("\n\n")[2].strip(), flags=re.MULTILINE)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of any columns as a table; means of groups when there are many rows."""
    rows = list(rows) if len(rows) <= _MOST_ROWS else means(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line([name.replace("_", " ") for name in names]), _line(["---"] * len(names))]
    lines += [_line([said(row.get(name)) for name in names]) for row in rows]
    return "\n".join(lines)


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean of each number over the rows that agree in all columns with few words."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    words = [name for name in names if any(isinstance(row.get(name), str) for row in rows)]
    kinds = [name for name in words if len({row.get(name) for row in rows}) <= _MOST_KINDS]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in kinds), []).append(row)
    told = []
    for key, group in groups.items():
        told.append({**dict(zip(kinds, key, strict=True)), "rows": len(group)})
        for name in names:
            values = [row[name] for row in group if row.get(name) is not None]
            whole = len(values) == len(group) and name not in (*words, *_NUMBERS)
            mean = _mean(values) if whole else None
            if mean is not None:
                told[-1][name] = mean
    return told


def said(value: Any) -> str:
    """A cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if 0.1 <= abs(value) < 10:
            return f"{value:.2f}"
        return f"{value:.2g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said(it)}" for name, it in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " / ".join(said(it) for it in value).replace(" ", "\u00a0")
    return str(value).replace("|", "\\|").replace("\n", " ")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _mean(values: Sequence[Any]) -> Any:
    """Of numbers, or of lists of numbers of one length; None of anything else."""
    if all(_is_number(value) for value in values):
        return sum(values) / len(values)
    if all(isinstance(value, list) and all(map(_is_number, value)) for value in values):
        if len({len(value) for value in values}) == 1:
            return [sum(column) / len(values) for column in _columns(values)]
    return None


def _columns(values: Sequence[Sequence[float]]) -> Iterator[tuple[float, ...]]:
    return zip(*values, strict=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
