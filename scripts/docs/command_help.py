"""The page of the command line: what every command says after `--help`."""

from __future__ import annotations

import contextlib
import io
import os
import re
import textwrap
from collections.abc import Iterator
from unittest import mock

PROGRAM = "napari-sam3d"
WIDTH = 80
_BOXED = re.compile(r"^│ (.*?) *│$")
_TITLE = re.compile(r"^╭─ (.*?) ─+╮$")
_LISTED = re.compile(r"\{([\w,-]+)\}")


def command_pages() -> str:
    """A section for each command, in Markdown."""
    sections = []
    for words in commands():
        name = " ".join([PROGRAM, *words])
        level = "##" if len(words) == 1 else "###"
        sections.append(f"{level} `{name}`\n\n```text\n{plain(help_of(words))}\n```")
    return "\n\n".join(sections)


def commands(words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All commands, those of a command after it; as the usage line of each lists them."""
    usage = help_of(words).split("\n\n")[0]
    found = _LISTED.search(usage)
    for name in found[1].split(",") if found else ():
        yield (*words, name)
        yield from commands((*words, name))


def help_of(words: tuple[str, ...]) -> str:
    """What a command prints after `--help`."""
    from napari_sam3d import cli

    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # frames are drawn by its encoding
    plain_terminal = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    with (
        mock.patch.dict(os.environ, plain_terminal),
        contextlib.redirect_stdout(said),
        contextlib.suppress(SystemExit),
    ):
        cli.main([*words, "--help"])
    said.flush()
    return said.buffer.getvalue().decode("utf-8")


def plain(said: str) -> str:
    """The help without frames, which phones would break, and with long lines folded."""
    lines: list[str] = []
    for line in said.strip().splitlines():
        boxed, title = _BOXED.match(line), _TITLE.match(line)
        if title:
            lines += ["", f"{title[1]}:"]
        elif boxed:
            lines.append("" if set(boxed[1]) <= {"─"} else f"  {boxed[1]}")
        elif not line.startswith("╰"):
            lines += textwrap.wrap(line, WIDTH) or [""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
