"""The folder of a training: every file in it is whole, whenever the program dies."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_sam3d.engine.adapter_facts import AdapterFacts
from napari_sam3d.engine.adapters import read_tensors, save_adapter
from napari_sam3d.engine.checkpoints import read_checkpoint
from napari_sam3d.engine.training.events import COUNTED
from napari_sam3d.engine.training.runs import CONFIG, KIND, STATUS, VERSION, read_config, run_path
from napari_sam3d.io.atomic import replacing
from napari_sam3d.io.json_file import write_text

_COLUMNS = ("step", "loss", "rate", "seconds")

CHANGED = "model"
"""Key of the tuned tensors in the state."""
_STATE = {"step", "looked", "stale", CHANGED, "optimiser", "scaler", "base", "best"}

Row = dict[str, float]


class RunFolder:
    """Where the files of one training are.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG
        self.status = path / STATUS
        self.log = path / "log.csv"
        self.curve = path / "progress.png"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.state = path / "state.pt"

    @classmethod
    def called(cls, name: str) -> RunFolder:
        """That of the run with this name; ValueError when it can be no name of files."""
        return cls(run_path(name))

    @property
    def name(self) -> str:
        return self.path.name

    def begin(self, config: Mapping[str, Any]) -> None:
        """Make the folder, and tell what the run was begun with."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_json(self.config, config)

    def read_config(self) -> dict[str, Any]:
        """What `begin` wrote; ValueError when there is no such run."""
        return read_config(self.path)

    def write_status(self, state: str, step: int, steps: int, reason: str = "") -> None:
        """RUNNING, STOPPED, DONE or FAILED, after how many steps, and why."""
        self._write_json(
            self.status, {"state": state, "step": step, "steps": steps, "reason": reason}
        )

    def write_log(self, rows: Sequence[Row], counted: Sequence[int] = COUNTED) -> None:
        """A line per step, with the Dice where it was measured."""
        text = io.StringIO()
        columns = (*_COLUMNS, *(f"dice_{count}" for count in counted))
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(self.log, text.getvalue(), overwrite=True)

    def write_curve(self, picture: bytes) -> None:
        """The picture of the log."""
        with replacing(self.curve) as file:
            file.write(picture)

    def read_log(self, until: int) -> list[Row]:
        """The lines up to a step, without those that are damaged."""
        rows: list[Row] = []
        if not self.log.is_file():
            return rows
        for line in csv.DictReader(self.log.read_text(errors="replace").splitlines()):
            try:
                row = {key: float(value) for key, value in line.items() if key and value}
            except ValueError:
                continue
            if row.get("step", until + 1) <= until:
                rows.append({**row, "step": int(row["step"])})
        return rows

    def write_last(self, state: Mapping[str, Any], facts: AdapterFacts) -> None:
        """The state to resume from, and its adapter.

        The state holds the tensors, too: whichever of the two files a death leaves old, the
        state alone is what a resumed run goes on from.
        """
        with replacing(self.state) as file:
            torch.save(dict(state), file)
        save_adapter(self.last, state[CHANGED], facts)

    def write_best(self, tensors: Mapping[str, Tensor], facts: AdapterFacts) -> None:
        """The adapter that did best so far."""
        save_adapter(self.best, tensors, facts)

    def read_best(self) -> dict[str, Tensor]:
        """The tensors that `write_best` wrote."""
        return read_tensors(self.best)

    def read_state(self) -> dict[str, Any] | None:
        """The state to resume from; None when the run ended before its first."""
        if not self.state.is_file():
            return None
        state = copy.deepcopy(dict(read_checkpoint(self.state)))  # which maps the file
        if not _STATE <= state.keys():
            raise ValueError(f"{self.state.name} of the run {self.name} is damaged.")
        return state

    def _write_json(self, path: Path, values: Mapping[str, Any]) -> None:
        text = json.dumps({"format": KIND, "version": VERSION, **values}, indent=1)
        write_text(path, text + "\n", overwrite=True)
