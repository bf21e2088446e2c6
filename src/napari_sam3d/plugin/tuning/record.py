"""What a training has told so far, and what follows from it: curves, the best, the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from napari_sam3d.engine.training.events import (
    COUNTED,
    Event,
    Looking,
    Scores,
    Started,
    Step,
    Validated,
)

_SMOOTH = 0.9  # how much of the mean so far each loss leaves
_RECENT = 0.8  # the same for the seconds of a step


@dataclass(frozen=True)
class Look:
    """Dice of what is held out, after so many steps."""

    step: int
    dice: Scores


class Record:
    """Grows by one event after the other.

    Parameters
    ----------
    every
        Steps from one look to the next.
    clock
        Seconds.

    Attributes
    ----------
    losses
        Steps, and the smoothed loss.
    looks
        All looks at what is held out, that before the first step included.
    base
        Dice of the model as it was.
    best
        The look that was best so far; None when none was better than the model as it was.
    """

    def __init__(self, every: int = 50, clock: Callable[[], float] = time.perf_counter) -> None:
        self.started: Started | None = None
        self.step, self.steps = 0, 0
        self.losses: list[tuple[int, float]] = []
        self.looks: list[Look] = []
        self.base: Scores = ()
        self.best: Look | None = None
        self.looking: Looking | None = None
        self.step_seconds = 0.0
        self._every, self._clock = every, clock
        self._look_seconds = 0.0
        self._at = clock()

    def add(self, event: Event) -> None:
        """Something has happened."""
        match event:
            case Started():
                self.started, self.step, self.steps = event, event.step, event.steps
                for earlier in event.past:
                    self.add(earlier)
                self._at, self._look_seconds = self._clock(), 0.0
            case Step():
                self._add_step(event)
            case Looking():
                self.looking = event
            case Validated():
                self._add_look(event)

    @property
    def seconds_left(self) -> float | None:
        """Until the last step, when it does not end early; None while nobody can know."""
        if not self.step_seconds:
            return None
        left = self.steps - self.step
        looks = math.ceil(left / self._every) if left else 0
        return left * self.step_seconds + looks * self._look_seconds

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0

    def where(self) -> str:
        """How far it is, in a line."""
        if self.started is None:
            return "Beginning..."
        parts = [f"Step {self.step} of {self.steps}"]
        if self.looking is not None:
            it = self.looking
            parts.append(f"looking at held-out object {it.done} of {it.total}")
        if self.step_seconds:
            parts.append(f"{self.step_seconds:.2g} s a step")
        left = self.seconds_left
        if left:
            parts.append(f"about {spoken(left)} left")
        return " · ".join(parts)

    def scores(self) -> str:
        """How good it is, in a line; empty before the first look."""
        if not self.base:
            return ""
        before = f"before tuning {_listed(self.base)}"
        if self.best is not None:
            return f"Best Dice {_listed(self.best.dice)}, at step {self.best.step}; {before}"
        if len(self.looks) > 1:
            return f"Dice {_listed(self.looks[-1].dice)} now; {before}"
        return f"Dice {before}"

    def newest(self) -> str:
        """What the newest look has shown, in a sentence."""
        look = self.looks[-1]
        counted = COUNTED if self.started is None else self.started.counted
        clicks = ", ".join(str(count) for count in counted if count)
        after = f" after {clicks} clicks" if clicks else ""
        return f"Step {look.step}: Dice {_listed(look.dice)}{after}."

    def _add_step(self, event: Step) -> None:
        mean = event.loss
        if self.losses:
            # steps that came together are told as one, with their mean
            left = _SMOOTH ** max(1, event.step - self.step)
            mean = left * self.losses[-1][1] + (1 - left) * event.loss
        self.losses.append((event.step, mean))
        before = self.step_seconds or event.seconds
        self.step_seconds = _RECENT * before + (1 - _RECENT) * event.seconds
        self.step, self.looking, self._at = event.step, None, self._clock()

    def _add_look(self, event: Validated) -> None:
        self._look_seconds = self._clock() - self._at
        self.looking, self.base = None, event.base
        look = Look(event.step, event.dice)
        self.looks.append(look)
        if event.best:
            self.best = look
        self._at = self._clock()


def spoken(seconds: float) -> str:
    """A length of time, no more exact than it can be told."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _listed(scores: Scores) -> str:
    return " / ".join(f"{value:.2f}" for value in scores)
