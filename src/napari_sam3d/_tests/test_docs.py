"""What the documentation site says is so: its generated parts, links, commands and code."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import textwrap
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import tyro

import napari_sam3d
from napari_sam3d import InferenceSettings, Point, Prompts, cli, load_predictor
from napari_sam3d.catalog import MODELS
from napari_sam3d.engine import releases

ROOT = Path(__file__).parents[3]
DOCS, TOOLS = ROOT / "docs", ROOT / "scripts" / "docs"
if not TOOLS.exists():
    pytest.skip("the tests run outside a checkout", allow_module_level=True)
PAGES = sorted(DOCS.glob("*.md"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module beside the hooks of the site."""
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n.*?^ *```$", page.read_text("utf-8"), re.M | re.S)
    return [textwrap.dedent(block).split("\n", 1)[1].removesuffix("```") for block in found]


def commands(kinds: Any) -> dict[tuple[str, ...], type]:
    """The words and the class of each command in a union, and of those after it."""
    found: dict[tuple[str, ...], type] = {}
    for kind in get_args(kinds):
        it, marks = bare(kind), getattr(kind, "__metadata__", ())
        if hasattr(it, "run"):
            given = [mark.name for mark in marks if getattr(mark, "name", None)]
            words = (given[0] if given else it.__name__.lower(),)
            found[words] = it
            for hint in get_type_hints(it, include_extras=True).values():
                found |= {(*words, *more): sub for more, sub in commands(bare(hint)).items()}
    return found


def bare(kind: Any) -> Any:
    """A type without annotations."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


@pytest.fixture
def all_commands(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, ...], type]:
    """As the command line is made from them."""
    given: list[Any] = []

    def take(kinds: Any, **more: Any) -> None:
        given.append(kinds)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tyro, "cli", take)
        cli.main([])
    return commands(given[0])


def test_every_command_has_its_help_on_the_page(tool, all_commands):
    page = tool("command_help").command_pages()
    headed = re.findall(r"^##+ `napari-sam3d ([\w -]+)`$", page, re.M)
    assert {tuple(words.split()) for words in headed} == set(all_commands)
    assert len(headed) == len(all_commands) > 5
    for words in all_commands:
        assert f"usage: napari-sam3d {' '.join(words)} [-h]" in page
    assert "--overwrite" in page and not set("│╭╰\x1b") & set(page)


def test_every_model_is_in_the_table_with_its_licence(tool):
    lines = tool("model_table").model_table().splitlines()[2:]
    assert len(lines) == len(MODELS)
    for line, spec in zip(lines, MODELS.values(), strict=True):
        assert f"`{spec.name}`" in line and line.endswith(f" {spec.weights.licence} |")
        assert (spec.weights.page in line) and line.count("|") == lines[0].count("|")


def test_every_public_name_has_an_entry(tool):
    paths = tool("public_names").paths()
    assert [path.rsplit(".", 1)[1] for path in paths] == napari_sam3d.__all__[:-1]
    for path in paths:
        module, name = path.rsplit(".", 1)
        assert getattr(importlib.import_module(module), name) is getattr(napari_sam3d, name)


def test_every_mark_of_a_page_is_filled(tool):
    marks = {
        m for page in PAGES for m in re.findall(r"<!-- generated: (.*?) -->", page.read_text())
    }
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    assert marks == set(tool("hooks").GENERATED)


def test_results_of_benchmarks_become_tables(tool, tmp_path):
    tables = tool("benchmark_tables")
    (tmp_path / "old.json").write_text(json.dumps([{"a": 1, "dice": [0.5, 0.25]}, {"b": None}]))
    rows = [{"way": "ab"[n % 2], "name": str(n), "label": n, "x": n} for n in range(100)]
    told = {"part": "new part", "headline": "So it is.", "machine": {"cores": 2}, "rows": rows}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "new.json").write_text(json.dumps(told))
    (tmp_path / "results" / "none.json").write_text("[]")
    text = tables.benchmark_tables(tmp_path)
    assert text.index("## New part") < text.index("## None") < text.index("## Old")
    assert "| 1 | 0.50\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}0.25 |  |" in text
    assert "So it is.\n\n2 cores\n\n| way | rows | x |" in text
    assert "| a | 50 | 49 |" in text and "| b | 50 | 50 |" in text
    (tmp_path / "results" / "new.md").write_text("# new\n\nSo it is.\n\n`x`\n\n| own |\n|---|\n")
    assert "| own |" in tables.benchmark_tables(tmp_path)
    (tmp_path / "results" / "new.md").write_text("# new\n\nSo it was.\n\n`x`\n\n| own |\n|---|\n")
    assert "| own |" not in tables.benchmark_tables(tmp_path), "of figures from before"


def test_figures_of_benchmarks_are_shown(tool):
    tables = tool("benchmark_tables")
    assert tables.files()
    for path in tables.files():
        rows = tables.read(path)[1]
        assert (
            rows and f"benchmarks/{path.relative_to(ROOT / 'benchmarks').as_posix()}`, {len(rows)}"
        )


@each_page
def test_links_and_pictures_lead_somewhere(page):
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    made = {"changes.md", "contributing.md", "model-card.md"}  # by the hooks
    missing = [t for t in targets if "://" not in t and t not in made and not (DOCS / t).exists()]
    assert missing == []


@each_page
def test_files_of_the_repository_that_are_named_exist(page):
    named = re.findall(
        r"`(?:python )?((?:benchmarks|recipes|scripts)/[\w./-]*)", page.read_text("utf-8")
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@each_page
def test_no_page_has_a_path_of_a_machine(page):
    found = re.findall(
        r"(?<![\w.:/])/(?:root|home|work|tmp|Users|mnt)/\S*", page.read_text("utf-8")
    )
    assert found == [] and "C:\\" not in page.read_text("utf-8")


@each_page
def test_commands_are_understood(page, all_commands, monkeypatch):
    ran: list[Any] = []
    for command in all_commands.values():
        monkeypatch.setattr(command, "run", lambda self: ran.append(self))
    for line in "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line, comments=True) or [""]
        if program == "napari-sam3d":
            ran.clear()
            assert cli.main(words) == 0 and len(ran) == 1, line
            assert words[0] == type(ran[0]).__name__.lower()
        elif program.startswith("./"):
            assert (ROOT / program).is_file(), line
        elif program == "python" and words[0].startswith("benchmarks/"):
            assert (ROOT / words[0]).exists(), line


def test_the_model_of_the_page_works_and_can_be_registered(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM3D_MODELS", str(tmp_path))
    said: dict[str, Any] = {}
    for code in blocks(DOCS / "adding-a-model.md", "python"):
        exec(compile(code, "adding-a-model.md", "exec"), said)
    mask, sample = said["mask"], said["sample"]
    kidney = sample.labels == next(n for n, it in sample.label_names.items() if it == "left kidney")
    assert 2 * (mask & kidney).sum() / (mask.sum() + kidney.sum()) > 0.5
    monkeypatch.setitem(MODELS, "alike", said["ALIKE"])
    monkeypatch.setattr(releases, "_network", said["network"])
    predictor = load_predictor(InferenceSettings(model="alike"))
    prediction = predictor.predict(sample.volume, Prompts().add(Point((74.0, 103.0, 139.0))))
    np.testing.assert_array_equal(prediction.full(mask.shape), mask)
    chosen = [
        name for name, _ in predictor.model.named_parameters() if said["Alike"].is_adapter(name)
    ]
    assert chosen == ["tolerance", "reach"]
