"""The folder of an evaluation: a file per case, written when it is done, and what they make."""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_sam3d.engine.evaluation.case_json import from_json, to_json
from napari_sam3d.engine.evaluation.challenge_scores import challenge_rows
from napari_sam3d.engine.evaluation.picture import draw
from napari_sam3d.engine.evaluation.results import CaseScores
from napari_sam3d.engine.evaluation.summary import Summary
from napari_sam3d.engine.evaluation.table import rows, table
from napari_sam3d.engine.evaluation.thumbnails import Thumbnail, load, save
from napari_sam3d.io.datasets import CaseFiles
from napari_sam3d.io.json_file import other_keys, read_json, write_text
from napari_sam3d.io.stamps import stamp_of

KIND, VERSION = "napari-sam3d evaluation", 1
CASE_KIND = "napari-sam3d case"


class ResultsFolder:
    """Where the files of one evaluation are.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "evaluation.json"
        self.table = path / "table.md"
        self.csv = path / "results.csv"
        self.challenge = path / "challenge.csv"
        self.json = path / "results.json"
        self.picture = path / "picture.png"
        self._cases = path / "cases"

    def begin(self, config: Mapping[str, Any]) -> None:
        """Make the folder, or go on in it.

        Parameters
        ----------
        config
            All that the scores depend on beside the cases: settings, model, checksums.

        Raises
        ------
        ValueError
            When the folder holds another evaluation; the sentence names what differs.
        OSError
            When it cannot be written.
        """
        value = json.loads(json.dumps(config))
        if self.config.exists():
            known = read_json(self.config, KIND, VERSION).get("config")
            if known != value:
                other = other_keys(known, value)
                raise ValueError(
                    f"{self.path} holds an evaluation with another {', '.join(other)}; choose "
                    "another folder with --output, or replace it with --overwrite."
                )
            return
        if self.path.is_dir() and any(self.path.iterdir()):
            raise ValueError(f"{self.path} holds other files; choose another folder with --output.")
        self._cases.mkdir(parents=True, exist_ok=True)
        self._write(self.config, {"format": KIND, "version": VERSION, "config": value})

    def clear(self) -> None:
        """Remove the files of an evaluation, and nothing else."""
        if not self.config.exists():
            return
        for file in (*self._cases.glob("*.json"), *self._cases.glob("*.npz")):
            file.unlink()
        for file in (self.table, self.csv, self.challenge, self.json, self.picture, self.config):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # somebody keeps files there
            self._cases.rmdir()

    def known(self, files: CaseFiles) -> CaseScores | None:
        """The scores of a case that is done, and whose files are as they were then."""
        path = self._of(files.name, "json")
        if not path.exists():
            return None
        try:
            value = read_json(path, CASE_KIND, VERSION)
            scores = from_json(value.get("scores"), path.name)
        except ValueError:  # damaged: it is done again
            return None
        same = (
            value.get("files") == list(stamp_of(files.image, files.labels))
            and scores.case == files.name
        )
        return scores if same and not scores.error else None

    def keep(self, files: CaseFiles, scores: CaseScores, pictures: Sequence[Thumbnail]) -> None:
        """Write what was found in a case, the pictures first: its scores say that it is done."""
        self._cases.mkdir(parents=True, exist_ok=True)
        save(self._of(files.name, "npz"), pictures)
        value = {
            "format": CASE_KIND,
            "version": VERSION,
            "files": list(stamp_of(files.image, files.labels)),
        }
        self._write(self._of(files.name, "json"), {**value, "scores": to_json(scores)})

    def write_summary(self, summary: Summary, cases: Sequence[CaseScores], title: str) -> None:
        """Write the table, the CSV, the JSON and the picture of all that is known.

        Parameters
        ----------
        summary
            Of the cases.
        cases
            All of them.
        title
            What was evaluated how, in a line.
        """
        write_text(self.table, f"# {title}\n\n{table(summary)}\n", overwrite=True)
        write_text(self.csv, _lines(rows(cases)), overwrite=True)
        if summary.challenge is not None:
            write_text(self.challenge, _lines(challenge_rows(cases)), overwrite=True)
        value = {"format": KIND, "version": VERSION, "title": title}
        self._write(self.json, {**value, "cases": [to_json(it) for it in cases]})
        draw(summary, self._pictures(cases), self.picture, title)

    def _pictures(self, cases: Sequence[CaseScores]) -> list[Thumbnail]:
        found: list[Thumbnail] = []
        for case in cases:
            path = self._of(case.case, "npz")
            if path.exists():
                with suppress(ValueError):  # a damaged one is a picture less
                    found += load(path)
        return found

    def _of(self, case: str, ending: str) -> Path:
        """A file of a case: its name, made fit for all file systems."""
        safe = re.sub(r"[^\w.+-]+", "_", case).strip(".") or "case"
        if safe != case or len(safe) > 120:
            safe = f"{safe[:120]}_{zlib.crc32(case.encode('utf-8', 'replace')):08x}"
        return self._cases / f"{safe}.{ending}"

    def _write(self, path: Path, value: Mapping[str, Any]) -> None:
        write_text(path, json.dumps(value, allow_nan=False) + "\n", overwrite=True)


def _lines(listed: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV."""
    lines = io.StringIO()
    if listed:
        writer = csv.DictWriter(lines, list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    return lines.getvalue()
