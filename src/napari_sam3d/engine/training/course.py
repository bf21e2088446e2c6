"""What happens in a training, and what is on disk at any moment of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.adapter_facts import AdapterFacts
from napari_sam3d.engine.adapters import halved, save_adapter
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.places import adapter_file
from napari_sam3d.engine.predictor import predictor_of
from napari_sam3d.engine.training.cases import OPTIMISTIC, split
from napari_sam3d.engine.training.curve import draw_curve
from napari_sam3d.engine.training.distributed import Begin, Team
from napari_sam3d.engine.training.events import (
    Event,
    Failed,
    Finished,
    Saved,
    Scores,
    Started,
    Step,
    Validated,
    Warned,
)
from napari_sam3d.engine.training.kinds import lessons_of, spec_for
from napari_sam3d.engine.training.priors import priors_of
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.engine.training.report import (
    check_same,
    class_names,
    config_of,
    facts_of,
    improves,
    told_before,
    verdict,
)
from napari_sam3d.engine.training.run_folder import Row, RunFolder
from napari_sam3d.engine.training.runs import check_free
from napari_sam3d.engine.training.tuning import Tuner
from napari_sam3d.labelled import Labelled
from napari_sam3d.settings import InferenceSettings, TrainSettings


@dataclass(frozen=True, eq=False)
class Base:
    """A network to be tuned, its row in the catalog, and the checksum of its weights."""

    model: PromptableModel
    spec: ModelSpec
    sha256: str


class Broken(Exception):
    """The numbers have run away."""


class Course:
    """What a training knows between two events, and what it does from one to the next.

    Parameters
    ----------
    settings, cases, folder, resume
        As for `train`.
    load
        Brings the network.
    team
        The processes of which this is the first.
    """

    def __init__(
        self,
        settings: TrainSettings,
        cases: Sequence[Labelled],
        folder: RunFolder,
        resume: bool,
        load: Callable[[TrainSettings], Base],
        team: Team | None = None,
    ) -> None:
        self._settings, self._folder = settings, folder
        self._split = split(cases, settings.seed)
        self._classes = class_names(self._split)
        self._priors = priors_of(cases)
        config = config_of(settings, cases, self._split)
        if resume:
            check_same(folder.read_config(), config, folder.name)
        else:
            check_free(folder.name)
        state = folder.read_state() if resume else None
        self._base = load(settings)
        recipe = recipe_of(self._base.spec)
        self._spec = spec_for(self._base.spec, self._split)
        self._lessons = lessons_of(self._base.model, self._spec, self._split, settings)
        self._tuner = Tuner(self._base.model, self._lessons, settings, recipe, team)
        self._step, self._looked, self._stale = 0, 0, 0
        self._before: Scores = ()
        self._after: Scores = ()
        self._best_step = 0
        self._best: dict[str, Tensor] | None = None
        self._rows: list[Row] = []
        if state is not None:
            self._restore(state)
        if self._step >= settings.total and not self._due():
            raise ValueError(
                f"The run {folder.name} has done its {settings.total} steps; ask for more steps "
                "to go on with it."
            )
        if not resume:
            folder.begin(config)
        if team is not None:
            team.tell(Begin(settings, tuple(case.name for case in cases), state))
        self._begun = self._step
        self._whole = True  # no step was interrupted

    def run(self) -> Iterator[Event]:
        """All events of a training that nothing happens to."""
        total = self._settings.total
        yield Started(
            self._folder.name,
            self._step,
            total,
            self._tuner.tuned,
            tuple(case.name for case in self._split.train),
            tuple(case.name for case in self._split.held_out),
            self._split.optimistic,
            self._lessons.counted,
            tuple(told_before(self._rows, self._before, self._lessons.counted)),
        )
        self._folder.write_status("RUNNING", self._step, total)
        if self._split.optimistic:
            yield Warned(OPTIMISTIC)
        if not self._before:
            self._before = self._after = yield from self._look()
            yield Validated(self._step, self._before, self._before, False)
        while True:
            if self._due():
                yield from self._judge()
                patience = self._settings.patience
                if patience and self._stale >= patience and self._step < total:
                    yield Warned(f"Nothing was gained in {patience} looks; it ends early.")
                    break
            if self._step >= total:
                break
            yield self._advance()
        yield self._finish()

    def _due(self) -> bool:
        """Whether the held-out volumes are to be looked at now."""
        if self._step == self._looked:
            return False
        return self._step >= self._settings.total or not self._step % self._settings.validate_every

    def _advance(self) -> Step:
        """One more step."""
        started = time.perf_counter()
        self._whole = False
        loss, rate = self._tuner.advance(self._step + 1)
        self._whole = True
        if not math.isfinite(loss):
            raise Broken(
                f"The loss is no number any more at step {self._step + 1}; try a lower learning "
                "rate."
            )
        self._step += 1
        seconds = time.perf_counter() - started
        row = {"step": self._step, "loss": loss, "rate": rate, "seconds": round(seconds, 3)}
        self._rows.append(row)
        return Step(self._step, loss, rate, seconds)

    def _judge(self) -> Iterator[Event]:
        """Look at the held-out volumes and save."""
        dice = yield from self._look()
        self._looked = self._step
        for row in self._rows[-1:]:
            row.update(
                {f"dice_{n}": value for n, value in zip(self._lessons.counted, dice, strict=True)}
            )
        best = improves(self._before, self._after, dice)
        yield Validated(self._step, dice, self._before, best)
        self._stale = 0 if best else self._stale + 1
        tensors = self._finite()
        if best:
            self._after, self._best_step, self._best = dice, self._step, halved(tensors)
            self._folder.write_best(self._best, self._facts(dice))
            yield Saved(self._step, self._folder.best)
        self._save(tensors)
        yield Saved(self._step, self._folder.last)

    def _look(self) -> Generator[Event, None, Scores]:
        """Returns the scores of the model as it is now."""
        settings = self._settings
        predictor = predictor_of(  # a new one, whose cache knows no older weights
            self._base.model,
            self._spec if self._step else self._base.spec,
            InferenceSettings(
                model=settings.model, device=settings.device, precision=settings.precision
            ),
        )
        return (yield from self._lessons.look(predictor, self._step))

    def stop(self) -> None:
        """Save on the way out; nothing is said of what cannot be saved."""
        with suppress(OSError, Broken):
            if self._whole and (self._step > self._begun or not self._folder.state.exists()):
                self._save(self._finite())
            self._folder.write_status("STOPPED", self._step, self._settings.total)
            self._install()

    def fail(self, sentence: str) -> Failed:
        """Write down why; bring back what is best when the folder has lost it."""
        with suppress(OSError):
            self._folder.path.mkdir(parents=True, exist_ok=True)
            if self._best is not None and not self._folder.best.exists():
                self._folder.write_best(self._best, self._facts(self._after, self._best_step))
        if self._step > self._begun and not self._folder.last.exists():
            with suppress(OSError, Broken):
                self._save(self._finite())
        self.give_up(sentence)
        with suppress(OSError):
            self._install()
        left = [path for path in (self._folder.best, self._folder.last) if path.exists()]
        return Failed(self._step, sentence, left[0] if left else None)

    def give_up(self, reason: str) -> None:
        """Write down that it failed, if that can be."""
        with suppress(OSError):
            self._folder.write_status("FAILED", self._step, self._settings.total, reason)

    def free(self) -> None:
        """Let go of the network and what belongs to it."""
        device = self._tuner.device
        del self._tuner, self._lessons, self._base
        if device.type == "cuda":
            torch.cuda.empty_cache()

    def _finish(self) -> Finished:
        path = self._install()
        self._folder.write_status("DONE", self._step, self._settings.total)
        said = verdict(
            self._before, self._after, path is not None, self._split, self._lessons.counted
        )
        return Finished(self._step, said, path, self._before, self._after)

    def _install(self) -> Path | None:
        """Put the best adapter among those that can be chosen; None when it is not better."""
        if self._best is None:
            return None
        path = adapter_file(self._folder.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_adapter(path, self._best, self._facts(self._after, self._best_step))
        return path

    def _save(self, tensors: dict[str, Tensor]) -> None:
        state = {
            **self._tuner.state(tensors),
            "step": self._step,
            "looked": self._looked,
            "stale": self._stale,
            "base": list(self._before),
            "best": {"step": self._best_step, "dice": list(self._after)},
        }
        self._folder.write_log(self._rows, self._lessons.counted)
        self._folder.write_curve(draw_curve(self._rows, self._before, self._lessons.counted))
        self._folder.write_last(state, self._facts(()))

    def _restore(self, state: dict[str, Any]) -> None:
        self._tuner.restore(state, self._folder.state.name)
        self._step, self._looked = int(state["step"]), int(state["looked"])
        self._stale = int(state["stale"])
        self._before = tuple(state["base"])
        self._after, self._best_step = self._before, 0
        if state["best"]["step"] and self._folder.best.is_file():
            self._after, self._best_step = tuple(state["best"]["dice"]), state["best"]["step"]
            self._best = self._folder.read_best()
        self._rows = self._folder.read_log(self._step)

    def _finite(self) -> dict[str, Tensor]:
        tensors = self._tuner.tensors()
        if not all(bool(torch.isfinite(it).all()) for it in tensors.values()):
            raise Broken(
                f"The weights are no numbers any more after step {self._step}; try a lower "
                "learning rate."
            )
        return tensors

    def _facts(self, dice: Scores, step: int | None = None) -> AdapterFacts:
        return facts_of(
            self._folder.name,
            (self._spec, self._base.sha256),
            self._split,
            self._classes,
            self._priors,
            (self._before, dice),
            self._step if step is None else step,
        )
