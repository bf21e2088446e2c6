"""What the site has beside the files in `docs/`: generated parts, and files from elsewhere."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark_tables import benchmark_tables
from command_help import command_pages
from key_table import key_table
from mkdocs.structure.files import File
from model_table import model_table
from public_names import example, public_names

ROOT = Path(__file__).parents[2]
BORROWED = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "recipes/compact/MODEL_CARD.md": "model-card.md",
}
"""Files of the repository that are pages, too."""
GENERATED: dict[str, Callable[[], str]] = {
    "benchmarks": benchmark_tables,
    "commands": command_pages,
    "example": example,
    "keys": key_table,
    "models": model_table,
    "python": public_names,
}
"""What stands where a page says `<!-- generated: NAME -->`."""
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from elsewhere."""
    for source, page in BORROWED.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Write what is generated, and lead links of the repository to pages."""
    source = next((s for s, p in BORROWED.items() if p == page.file.src_uri), None)
    folder = (ROOT / source).parent if source else ROOT / "docs"
    with warnings.catch_warnings(action="ignore"):  # of libraries among themselves
        filled = _MARK.sub(lambda found: GENERATED[found[1]](), markdown)
    return _LINK.sub(lambda found: f"]({_page(found[1], folder)}{found[2] or ''})", filled)


def _page(target: str, folder: Path) -> str:
    """Where a link leads within the site; as it is when it leads nowhere else."""
    path = (folder / target).resolve()
    if not path.is_relative_to(ROOT):
        return target
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return BORROWED.get(name, target)
