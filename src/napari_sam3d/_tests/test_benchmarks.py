"""The benchmarks run as one command, and what they leave has one form."""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
if not (BENCHMARKS / "run.py").exists():
    pytest.skip("the benchmarks are in a checkout only", allow_module_level=True)

RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))
TINY = "--sides 8 16 --objects 1 --clicks 1 2 --session-side 16 --repeats 1 --threads 1"
SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from report import save
from pathlib import Path
{body}
output = Path(sys.argv[sys.argv.index("--output") + 1])
save("{name}", output, [{{"voxels": 27, "seconds": 0.123456789}}], "27 voxels", "a table")
"""


@pytest.fixture
def run(monkeypatch):
    """The module `run` of the benchmarks, whose folder is looked through for its imports."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module("run")
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


@pytest.fixture
def part(run, tmp_path):
    """Makes a part of a script with a body of its own."""

    def make(name, body="", **fields):
        script = tmp_path / f"{name}.py"
        script.write_text(SCRIPT.format(folder=str(BENCHMARKS), name=name, body=body))
        return run.Part(name, f"what {name} tells", (str(script),), **fields)

    return make


def states(outcomes):
    return {outcome.part.name: outcome.state for outcome in outcomes}


def test_a_part_leaves_its_figures_and_a_row_in_the_summary(run, part, tmp_path):
    options = run.Run(output=tmp_path / "out")
    assert states(run.run(options, [part("one")])) == {"one": "measured"}
    told = json.loads((tmp_path / "out" / "one.json").read_text())
    assert told["rows"] == [{"voxels": 27, "seconds": 0.12346}]
    assert told["command"] == "python one.py"
    assert "a table" in (tmp_path / "out" / "one.md").read_text()
    assert "| [one](one.md) | what one tells | 27 voxels |" in (
        tmp_path / "out" / "README.md"
    ).read_text("utf-8")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md",
        "one.json",
        "one.md",
    ]


def test_what_was_measured_is_measured_again_only_when_asked(run, part, tmp_path):
    parts = [part("one", f"open({str(tmp_path / 'ran')!r}, 'a').write('.')")]
    for again, state, ran in [
        (False, "measured", 1),
        (False, "from before", 1),
        (True, "measured", 2),
    ]:
        options = run.Run(output=tmp_path / "out", again=again)
        assert states(run.run(options, parts)) == {"one": state}
        assert len((tmp_path / "ran").read_text()) == ran
    assert states(run.run(run.Run(output=tmp_path / "out", only=("one",)), parts, ["--side", "8"]))
    assert len((tmp_path / "ran").read_text()) == 3  # another command


def test_figures_of_another_machine_are_not_taken_for_those_of_this_one(run, part, tmp_path):
    parts, options = [part("one")], run.Run(output=tmp_path / "out")
    run.run(options, parts)
    path = tmp_path / "out" / "one.json"
    path.write_text(path.read_text().replace('"cores": ', '"cores": 10'))
    assert states(run.run(options, parts)) == {"one": "measured"}


def test_a_part_that_fails_is_told_and_the_others_go_on(run, part, tmp_path, capsys):
    parts = [
        part("raising", "raise ValueError('no more voxels')"),
        part("killed", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"),
        part("silent", "sys.exit()"),
        part("last"),
    ]
    outcomes = run.run(run.Run(output=tmp_path / "out"), parts)
    assert list(states(outcomes).values()) == ["failed", "failed", "failed", "measured"]
    assert outcomes[0].reason == "exit code 1: ValueError: no more voxels"
    assert outcomes[2].reason == "it ended without figures"
    if os.name == "posix":
        assert outcomes[1].reason == "ended by signal 15"
    summary = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "| raising | what raising tells | (failed in the last run) |" in summary
    out = capsys.readouterr().out
    assert summary in out
    assert "raising failed: exit code 1: ValueError: no more voxels" in out


def test_a_part_that_fails_leaves_its_earlier_figures(run, part, tmp_path):
    options = run.Run(output=tmp_path / "out", again=True)
    run.run(options, [part("one")])
    before = (tmp_path / "out" / "one.json").read_text()
    assert states(run.run(options, [part("one", "raise OSError")])) == {"one": "failed"}
    assert (tmp_path / "out" / "one.json").read_text() == before


def test_a_part_without_what_it_needs_is_left_out_and_says_why(run, part, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    parts = [
        part("data", needs=("data",)),
        part("screen", needs=("screen",)),
        part("module", needs=("no_such_module",)),
        part("long", hours=True),
        part("large", quick=None, lacks="the large"),
    ]
    outcomes = run.run(run.Run(output=tmp_path / "out", quick=True), parts)
    assert set(states(outcomes).values()) == {"left out"}
    assert [outcome.reason for outcome in outcomes] == [
        "needs labelled volumes: --data DIR, a folder with index.csv",
        "needs a screen, or Xvfb with xvfb-run",
        "needs the module no_such_module, which the extra `test` of the package brings",
        "takes hours; ask for it with --only long",
        "a quick run leaves out the large",
    ]


def test_damaged_figures_are_told(run, part, tmp_path):
    (tmp_path / "one.json").write_text("[]")
    (outcome,) = run.run(run.Run(output=tmp_path), [part("one")])
    assert outcome.state == "failed"
    assert outcome.reason.startswith("one.json has not the fields part, when")


def test_a_mistake_in_the_command_is_one_sentence(run, capsys):
    assert run.main(["--only", "growht"]) == 2
    assert capsys.readouterr().err.startswith("There is no part growht; there are accuracy,")
    assert run.main(["--only", "growth", "io", "--", "--sides", "8"]) == 2
    assert capsys.readouterr().err.startswith("Words after -- need one part")


def test_commands_name_neither_data_nor_output(run):
    report = sys.modules["report"]
    words = [str(BENCHMARKS / "io.py"), "--data", "/d/x", "--repeats", "2", "--output", "o.json"]
    assert report.command(words) == "python benchmarks/io.py --data DIR --repeats 2"
    words = ["/elsewhere/b.py", "--data=/d", "--out=/o", "/p/q"]
    assert report.command(words) == "python b.py --data DIR DIR"


@pytest.mark.parametrize(
    ("late", "said"),
    [(0.3, "flat: click 32 takes 1.5 times"), (0.32, "not flat: click 32 takes 1.6 times")],
)
def test_growth_tells_whether_late_clicks_cost_more(run, late, said):
    tables = importlib.import_module("growth_tables")
    seconds = {1: 0.9, 2: 0.2, 32: late}
    rows = [{"by": "clicks", "value": n, "click_s": s} for n, s in seconds.items()]
    assert said in tables.tables(rows)
    assert "| 1 | 0.900 | 4.5 |" in tables.tables(rows)


def test_numbers_stand_right_and_words_left(run):
    table = sys.modules["report"].table(["a", "b", "c"], [["3D", "1.5 s", "1 / 2"], ["x", "", "y"]])
    assert table == "| a | b | c |\n| --- | ---: | --- |\n| 3D | 1.5 s | 1 / 2 |\n| x |  | y |"


def test_every_part_has_its_script(run):
    missing = [p.name for p in run.PARTS if not (BENCHMARKS / p.words[0]).exists()]
    assert missing == []


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_have_one_form(run, path):
    report = sys.modules["report"]
    text = path.read_text("utf-8")
    told = report.load(path)
    assert told["part"] == path.stem
    assert path.stem in [part.name for part in run.PARTS]
    assert datetime.fromisoformat(told["when"]).utcoffset() is not None
    assert set(told["machine"]) == set(report.machine())
    assert told["command"].startswith("python benchmarks/")
    assert told["headline"]
    assert told["rows"]
    assert all(isinstance(row, dict) for row in told["rows"])
    nested = [it for row in told["rows"] for it in row.values() if isinstance(it, dict)]
    assert nested == []
    assert len(text.splitlines()) < 2000
    assert not re.search(r'["\s=](~|/\w+)/', text), "a path of a machine"
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text), "the name of a machine"
    assert path.with_suffix(".md").read_text("utf-8").startswith(f"# {path.stem}\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="weighs memory by Linux's /proc")
def test_growth_runs_and_is_not_measured_twice(tmp_path):
    words = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", "--only", "growth"]
    words += ["--output", str(tmp_path), "--", *TINY.split()]
    for said in ("measured in", "measured before by the same command"):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout
    rows = json.loads((tmp_path / "growth.json").read_text())["rows"]
    assert [(row["by"], row["value"]) for row in rows] == [
        ("side", 8),
        ("side", 16),
        ("objects", 1),
        ("clicks", 1),
        ("clicks", 2),
    ]
