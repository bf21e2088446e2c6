"""The parts that `run.py` measures one after the other, and what each needs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A benchmark that leaves one file of results.

    Parameters
    ----------
    name
        Of the part and of its files.
    about
        What it measures.
    words
        Script in this folder, and its options.
    quick
        More options for a quick run; None when it is left out of quick runs.
    lacks
        What a quick run leaves out.
    needs
        Out of data, screen, linux, and modules that the package itself does not need.
    hours
        Whether it takes hours, and runs only when it is named.
    output
        Its option that says where the figures go.
    """

    name: str
    about: str
    words: tuple[str, ...]
    quick: tuple[str, ...] | None = ()
    lacks: str = ""
    needs: tuple[str, ...] = ()
    hours: bool = False
    output: str = "--output"

    def obstacle(self, data: Path | None, quick: bool, named: bool) -> str:
        """Why it cannot or should not run, or nothing."""
        if quick and self.quick is None:
            return f"a quick run leaves out {self.lacks}"
        if self.hours and not named:
            return f"takes hours; ask for it with --only {self.name}"
        if not (HERE / self.words[0]).exists():
            return f"benchmarks/{self.words[0]} is not there"
        for need in self.needs:
            if missing := _missing(need, data):
                return f"needs {missing}"
        return ""

    def command(self, data: Path | None, quick: bool, more: Sequence[str] = ()) -> list[str]:
        """Its script and options, without the place of the figures.

        Parameters
        ----------
        data, quick
            As `Run` has them.
        more
            Options that take the place of those of a quick run.
        """
        words = [str(HERE / self.words[0]), *self.words[1:]]
        words += more or ((self.quick or ()) if quick else ())
        return [*words, "--data", str(data)] if "data" in self.needs else words

    def before(self) -> list[str]:
        """What its command is run by: a hidden screen, where one is needed and there is none."""
        if "screen" not in self.needs or _has_screen():
            return []
        return ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]


def _missing(need: str, data: Path | None) -> str:
    match need:
        case "data":
            if data is None:
                return "labelled volumes: --data DIR, a folder with index.csv"
            return "" if (data / "index.csv").exists() else "index.csv in the folder of --data"
        case "screen":
            there = _has_screen() or shutil.which("xvfb-run")
            return "" if there else "a screen, or Xvfb with xvfb-run"
        case "linux":
            there = sys.platform == "linux"
            return "" if there else "Linux, by whose /proc it weighs memory"
    there = importlib.util.find_spec(need)
    return "" if there else f"the module {need}, which the extra `test` of the package brings"


def _has_screen() -> bool:
    shown = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return shown or sys.platform in ("darwin", "win32")


PARTS = (
    Part(
        "accuracy",
        "Dice over clicks of compact and of classical methods",
        ("accuracy.py",),
        ("--cases", "8", "--objects", "1"),
        "most volumes, and all objects of a volume but one",
        ("data", "skimage"),
    ),
    Part(
        "protocols",
        "Dice of compact by four published protocols, and what limits it",
        ("protocols.py",),
        None,
        "evaluations of all volumes, which take half an hour",
        ("data",),
    ),
    Part(
        "latency",
        "seconds of a click in a sample, beside a random walker",
        ("latency.py", "sample"),
        ("--repeats", "2"),
        needs=("skimage",),
    ),
    Part(
        "networks",
        "seconds and memory of a patch and of a click, each family at full size",
        ("latency.py", "networks"),
        ("--networks", "compact", "SAM-Med3D", "--encodings", "1", "--clicks", "3"),
        "3DSAM-adapter, MA-SAM and SAM, which take minutes",
        ("linux",),
    ),
    Part(
        "growth",
        "growth of cost with the volume, objects and clicks",
        ("growth.py", "--threads", "1"),  # two wait for each other where others work as well
        (
            *("--sides", "64", "128", "--objects", "1", "4", "--clicks", "1", "2", "8"),
            *("--session-side", "128", "--repeats", "1"),
        ),
        "volumes of 256 and 512 per side, and sessions of 16 and 64 objects",
        ("linux",),
    ),
    Part(
        "io",
        "seconds and memory of files, beside nibabel and SimpleITK",
        ("io.py",),
        ("--shape", "160", "160", "80", "--repeats", "1"),
        "files as large as those in a clinic",
        ("linux", "SimpleITK"),
    ),
    Part(
        "training",
        "seconds and memory of a training step, each family at full size",
        ("training.py",),
        ("--families", "compact", "--most", "2"),
        "all families but compact, whose steps take minutes",
        ("linux",),
    ),
    Part(
        "event_loop",
        "longest stalls of the window",
        ("event_loop.py",),
        ("--shape", "64", "128", "128", "--clicks", "1", "--repeats", "1"),
        "a volume of 300 x 512 x 512 voxels",
        ("screen",),
    ),
    Part(
        "large",
        "memory and seconds of the dock with a volume beyond memory and with many objects",
        ("large.py",),
        ("--edge", "400", "--count", "4"),
        "a lazy volume of 2000 voxels per side, and 50 objects",
        ("screen", "linux"),
    ),
    Part(
        "batch",
        "volumes a minute in one process and in two, one of them killed",
        ("batch.py",),
        ("--volumes", "12"),
        "28 of 40 volumes",
        ("linux",),
    ),
    Part(
        "few_shot",
        "what tuning on few volumes gains",
        ("few_shot.py",),
        None,
        "trainings, which take hours",
        ("data", "skimage"),
        hours=True,
        output="--figures",
    ),
)
