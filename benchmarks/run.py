"""Measure everything, each part in a process of its own, and keep figures and tables.

    python benchmarks/run.py --quick
    python benchmarks/run.py --data DIR --only accuracy io

A part that cannot run is left out and says why; one that fails is told and the others go on. What
was measured by the same command on such a machine is not measured again. Words after `--` go to
the one part that `--only` names:

    python benchmarks/run.py --only growth -- --sides 64 1024
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from parts import HERE, PARTS, Part
from report import command, described, is_of, load, table

RESULTS = HERE / "results"


@dataclass(frozen=True)
class Run:
    """Measure all parts, or some."""

    only: tuple[str, ...] = ()
    """Parts to measure; all of them when empty."""
    quick: bool = False
    """Smallest sizes, in about ten minutes; the figures go to a folder of their own."""
    data: Path | None = None
    """Folder with `index.csv` and the labelled volumes it lists."""
    output: Path | None = None
    """Folder of results; benchmarks/results, or quick in it, when None."""
    again: bool = False
    """Measure anew what is there."""


@dataclass(frozen=True)
class Outcome:
    """What became of a part."""

    part: Part
    state: str
    """measured, from before, left out or failed."""
    reason: str = ""
    seconds: float = 0.0

    def told(self) -> str:
        """In a few words."""
        match self.state:
            case "measured":
                return f"measured in {self.seconds:.0f} s"
            case "from before":
                return "measured before by the same command; --again measures anew"
        return f"{self.state}: {self.reason}"


def run(options: Run, parts: Sequence[Part] = PARTS, words: Sequence[str] = ()) -> list[Outcome]:
    """Measure, print and save.

    Parameters
    ----------
    options
        What is asked for.
    parts
        In the order of measuring.
    words
        More options of the one part that is named.

    Raises
    ------
    ValueError
        For a part that there is not, and for options without one part to give them to.
    """
    unknown = set(options.only) - {part.name for part in parts}
    if unknown:
        known = ", ".join(part.name for part in parts)
        raise ValueError(f"There is no part {', '.join(sorted(unknown))}; there are {known}.")
    if words and len(options.only) != 1:
        raise ValueError("Words after -- need one part to go to: name it with --only.")
    folder = options.output or (RESULTS / "quick" if options.quick else RESULTS)
    chosen = [part for part in parts if not options.only or part.name in options.only]
    outcomes = []
    for part in chosen:
        print(f"\n{part.name}: {part.about}", flush=True)
        if options.quick and part.lacks and not words:
            print(f"  quick: without {part.lacks}", flush=True)
        outcomes.append(measure(part, options, folder, words))
        print(f"  {outcomes[-1].told()}", flush=True)
    text = summary(folder, parts, outcomes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text, "utf-8")
    print(f"\n{text}")
    for outcome in outcomes:
        if outcome.state == "failed":
            print(f"{outcome.part.name} failed: {outcome.reason}")
    return outcomes


def measure(part: Part, options: Run, folder: Path, words: Sequence[str] = ()) -> Outcome:
    """Run one part, unless its figures are there; those of a part that fails stay as they were."""
    obstacle = part.obstacle(options.data, options.quick, part.name in options.only)
    if obstacle:
        return Outcome(part, "left out", obstacle)
    asked = part.command(options.data, options.quick, words)
    kept = folder / f"{part.name}.json"
    fresh = folder / "unfinished" / kept.name
    try:
        if kept.exists() and not options.again and is_of(kept, command(asked)):
            return Outcome(part, "from before")
    except ValueError as error:
        return Outcome(part, "failed", str(error))
    if options.again:
        fresh.unlink(missing_ok=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    reason = spoken([*part.before(), sys.executable, *asked, part.output, str(fresh.absolute())])
    seconds = time.perf_counter() - began
    if not reason and not fresh.exists():
        reason = "it ended without figures"
    if reason:
        return Outcome(part, "failed", reason, seconds)
    for suffix in (".json", ".md"):
        if fresh.with_suffix(suffix).exists():
            fresh.with_suffix(suffix).replace(kept.with_suffix(suffix))
    if not any(fresh.parent.iterdir()):
        fresh.parent.rmdir()
    return Outcome(part, "measured", seconds=seconds)


def spoken(words: Sequence[str]) -> str:
    """Run a command and pass on what it says; returns why it failed, or nothing."""
    last = ""
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        for line in process.stdout or ():
            print(f"  {line.rstrip()}", flush=True)
            last = line.strip() if any(map(str.isalnum, line)) else last
        code = process.wait()
    if code < 0:
        return f"ended by signal {-code}" + (f" after: {last}" if last else "")
    return f"exit code {code}: {last}" if code else ""


def summary(folder: Path, parts: Sequence[Part], outcomes: Sequence[Outcome]) -> str:
    """Markdown: a row for each part, with its figures or why there are none."""
    last = {outcome.part.name: outcome for outcome in outcomes}
    lines = []
    for part in parts:
        path, outcome = folder / f"{part.name}.json", last.get(part.name)
        lines.append([part.name, part.about, "", ""])
        if path.exists() and (found := readable(path)):
            tables = path.with_suffix(".md").name
            name = f"[{part.name}]({tables})" if (folder / tables).exists() else part.name
            when = f"{found['when'][:10]}, {described(found['machine'])}"
            lines[-1] = [name, part.about, found["headline"], when]
        if outcome and outcome.state in ("failed", "left out"):
            # why it failed may name places of this machine
            why = "failed in the last run" if outcome.state == "failed" else outcome.told()
            lines[-1][2] = f"{lines[-1][2]} ({why})".strip()
    cells = ([cell.replace("|", "/") for cell in line] for line in lines)
    about = "Written by `python benchmarks/run.py`; the JSON beside each table has all figures."
    return f"# Benchmarks\n\n{about}\n\n{table(['part', 'what', 'figures', 'measured'], cells)}\n"


def readable(path: Path) -> dict[str, Any] | None:
    """What is in a file of results, if it is one."""
    try:
        return load(path)
    except ValueError:
        return None


def main(words: Sequence[str]) -> int:
    """Exit status: 1 when a part failed, 2 for a mistake in the command."""
    words = list(words)
    at = words.index("--") if "--" in words else len(words)
    options = tyro.cli(Run, args=words[:at], description=__doc__)
    try:
        outcomes = run(options, words=words[at + 1 :])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What was measured is kept; the same command goes on.", file=sys.stderr)
        return 130
    return int(any(outcome.state == "failed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
